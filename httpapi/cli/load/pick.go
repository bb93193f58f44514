package load

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"cairn/fsm"
	"cairn/httpapi/cli/play"
)

// Hunt is a hunt under load.
type Hunt struct {
	ID    fsm.HuntID
	Teams []play.Team // the most popular first, if they are skewed
}

// place is a team by its indices.
type place struct{ hunt, team int }

// places lists all teams, those of one node together if clients know the
// leaders: so each client needs few connections.
func places(p *Plan) []place {
	var all []place
	for h, hunt := range p.Hunts {
		for t := range hunt.Teams {
			all = append(all, place{h, t})
		}
	}
	if p.Leader != nil {
		slices.SortStableFunc(all, func(a, b place) int {
			return cmp.Compare(p.Leader(p.Hunts[a.hunt].ID, p.Hunts[a.hunt].Teams[a.team].ID), p.Leader(p.Hunts[b.hunt].ID, p.Hunts[b.hunt].Teams[b.team].ID))
		})
	}
	return all
}

// picker says what a client asks for next. It follows from the seed and the
// client's number only, so a client asks for the same in every run.
type picker struct {
	plan  *Plan
	mine  []place // of this client alone, if nothing is skewed
	rng   *rand.Rand
	parts int
	hunts *rand.Zipf
	teams map[int]*rand.Zipf // by how many there are
	k     int
}

func newPicker(p *Plan, w int, mine []place) *picker {
	k := &picker{plan: p, mine: mine, rng: rand.New(rand.NewPCG(p.Seed, uint64(w))), parts: p.Mix.total(), teams: map[int]*rand.Zipf{}}
	if p.HuntSkew > 1 {
		k.hunts = k.zipf(p.HuntSkew, len(p.Hunts))
	}
	return k
}

func (k *picker) zipf(skew float64, n int) *rand.Zipf {
	return rand.NewZipf(k.rng, skew, 1, uint64(n-1))
}

func (k *picker) next() (Op, place) {
	op := Submit
	if k.parts > 0 {
		op = k.plan.Mix.at(k.rng.IntN(k.parts))
	}
	if k.hunts == nil && k.plan.Skew <= 1 {
		at := k.mine[k.k%len(k.mine)]
		k.k++
		return op, at
	}
	var at place
	if k.hunts != nil {
		at.hunt = int(k.hunts.Uint64())
	} else {
		at.hunt = k.rng.IntN(len(k.plan.Hunts))
	}
	n := len(k.plan.Hunts[at.hunt].Teams)
	if k.plan.Skew <= 1 {
		at.team = k.rng.IntN(n)
		return op, at
	}
	z := k.teams[n]
	if z == nil {
		z = k.zipf(k.plan.Skew, n)
		k.teams[n] = z
	}
	at.team = int(z.Uint64())
	return op, at
}

// checkTeams reports hunts that cannot keep the clients busy.
func checkTeams(hunts []Hunt, clients int) error {
	teams := 0
	for _, h := range hunts {
		if len(h.Teams) == 0 {
			return fmt.Errorf("hunt %s has no teams", h.ID)
		}
		teams += len(h.Teams)
	}
	if clients < 1 || teams < clients {
		return fmt.Errorf("%d teams cannot keep %d connections busy", teams, clients)
	}
	return nil
}
