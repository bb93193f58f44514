// Package play simulates teams that play a hunt, as people do: they read, think,
// guess wrong, fall for near-answers, and press the button again when the
// answer does not come back. Each repeated submission carries its first key and
// must get the first result: players count the times that it did not.
//
// What a team does follows from the seed and its number; when the answers come
// back follows from the cluster.
package play

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// Team is a registered team.
type Team struct {
	ID    fsm.TeamID
	Token string
}

// Config of a game.
type Config struct {
	Hunt  *hunt.Document // with its answers: somebody must know them
	Teams []Team
	Addrs []string      // base URLs of nodes; every team prefers another one
	HTTP  *http.Client  // shared by all teams
	For   time.Duration // how long an average team takes to solve everything
	Seed  uint64
	// Submitted is told every definite result and how long it took, retries
	// included. Called from many goroutines.
	Submitted func(took time.Duration, s *rest.Submission)
	// Wrong is told of everything that must not happen: a refusal that the
	// rules do not explain, a retry with another result. Called from many
	// goroutines.
	Wrong func(team fsm.TeamID, err error)
}

// How players behave: chances of what a team does at a clue it thinks about.
const (
	chanceWrong  = 0.32
	chanceNudge  = 0.10
	chanceRepeat = 0.05 // the same wrong answer again
	chanceRetry  = 0.08 // the button pressed twice
	// guesses is how many submissions a clue takes on average, for the pace.
	guesses = 1.8
	// quickest and slowest bound a team's speed relative to the average.
	quickest = 0.5
	slowest  = 1.8
	// minThink keeps a very short game from becoming a load test.
	minThink = 20 * time.Millisecond
)

// Run plays until every team has solved all it can, or ctx ends. It returns how
// many different submissions were tried, with or without a result.
func Run(ctx context.Context, cfg Config) (tried int) {
	var wg sync.WaitGroup
	players := make([]*player, len(cfg.Teams))
	for i := range players {
		players[i] = newPlayer(cfg, i)
		wg.Go(func() { players[i].play(ctx) })
	}
	wg.Wait()
	for _, p := range players {
		tried += p.number
	}
	return tried
}

// player is one team.
type player struct {
	cfg    Config
	team   Team
	client *client.Client
	rng    *rand.Rand
	think  time.Duration // average, before a guess
	number int           // of guesses, for keys
	wrong  map[fsm.ClueID]string
	stuck  map[fsm.ClueID]bool // out of attempts
}

func newPlayer(cfg Config, i int) *player {
	rng := rand.New(rand.NewPCG(cfg.Seed, uint64(i)))
	speed := quickest + (slowest-quickest)*rng.Float64()
	perGuess := float64(cfg.For) / (float64(len(cfg.Hunt.Clues)) * guesses)
	addrs := make([]string, len(cfg.Addrs))
	for k := range addrs {
		addrs[k] = cfg.Addrs[(i+k)%len(addrs)]
	}
	return &player{
		cfg: cfg, team: cfg.Teams[i], rng: rng,
		client: &client.Client{Addrs: addrs, Token: cfg.Teams[i].Token, HTTP: cfg.HTTP},
		think:  max(time.Duration(perGuess*speed), minThink),
		wrong:  map[fsm.ClueID]string{},
		stuck:  map[fsm.ClueID]bool{},
	}
}

// play guesses until nothing is left to solve, or ctx ends.
func (p *player) play(ctx context.Context) {
	for {
		// Thinking times are exponential: mostly short, sometimes very long.
		if !sleep(ctx, time.Duration(p.rng.ExpFloat64()*float64(p.think))) {
			return
		}
		open, err := p.open(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.fail(err)
			continue
		case len(open) == 0:
			return
		}
		p.guess(ctx, open[p.rng.IntN(len(open))])
	}
}

// open lists the unlocked clues that the team can still solve.
func (p *player) open(ctx context.Context) ([]rest.Clue, error) {
	list, err := p.client.Clues(ctx, p.cfg.Hunt.ID, p.team.ID, client.Default)
	if err != nil {
		return nil, err
	}
	var open []rest.Clue
	for _, c := range list.Clues {
		if c.SolvedAt == nil && !p.stuck[c.ID] {
			open = append(open, c)
		}
	}
	return open, nil
}

// guess makes one submission, and sometimes the same one again.
func (p *player) guess(ctx context.Context, clue rest.Clue) {
	answer := p.answer(clue)
	p.number++
	key := fmt.Sprintf("%s-%d", p.team.ID, p.number)
	first := p.submit(ctx, clue.ID, answer, key)
	if first == nil || p.rng.Float64() >= chanceRetry {
		return
	}
	second := p.submit(ctx, clue.ID, answer, key)
	if second != nil && (!second.Replayed || second.Submission != first.Submission || second.Verdict != first.Verdict) {
		p.fail(fmt.Errorf("key %s counted as submission %s (%s), and again as %s (%s)",
			key, first.Submission, first.Verdict, second.Submission, second.Verdict))
	}
}

// submit tries until there is a definite result, with the same key, as long as
// ctx allows. It returns nil if there is none.
func (p *player) submit(ctx context.Context, clue fsm.ClueID, answer, key string) *rest.Submission {
	start := time.Now()
	for {
		s, err := p.client.Submit(ctx, p.cfg.Hunt.ID, p.team.ID, rest.NewSubmission{Clue: clue, Answer: answer}, key)
		if err == nil {
			p.cfg.Submitted(time.Since(start), s)
			return s
		}
		if ctx.Err() != nil {
			return nil
		}
		switch fsm.KindOf(err) {
		case fsm.Unavailable, fsm.Overloaded, fsm.OutcomeUnknown, fsm.RateLimited:
			if !sleep(ctx, p.think) {
				return nil
			}
		case fsm.AttemptsExhausted:
			p.stuck[clue] = true
			return nil
		default:
			p.fail(err)
			return nil
		}
	}
}

// answer is what the team says: mostly right, sometimes not. A team keeps its
// last attempt for the answer it is sure of.
func (p *player) answer(clue rest.Clue) string {
	def := p.cfg.Hunt.Clue(clue.ID)
	right := def.Answers[p.rng.IntN(len(def.Answers))].Value
	if clue.AttemptsLeft != nil && *clue.AttemptsLeft <= 1 {
		return right
	}
	switch roll := p.rng.Float64(); {
	case roll < chanceWrong:
		p.wrong[clue.ID] = fmt.Sprintf("%s or maybe %s", words[p.rng.IntN(len(words))], words[p.rng.IntN(len(words))])
		return p.wrong[clue.ID]
	case roll < chanceWrong+chanceNudge && len(def.Nudges) > 0:
		return def.Nudges[p.rng.IntN(len(def.Nudges))].Value
	case roll < chanceWrong+chanceNudge+chanceRepeat && p.wrong[clue.ID] != "":
		return p.wrong[clue.ID]
	}
	return right
}

func (p *player) fail(err error) {
	switch fsm.KindOf(err) {
	case fsm.Unavailable, fsm.Overloaded, fsm.OutcomeUnknown, fsm.RateLimited:
		return // the cluster said so, and nothing was got wrong
	}
	if !errors.Is(err, context.Canceled) {
		p.cfg.Wrong(p.team.ID, err)
	}
}

// sleep reports false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
