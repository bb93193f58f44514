package cluster

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// TestMergeIsExact pages through a board that lies spread over partitions, with
// many ties, and compares rows and ranks with the whole board, sorted.
func TestMergeIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := make([][]partition.Row, rapid.IntRange(1, 6).Draw(t, "partitions"))
		var all []partition.Row
		for i := range rapid.IntRange(0, 40).Draw(t, "teams") {
			row := partition.Row{Place: partition.Place{
				Key: partition.RankKey{rapid.Int64Range(0, 3).Draw(t, "key")}, Team: fsm.TeamID(fmt.Sprintf("t%02d", i)),
			}}
			p := rapid.IntRange(0, len(parts)-1).Draw(t, "partition")
			parts[p] = append(parts[p], row)
			all = append(all, row)
		}
		order := func(a, b partition.Row) int { return comparePlaces(a.Place, b.Place) }
		slices.SortFunc(all, order)
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		var after *partition.Place
		for seen := 0; ; {
			var pages []partition.Page
			for _, rows := range parts {
				slices.SortFunc(rows, order)
				pages = append(pages, pageOf(rows, after, limit+1))
			}
			got := merge(pages, after, limit)
			for i, row := range got.Rows {
				rank := 1 + slices.IndexFunc(all, func(r partition.Row) bool { return r.Key == row.Key })
				if row != all[seen+i] || got.Ranks[i] != rank {
					t.Fatalf("position %d: %v at rank %d, want %v at %d", seen+i, row.Place, got.Ranks[i], all[seen+i].Place, rank)
				}
			}
			seen += len(got.Rows)
			if got.More != (seen < len(all)) {
				t.Fatalf("more is %v after %d of %d rows", got.More, seen, len(all))
			}
			if !got.More {
				return
			}
			after = &got.Rows[len(got.Rows)-1].Place
		}
	})
}

// pageOf is what one partition answers, in the plainest way.
func pageOf(rows []partition.Row, after *partition.Place, limit int) (p partition.Page) {
	for _, row := range rows {
		if after != nil && row.Key.Less(after.Key) {
			p.Better++
		}
		if after != nil && comparePlaces(row.Place, *after) <= 0 {
			p.Before++
		} else if len(p.Rows) < limit {
			p.Rows = append(p.Rows, row)
		}
	}
	return p
}
