package blackbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// players of one team press buttons at the same time, for playFor or
	// playForLong, with a pause after each so that the history can be checked.
	players              = 6
	playFor, playForLong = 7 * time.Second, 15 * time.Second
	playPause            = 20 * time.Millisecond
	// checkWithin bounds the search for an order.
	checkWithin = time.Minute
	linearClues = 3
)

// teamState is all that matters of a team: how many submissions were recorded,
// and for each clue the wrong answers so far and whether it is solved.
type teamState struct {
	recorded int
	wrong    [linearClues]int
	solved   [linearClues]bool
}

// move is what a player did: read the team, or give an answer to a clue. Every
// wrong answer is a new one.
type move struct {
	player int
	read   bool
	clue   int
	right  bool
}

// seen is what a player was told: of a submission its number, verdict and wrong
// answers so far; of a read, the clues. Unknown: nothing; it may have happened.
type seen struct {
	unknown bool
	number  string
	verdict string
	wrong   int
	state   teamState // of a read; recorded is not shown
}

// teamModel is a team as it must look to its players: as if every move happened
// at one instant between its beginning and its end.
var teamModel = porcupine.Model{
	Init: func() any { return teamState{} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(teamState), input.(move), output.(seen))
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

func step(s teamState, m move, o seen) (bool, teamState) {
	if m.read {
		o.state.recorded = s.recorded
		return o.unknown || o.state == s, s
	}
	s.recorded++
	verdict := "incorrect"
	switch {
	case s.solved[m.clue]:
		verdict = "already_solved"
	case m.right:
		verdict = "correct"
		s.solved[m.clue] = true
	default:
		s.wrong[m.clue]++
	}
	told := seen{number: fmt.Sprint(s.recorded), verdict: verdict, wrong: s.wrong[m.clue]}
	return o.unknown || o == told, s
}

// TestModel: a history that must not be possible is found impossible. A checker
// that accepts everything would accept a broken cluster.
func TestModel(t *testing.T) {
	first := seen{number: "1", verdict: "incorrect", wrong: 1}
	second := seen{number: "2", verdict: "incorrect", wrong: 2}
	one := seen{state: teamState{wrong: [linearClues]int{1}}}
	op := func(from, to int64, m move, o seen) porcupine.Operation {
		return porcupine.Operation{Call: from, Return: to, Input: m, Output: o}
	}
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		want bool
	}{
		"in order":               {[]porcupine.Operation{op(1, 2, move{}, first), op(3, 4, move{}, second)}, true},
		"at once":                {[]porcupine.Operation{op(1, 4, move{}, second), op(2, 3, move{}, first)}, true},
		"one number twice":       {[]porcupine.Operation{op(1, 2, move{}, first), op(3, 4, move{}, first)}, false},
		"backwards":              {[]porcupine.Operation{op(1, 2, move{}, second), op(3, 4, move{}, first)}, false},
		"a read of the past":     {[]porcupine.Operation{op(1, 2, move{}, first), op(3, 4, move{read: true}, seen{})}, false},
		"lost, and never seen":   {[]porcupine.Operation{op(1, 9, move{}, seen{unknown: true}), op(2, 3, move{read: true}, seen{})}, true},
		"lost, and seen":         {[]porcupine.Operation{op(1, 9, move{}, seen{unknown: true}), op(2, 3, move{read: true}, one)}, true},
		"lost, seen and unseen":  {[]porcupine.Operation{op(1, 9, move{}, seen{unknown: true}), op(2, 3, move{read: true}, one), op(4, 5, move{read: true}, seen{})}, false},
		"solved and not noticed": {[]porcupine.Operation{op(1, 2, move{right: true}, seen{number: "1", verdict: "correct"}), op(3, 4, move{}, second)}, false},
	} {
		if got := porcupine.CheckOperations(teamModel, c.ops); got != c.want {
			t.Errorf("%s: linearizable %v, want %v", name, got, c.want)
		}
	}
}

