package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/client"
)

// TestExitCodes holds the table of API.md against every kind of error.
func TestExitCodes(t *testing.T) {
	want := map[fsm.Kind]int{
		fsm.Internal: 1, fsm.Invalid: 1, fsm.TooLarge: 1, fsm.KeyReused: 1,
		fsm.NotFound:        3,
		fsm.Unauthenticated: 4, fsm.Forbidden: 4, fsm.ClueLocked: 4, fsm.Conflict: 4,
		fsm.HuntNotOpen: 4, fsm.HuntPaused: 4, fsm.HuntOver: 4, fsm.AttemptsExhausted: 4,
		fsm.PreconditionFailed: 4, fsm.PreconditionRequired: 4, fsm.Cooldown: 4, fsm.RateLimited: 4,
		fsm.Overloaded: 5, fsm.Unavailable: 5,
		fsm.OutcomeUnknown: 6,
		fsm.Stale:          1, fsm.NotLeader: 1, // never leave the cluster
	}
	for k := range fsm.Kinds {
		kind := fsm.Kind(k)
		code, ok := want[kind]
		if !ok {
			t.Errorf("no exit code is known for kind %v", kind)
		}
		if got := exitCode(fmt.Errorf("wrapped: %w", fsm.Errorf(kind, "x"))); got != code {
			t.Errorf("kind %v exits %d, want %d", kind, got, code)
		}
	}
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{usagef("no"), 2},
		{fmt.Errorf("wrapped: %w", usagef("no")), 2},
		{context.DeadlineExceeded, 6},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v exits %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestUnreachable: nobody there is 5, through the real client.
func TestUnreachable(t *testing.T) {
	c, err := client.New([]string{"http://127.0.0.1:1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Attempts = 1
	err = c.DeleteHunt(t.Context(), "h")
	if code := exitCode(err); code != exitNotNow {
		t.Errorf("%v exits %d, want %d", err, code, exitNotNow)
	}
}
