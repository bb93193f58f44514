package httpapi_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/httpapi"
	"cairn/httpapi/apitest"
)

// slowBoard lets a test hold a board back.
type slowBoard struct {
	inner
	asked atomic.Int64
	gate  func(context.Context) error
}

func (b *slowBoard) Board(ctx context.Context, h httpapi.HuntRef, q httpapi.BoardQuery) (*httpapi.BoardPage, httpapi.Freshness, error) {
	b.asked.Add(1)
	if err := b.gate(ctx); err != nil {
		return nil, 0, err
	}
	return b.inner.Board(ctx, h, q)
}

func withSlowBoard(t *testing.T, gate func(context.Context) error) (*server, *slowBoard) {
	s := newServer(t)
	s.withMaze(t)
	b := &slowBoard{inner: s.cluster, gate: gate}
	s.Handler = httpapi.New(httpapi.Config{Cluster: b})
	return s, b
}

const boardPath = "/v1/hunts/maze/leaderboard"

// TestBoardIsAtMostASecondOld: a default board is made once a second at most, a
// strong or stale one every time, and each question has its own answer.
func TestBoardIsAtMostASecondOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := withSlowBoard(t, func(context.Context) error { return nil })
		solve := func(team string) {
			s.must(t, nil, "POST", "/v1/hunts/maze/teams/"+team+"/submissions", apitest.Organizer, `{"clue":"gate","answer":"friend"}`)
		}
		has := func(path, team string) bool {
			return strings.Contains(s.must(t, nil, "GET", path, "", "").body, team)
		}
		solve("red")
		if !has(boardPath, "red") || b.asked.Load() != 1 {
			t.Fatal("the first board")
		}
		solve("blue")
		if has(boardPath, "blue") || b.asked.Load() != 1 {
			t.Error("the board was not kept")
		}
		if !has(boardPath+"?consistency=strong", "blue") || b.asked.Load() != 2 {
			t.Error("a strong board came from what was kept")
		}
		if !has(boardPath+"?page_size=7", "blue") || b.asked.Load() != 3 {
			t.Error("another question got this one's answer")
		}
		<-time.After(time.Second) // of the bubble's clock: it is the subject
		if !has(boardPath, "blue") || b.asked.Load() != 4 {
			t.Error("the board is more than a second old")
		}
		// The hunt of the same name that comes after it shares nothing with it.
		s.must(t, nil, "DELETE", "/v1/hunts/maze", apitest.Organizer, "")
		s.withMaze(t)
		if has(boardPath, "red") {
			t.Error("the board of an earlier life was served")
		}
	})
}

// TestBoardIsMadeOnceForMany: requests that come together share one question;
// whoever gives up does not take the answer from the others.
func TestBoardIsMadeOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, b := withSlowBoard(t, func(ctx context.Context) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		var wg sync.WaitGroup
		var fine, gaveUp atomic.Int64
		ask := func(timeout string) {
			switch s.do(t, "GET", boardPath, "", "", "Cairn-Timeout", timeout).status {
			case 200:
				fine.Add(1)
			case 503:
				gaveUp.Add(1)
			}
		}
		wg.Go(func() { ask("100ms") })
		synctest.Wait() // the one that the others wait for gives up first
		for i := range 49 {
			wg.Go(func() { ask([]string{"10s", "100ms"}[i%2]) })
		}
		<-time.After(500 * time.Millisecond) // of the bubble's clock: half of them have given up
		close(release)
		wg.Wait()
		if b.asked.Load() != 1 || fine.Load() != 25 || gaveUp.Load() != 25 {
			t.Errorf("asked %d times; %d got it, %d gave up", b.asked.Load(), fine.Load(), gaveUp.Load())
		}
	})
}

// TestBoardFailureIsNotKept: an error is told to those who waited for it, and
// the next request asks again.
func TestBoardFailureIsNotKept(t *testing.T) {
	fail := true
	s, _ := withSlowBoard(t, func(context.Context) error {
		if fail {
			return errGone
		}
		return nil
	})
	if a := s.do(t, "GET", boardPath, "", ""); a.status != 500 {
		t.Errorf("%d %s", a.status, a.body)
	}
	fail = false
	if a := s.do(t, "GET", boardPath, "", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestOldQuestionIsNotJoined: a question that was put more than a second ago may
// be answered with a board that is too old for who asks now.
func TestOldQuestionIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, b := withSlowBoard(t, func(context.Context) error { <-release; return nil })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { s.must(t, nil, "GET", boardPath, "", "") })
			<-time.After(700 * time.Millisecond) // of the bubble's clock: it is the subject
		}
		close(release)
		wg.Wait()
		if n := b.asked.Load(); n != 2 {
			t.Errorf("three requests 700 ms apart asked %d times, want 2", n)
		}
	})
}
