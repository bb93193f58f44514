package controller

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// TestRestoreRefusesDamage flips every bit and cuts at every byte of a snapshot:
// what still restores must be what it says, so it must write the same bytes.
func TestRestoreRefusesDamage(t *testing.T) {
	whole := snapshotOf(t, goldenState(t))
	for n := range whole {
		if _, err := Restore(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("restored from the first %d of %d bytes", n, len(whole))
		}
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[n] ^= 1 << bit
			m, err := Restore(bytes.NewReader(flipped))
			if err == nil && !bytes.Equal(snapshotOf(t, m.State()), flipped) {
				t.Fatalf("bit %d of byte %d restores to another snapshot", bit, n)
			}
		}
	}
	if _, err := Restore(bytes.NewReader(append(whole, 0))); err == nil {
		t.Fatal("restored with a byte left over")
	}
}

// records cuts a snapshot into its records.
func records(t *testing.T, snapshot []byte) (out [][]byte) {
	t.Helper()
	for rest := snapshot[len(snapshotHeader):]; len(rest) > 0; {
		n := recordHeader + int(binary.LittleEndian.Uint32(rest[1:]))
		out = append(out, bytes.Clone(rest[:n]))
		rest = rest[n:]
	}
	return out
}

// TestRestoreRefuses takes the records of a good snapshot and puts them together
// wrongly: every record is fine by itself, and the whole is not what a State
// writes, or not a sound State.
func TestRestoreRefuses(t *testing.T) {
	whole := records(t, snapshotOf(t, goldenState(t)))
	first := func(rs [][]byte, tag uint8) int {
		return slices.IndexFunc(rs, func(r []byte) bool { return r[0] == tag })
	}
	without := func(tag uint8) func([][]byte) [][]byte {
		return func(rs [][]byte) [][]byte { i := first(rs, tag); return slices.Delete(rs, i, i+1) }
	}
	twice := func(tag uint8) func([][]byte) [][]byte {
		return func(rs [][]byte) [][]byte { i := first(rs, tag); return slices.Insert(rs, i, rs[i]) }
	}
	for name, tc := range map[string]struct {
		change func([][]byte) [][]byte
		says   string
	}{
		"nothing changed":      {func(rs [][]byte) [][]byte { return rs }, ""},
		"no cluster":           {without(tagCluster), "tag 2 after one of tag 0"},
		"two clusters":         {twice(tagCluster), "tag 1 after one of tag 1"},
		"a member missing":     {without(tagMember), "invariant 4"},
		"a member twice":       {twice(tagMember), "does not lie behind"},
		"a partition missing":  {without(tagPartition), "invariant 3"},
		"a partition twice":    {twice(tagPartition), "invariant 3"},
		"a hunt twice":         {twice(tagHunt), "does not lie behind"},
		"a deleted hunt twice": {twice(tagDeleted), "does not lie behind"},
		"a hunt missing":       {without(tagHunt), "invariant 8"},
		"a document twice":     {twice(tagDocument), "does not lie behind"},
		"a token twice":        {twice(tagToken), "does not lie behind"},
		"a snapshot twice":     {twice(tagSnapshot), "does not lie behind"},
		"no end":               {without(tagEnd), "read the head of a record: EOF"},
		"two ends":             {twice(tagEnd), "bytes after the last record"},
		"an unknown record":    {func(rs [][]byte) [][]byte { return slices.Insert(rs, len(rs)-1, []byte{77, 0, 0, 0, 0}) }, "tag 77"},
		"a token before the members": {func(rs [][]byte) [][]byte {
			token := rs[first(rs, tagToken)]
			return slices.Insert(without(tagToken)(rs), 1, token)
		}, "tag 2 after one of tag 7"},
		"another document": {func(rs [][]byte) [][]byte {
			for _, r := range rs {
				if r[0] == tagDocument {
					r[len(r)-1] ^= 1
				}
			}
			return rs
		}, "has another hash"},
		"a record too long": {func(rs [][]byte) [][]byte {
			binary.LittleEndian.PutUint32(rs[0][1:], maxRecord+1)
			return rs
		}, "over the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			var copies [][]byte
			for _, r := range whole {
				copies = append(copies, bytes.Clone(r))
			}
			b := append([]byte(snapshotHeader), bytes.Join(tc.change(copies), nil)...)
			_, err := Restore(bytes.NewReader(b))
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
	if _, err := Restore(strings.NewReader(strings.Replace(snapshotHeader, "1", "2", 1))); err == nil || !strings.Contains(err.Error(), "version unknown") {
		t.Errorf("a snapshot of version 2: %v", err)
	}
}
