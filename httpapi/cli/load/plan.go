package load

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Op is a kind of request.
type Op int

// The kinds of requests, as ParseMix calls them.
const (
	Submit    Op = iota // POST .../submissions, a wrong answer
	Clues               // GET .../teams/{team}/clues
	Board               // GET .../leaderboard, the first page
	TeamState           // GET .../teams/{team}
	kinds
)

var opNames = [kinds]string{"submit", "clues", "board", "team"}

func (o Op) String() string { return opNames[o] }

// Mix is the parts of all requests that are of each kind. The zero Mix is
// submissions only.
type Mix [kinds]int

// maxParts bounds what a mix adds up to.
const maxParts = 1_000_000

// ParseMix reads such as "submit=80,clues=10,board=9,team=1". What is not named
// has no part.
func ParseMix(text string) (Mix, error) {
	var m Mix
	var seen [kinds]bool
	for _, part := range strings.Split(text, ",") {
		name, n, _ := strings.Cut(strings.TrimSpace(part), "=")
		op := slices.Index(opNames[:], name)
		if op < 0 {
			return Mix{}, fmt.Errorf("%q is none of %s", name, strings.Join(opNames[:], ", "))
		}
		parts, err := strconv.Atoi(n)
		if err != nil || parts < 0 || parts > maxParts/int(kinds) {
			return Mix{}, fmt.Errorf("%q is no number of parts, 0 to %d", n, maxParts/int(kinds))
		}
		if seen[op] {
			return Mix{}, fmt.Errorf("%s is named twice", name)
		}
		m[op], seen[op] = parts, true
	}
	if m.total() == 0 {
		return Mix{}, errors.New("all parts are 0")
	}
	return m, nil
}

func (m Mix) total() int {
	n := 0
	for _, parts := range m {
		n += parts
	}
	return n
}

// at is the kind that part i of the total falls to.
func (m Mix) at(i int) Op {
	for op, parts := range m {
		if i -= parts; i < 0 {
			return Op(op)
		}
	}
	return Submit
}

// Phase is a span of time with a load of its own. Phases of one name are counted
// together.
type Phase struct {
	Name string
	For  time.Duration
	// Rate is how many requests a second are due, whatever is answered; with
	// neither Rate nor Clients it is a pause.
	Rate float64
	// Clients, in a phase without a Rate, each send the next request when the last
	// is answered.
	Clients int
}

// Limits of a plan.
const (
	maxRate   = 1e6
	maxFor    = 24 * time.Hour // of all phases together
	maxSpans  = 1000           // phases
	maxPhases = 64             // names of phases
	maxPeople = 10_000         // clients
)

var phaseName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,23}$`)

// ParsePhases reads such as "warm:10s@500, burst:5s@4000, calm:20s@500": name,
// time, and requests a second, or clients as in "peak:5s@64c".
func ParsePhases(text string) ([]Phase, error) {
	var phases []Phase
	for _, part := range strings.Split(text, ",") {
		name, rest, _ := strings.Cut(strings.TrimSpace(part), ":")
		lasts, much, ok := strings.Cut(rest, "@")
		if !ok {
			return nil, fmt.Errorf("%q is not NAME:TIME@RATE or NAME:TIME@CLIENTSc", part)
		}
		p := Phase{Name: name}
		var err error
		if p.For, err = time.ParseDuration(lasts); err != nil {
			return nil, fmt.Errorf("phase %s: %q is no time such as 10s", name, lasts)
		}
		if clients, closed := strings.CutSuffix(much, "c"); closed {
			if p.Clients, err = strconv.Atoi(clients); err != nil || p.Clients < 1 {
				return nil, fmt.Errorf("phase %s: %q is no number of clients", name, much)
			}
		} else if p.Rate, err = strconv.ParseFloat(much, 64); err != nil {
			return nil, fmt.Errorf("phase %s: %q is no number of requests a second", name, much)
		}
		phases = append(phases, p)
	}
	return phases, CheckPhases(phases)
}

// Bursts turns such as "5x/1s/10s" into phases: for the time given, at the
// rate, but every 10 s for 1 s at 5 times the rate.
func Bursts(text string, rate float64, lasts time.Duration) ([]Phase, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || !strings.HasSuffix(parts[0], "x") {
		return nil, fmt.Errorf("%q is not such as 5x/1s/10s", text)
	}
	times, err := strconv.ParseFloat(strings.TrimSuffix(parts[0], "x"), 64)
	burst, err2 := time.ParseDuration(parts[1])
	every, err3 := time.ParseDuration(parts[2])
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	if burst <= 0 || every <= burst || lasts <= 0 || lasts/every > maxSpans {
		return nil, fmt.Errorf("%q: a burst must be shorter than the time from one to the next, and there may be %d phases", text, maxSpans)
	}
	var phases []Phase
	for left := lasts; left > 0; {
		calm := min(every-burst, left)
		phases = append(phases, Phase{Name: "calm", For: calm, Rate: rate})
		if left -= calm; left > 0 {
			phases = append(phases, Phase{Name: "burst", For: min(burst, left), Rate: times * rate})
			left -= min(burst, left)
		}
	}
	return phases, CheckPhases(phases)
}

// CheckPhases reports what of the phases is out of its limits.
func CheckPhases(phases []Phase) error {
	names := map[string]bool{}
	all := time.Duration(0)
	for _, p := range phases {
		names[p.Name] = true
		switch {
		case !phaseName.MatchString(p.Name):
			return fmt.Errorf("%q is no name of a phase: up to 24 letters, digits, and . _ -", p.Name)
		case p.For <= 0 || p.For > maxFor:
			return fmt.Errorf("phase %s: %v is not between 0 and %v", p.Name, p.For, maxFor)
		case math.IsNaN(p.Rate) || p.Rate < 0 || p.Rate > maxRate:
			return fmt.Errorf("phase %s: the rate must be 0 to %.0f a second", p.Name, maxRate)
		case p.Clients < 0 || p.Clients > maxPeople:
			return fmt.Errorf("phase %s: there may be %d clients", p.Name, maxPeople)
		}
		all += p.For
		if all > maxFor {
			return fmt.Errorf("the phases take more than %v", maxFor)
		}
	}
	if len(phases) == 0 || len(phases) > maxSpans || len(names) > maxPhases {
		return fmt.Errorf("%d phases with %d names; there must be 1 to %d, with at most %d names", len(phases), len(names), maxSpans, maxPhases)
	}
	return nil
}

// due is how many requests are due in the phase, and when request j is, counted
// from the phase's begin.
func (p *Phase) due() int64 {
	return int64(math.Ceil(p.Rate * p.For.Seconds()))
}

func (p *Phase) at(j int64) time.Duration {
	return time.Duration(float64(j) / p.Rate * float64(time.Second))
}
