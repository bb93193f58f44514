package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// batchLines is how many lines guesses has.
const batchLines = 2000

// guesses are lines of one team.
func guesses(yield func(rest.BatchLine) bool) {
	for i := range batchLines {
		if !yield(rest.BatchLine{Key: fmt.Sprint(i), Team: "red", Clue: "gate", Answer: fmt.Sprintf("guess %d", i)}) {
			return
		}
	}
}

// withRed is a fresh client of a node with a hunt and a team, and of an address
// where nobody answers, which it tries first.
func withRed(t *testing.T) (*apitest.Cluster, *client.Client) {
	t.Helper()
	ctx := context.Background()
	fake, addr := node(t)
	c := dial(t, addr)
	if _, _, err := c.CreateHunt(ctx, []byte(maze)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.CreateTeam(ctx, "maze", rest.NewTeam{ID: "red", Name: "Red"}, ""); err != nil {
		t.Fatal(err)
	}
	return fake, dial(t, nobody(t), addr)
}

// TestBatchAll: every line is answered, in order, by the node that can be reached.
func TestBatchAll(t *testing.T) {
	ctx := context.Background()
	_, c := withRed(t)
	got := 0
	err := c.SubmitBatch(ctx, "maze", guesses, func(r rest.BatchResult) error {
		if r.Error != nil || r.LineKey != fmt.Sprint(got) {
			t.Fatalf("answer %d: %+v", got, r)
		}
		got++
		return nil
	})
	if got != batchLines || err != nil {
		t.Errorf("%d answers, %v", got, err)
	}
}

// TestBatchConversation: each line is sent only when the one before is answered,
// so neither side may sit on a line.
func TestBatchConversation(t *testing.T) {
	ctx := context.Background()
	_, c := withRed(t)
	answered := make(chan struct{}, 1)
	answered <- struct{}{}
	talk := func(yield func(rest.BatchLine) bool) {
		for i := range 20 {
			<-answered
			if !yield(rest.BatchLine{Key: fmt.Sprint("c", i), Team: "red", Clue: "gate", Answer: "x"}) {
				return
			}
		}
	}
	got := 0
	err := c.SubmitBatch(ctx, "maze", talk, func(rest.BatchResult) error { got++; answered <- struct{}{}; return nil })
	if got != 20 || err != nil {
		t.Errorf("%d answers, %v", got, err)
	}
}

// TestBatchEnough: the error of result ends the stream and comes back.
func TestBatchEnough(t *testing.T) {
	ctx := context.Background()
	_, c := withRed(t)
	enough := errors.New("enough")
	if err := c.SubmitBatch(ctx, "maze", guesses, func(rest.BatchResult) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

// TestBatchRefused: a stream that is refused as a whole says why.
func TestBatchRefused(t *testing.T) {
	ctx := context.Background()
	_, c := withRed(t)
	if err := c.SubmitBatch(ctx, "nowhere", guesses, func(rest.BatchResult) error { return nil }); fsm.KindOf(err) != fsm.NotFound {
		t.Errorf("got %v", err)
	}
}

// TestBatchCancelled: ctx ends the stream; lines may have been sent.
func TestBatchCancelled(t *testing.T) {
	_, c := withRed(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := c.SubmitBatch(ctx, "maze", guesses, func(rest.BatchResult) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrLost) {
		t.Errorf("got %v", err)
	}
}

// TestBatchNodeDies: a stream that breaks is lost, whatever was answered.
func TestBatchNodeDies(t *testing.T) {
	ctx := context.Background()
	fake, _ := withRed(t)
	ts := httptest.NewServer(httpapi.New(httpapi.Config{Cluster: fake}))
	defer ts.Close()
	dying := dial(t, ts.URL)
	got := 0
	err := dying.SubmitBatch(ctx, "maze", guesses, func(rest.BatchResult) error {
		if got++; got == 10 {
			ts.CloseClientConnections()
		}
		return nil
	})
	if !errors.Is(err, client.ErrLost) || got == batchLines {
		t.Errorf("%d answers, %v", got, err)
	}
}

// TestBatchNobody: no line is taken for nobody.
func TestBatchNobody(t *testing.T) {
	ctx := context.Background()
	taken := false
	err := dial(t, nobody(t)).SubmitBatch(ctx, "maze", func(func(rest.BatchLine) bool) { taken = true }, nil)
	if !errors.Is(err, client.ErrUnreachable) || taken {
		t.Errorf("got %v; lines taken: %v", err, taken)
	}
}

// TestBatchLineRefused: a refused line is a result, with the cluster's advice.
func TestBatchLineRefused(t *testing.T) {
	ctx := context.Background()
	fake, c := withRed(t)
	fake.Before = func(context.Context, cluster.Submission) error {
		return &fsm.Error{Kind: fsm.Overloaded, Msg: "full", After: 20 * time.Millisecond}
	}
	defer func() { fake.Before = nil }()
	err := c.SubmitBatch(ctx, "maze", values(rest.BatchLine{Key: "z", Team: "red", Clue: "gate", Answer: "x"}), func(r rest.BatchResult) error {
		if e := client.ProblemError(r.Error); e.Kind != fsm.Overloaded || e.Msg != "full" || e.After != 20*time.Millisecond {
			t.Errorf("got %+v", e)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