// TestLinearizability has players of one team read and submit through all nodes
// while the node that leads their partition is killed and started again.
func TestLinearizability(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--partitions", "2", "--team-rate", "0")
	rng := random(t)
	doc := quiz("linear", linearClues)
	teams, tokens := c.open(doc, 1)
	team := teams[0]
	r := &recorder{c: c, hunt: doc.id(), team: team, token: tokens[team], begin: time.Now()}

	lasts := form(playFor, playForLong)
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var all sync.WaitGroup
	for p := range players {
		seed := rng.Uint64()
		all.Go(func() { r.play(ctx, p, seed) })
	}
	wait(ctx, lasts/3)
	leader := max(c.leader(doc.id(), team), 0)
	c.Kill(leader)
	wait(ctx, lasts/4)
	c.revive(leader)
	all.Wait()

	unknown := 0
	for i := range r.ops {
		if r.ops[i].Output.(seen).unknown {
			r.ops[i].Return = int64(time.Since(r.begin)) // or any time later
			unknown++
		}
	}
	t.Logf("%d operations, %d without a definite result", len(r.ops), unknown)
	if len(r.ops) < 500 {
		t.Errorf("only %d operations: that proves nothing", len(r.ops))
	}
	result, info := porcupine.CheckOperationsVerbose(teamModel, r.ops, checkWithin)
	if result != porcupine.Ok {
		path := filepath.Join(os.TempDir(), "cairn-not-linearizable.html")
		if err := porcupine.VisualizePath(teamModel, info, path); err != nil {
			t.Error(err)
		}
		t.Errorf("the history is not linearizable (%v): see %s", result, path)
	}
}

// recorder writes the history down.
type recorder struct {
	c     *cluster
	hunt  fsm.HuntID
	team  fsm.TeamID
	token string
	begin time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// play is one player. What it does follows from the seed; each move goes to a
// random node, once.
func (r *recorder) play(ctx context.Context, player int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := 0; wait(ctx, playPause); n++ {
		m := move{player: player, read: rng.IntN(3) == 0, clue: rng.IntN(linearClues), right: rng.IntN(100) == 0}
		cl := r.c.at(rng.IntN(r.c.Nodes()), r.token)
		cl.Timeout = shortly
		call := int64(time.Since(r.begin))
		out, happened := r.act(cl, m, fmt.Sprintf("p%d-%d", player, n))
		if !happened {
			continue
		}
		op := porcupine.Operation{ClientId: player, Input: m, Call: call, Output: out, Return: int64(time.Since(r.begin))}
		r.mu.Lock()
		r.ops = append(r.ops, op)
		r.mu.Unlock()
	}
}

// act makes one move. It returns false if the cluster says that nothing was
// done, or the answer to a read is missing.
func (r *recorder) act(cl *client.Client, m move, key string) (out seen, happened bool) {
	ctx := r.c.t.Context()
	if m.read {
		team, err := cl.Team(ctx, r.hunt, r.team, false, client.Default)
		if err != nil {
			return out, false
		}
		for _, clue := range team.Clues {
			i := int(clue.ID[1] - '1')
			out.state.wrong[i], out.state.solved[i] = int(clue.Attempts), clue.State == "solved"
		}
		return out, true
	}
	in := rest.NewSubmission{Clue: fsm.ClueID(fmt.Sprintf("c%d", m.clue+1)), Answer: "wrong " + key}
	if m.right {
		in.Answer = right
	}
	s, err := cl.Submit(ctx, r.hunt, r.team, in, key)
	switch {
	case fsm.KindOf(err) == fsm.OutcomeUnknown && err != nil:
		return seen{unknown: true}, true
	case err != nil:
		if fsm.KindOf(err) != fsm.Unavailable {
			r.c.t.Errorf("a submission: %v", err)
		}
		return out, false
	}
	return seen{number: s.Submission, verdict: s.Verdict, wrong: int(s.Attempts)}, true
}
