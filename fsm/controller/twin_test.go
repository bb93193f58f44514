package controller

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// twin is the controller once more, the slow and obvious way: maps, no sharing,
// a copy of everything before each command. It is written from the comments of
// the commands and shares no rule with the machine.
type twin struct {
	Members    map[fsm.NodeID]Member
	Table      map[fsm.PartitionID]Partition
	Hunts      map[fsm.HuntID]Hunt
	Deleted    map[fsm.Incarnation]Hunt
	Documents  map[string]int // by content: how many bytes are here
	Age        []string       // documents that no hunt refers to, oldest first
	Tokens     map[string]Token
	Register   map[fsm.PartitionID]Snapshot
	Level      uint32
	Replica    uint64
	Life       fsm.Incarnation
	Incarnated uint64 // answers of one command
	Hunt       *Hunt
	Created    bool
}

func newTwin(c *Found) *twin {
	m := c.Member
	m.Level, m.Since, m.Joined, m.Incarnation = 1, c.Now, c.Now, 1
	w := &twin{
		Members: map[fsm.NodeID]Member{m.ID: m}, Table: map[fsm.PartitionID]Partition{}, Hunts: map[fsm.HuntID]Hunt{},
		Deleted: map[fsm.Incarnation]Hunt{}, Documents: map[string]int{}, Tokens: map[string]Token{},
		Register: map[fsm.PartitionID]Snapshot{}, Level: 1, Replica: 2, Life: 1,
	}
	for i, r := range fsm.SplitSlots(c.Partitions) {
		w.Table[fsm.PartitionID(i)] = Partition{
			ID: fsm.PartitionID(i), Range: r, Epoch: 1, Preferred: m.ID,
			Target: []TargetReplica{{fsm.Replica{Node: m.ID, Incarnation: w.next()}, true}},
		}
	}
	for _, k := range c.Tokens {
		k.Created = c.Now
		w.Tokens[k.ID] = k
	}
	return w
}

func (w *twin) next() uint64 { w.Replica++; return w.Replica - 1 }

func (w *twin) clone() *twin {
	c := *w
	c.Members, c.Table, c.Hunts, c.Deleted = maps.Clone(w.Members), maps.Clone(w.Table), maps.Clone(w.Hunts), maps.Clone(w.Deleted)
	c.Documents, c.Age, c.Tokens, c.Register = maps.Clone(w.Documents), slices.Clone(w.Age), maps.Clone(w.Tokens), maps.Clone(w.Register)
	c.Incarnated, c.Hunt, c.Created = 0, nil, false
	return &c
}

const (
	fine    = fsm.Kind(255) // no error
	dropped = fsm.Kind(254) // Invalid, and the state changed all the same
)

// apply returns the twin after c, and why c was refused if it was.
func (w *twin) apply(c Command) (*twin, fsm.Kind) {
	n := w.clone()
	switch k := n.do(c); k {
	case fine:
		return n, fine
	case dropped:
		return n, fsm.Invalid
	default:
		return w, k
	}
}

func (w *twin) do(c Command) fsm.Kind {
	switch c := c.(type) {
	case *Found:
		return fsm.Conflict
	case *AddMember:
		return w.add(c)
	case *RemoveMember:
		return w.remove(c)
	case *RenewMember:
		return w.alter(c.Node, func(m *Member) { m.Incarnation = w.next(); w.Incarnated = m.Incarnation })
	case *NodeDown:
		return w.states(c.Nodes, Down, c.Now)
	case *NodeUp:
		return w.states(c.Nodes, Alive, c.Now)
	case *SetDuty:
		if c.Duty > Leaving {
			return fsm.Invalid
		}
		return w.alter(c.Node, func(m *Member) { m.Duty = c.Duty })
	case *SetTargets:
		return w.targets(c.Changes, nil)
	case *Recover, *Resume, *Refound, *Refounded, *GiveBack:
		return w.doRecovery(c)
	case *MarkFounded:
		for _, id := range c.Partitions {
			p, ok := w.Table[id]
			if !ok {
				return fsm.NotFound
			}
			if !p.Founded {
				if p.Base > 0 {
					return fsm.Conflict
				}
				p.Founded = true
				p.Epoch++
			}
			w.Table[id] = p
		}
	case *PutChunk:
		return w.chunk(c)
	case *CreateToken:
		return w.newToken(c)
	case *RevokeToken:
		return w.revoke(c.ID)
	case *RegisterSnapshots:
		for _, s := range c.Snapshots {
			if _, ok := w.Table[s.Partition]; !ok {
				return fsm.NotFound
			}
			if s.Index == 0 {
				return fsm.Invalid
			}
			if s.Index > w.Register[s.Partition].Index {
				w.Register[s.Partition] = s
			}
		}
	case *SetFeatureLevel:
		for _, m := range w.Members {
			if m.State != Left && m.Level < c.Level && c.Level > w.Level {
				return fsm.Conflict
			}
		}
		w.Level = max(w.Level, c.Level)
	default:
		return w.doHunt(c)
	}
	return fine
}

func (w *twin) add(c *AddMember) fsm.Kind {
	m := c.Member
	m.Level = max(m.Level, 1)
	old, known := w.Members[m.ID]
	switch {
	case m.Name == "line\nbreak":
		return fsm.Invalid
	case m.Level < w.Level || known && old.State == Left:
		return fsm.Conflict
	}
	for _, o := range w.Members {
		if o.Name == m.Name && o.ID != m.ID && o.State != Left {
			return fsm.Conflict
		}
	}
	if !known {
		k, ok := w.Tokens[c.Token]
		switch {
		case !ok:
			return fsm.Unauthenticated
		case k.Role != "join":
			return fsm.Forbidden
		case k.Expires != 0 && k.Expires <= c.Now:
			return fsm.Unauthenticated
		case k.Limited && k.Uses == 0:
			return fsm.Forbidden
		case k.Limited:
			k.Uses--
			w.Tokens[k.ID] = k
		}
		old = Member{Since: c.Now, Joined: c.Now, Incarnation: w.next()}
	}
	m.State, m.Since, m.Joined, m.Incarnation, m.Duty = old.State, old.Since, old.Joined, old.Incarnation, old.Duty
	w.Members[m.ID] = m
	w.Incarnated = m.Incarnation
	return fine
}

func (w *twin) remove(c *RemoveMember) fsm.Kind {
	m, ok := w.Members[c.Node]
	if !ok {
		return fsm.NotFound
	}
	if m.State == Left {
		return fine
	}
	for _, p := range w.Table {
		for _, r := range p.Target {
			if r.Replica.Node == c.Node {
				return fsm.Conflict
			}
		}
	}
	m.State, m.Since = Left, c.Now
	w.Members[c.Node] = m
	return fine
}

func (w *twin) states(ids []fsm.NodeID, state MemberState, now fsm.Time) fsm.Kind {
	if len(ids) == 0 {
		return fsm.Invalid
	}
	for _, id := range ids {
		m, ok := w.Members[id]
		if !ok {
			return fsm.NotFound
		}
		if m.State != Left && m.State != state {
			m.State, m.Since = state, now
			w.Members[id] = m
		}
	}
	return fine
}

func (w *twin) alter(id fsm.NodeID, change func(*Member)) fsm.Kind {
	m, ok := w.Members[id]
	if !ok {
		return fsm.NotFound
	}
	if m.State == Left {
		return fsm.Conflict
	}
	change(&m)
	w.Members[id] = m
	return fine
}

func (w *twin) targets(changes []TargetChange, keep map[fsm.PartitionID]map[fsm.NodeID]fsm.Replica) fsm.Kind {
	seen := map[fsm.PartitionID]bool{}
	for _, ch := range changes {
		p, ok := w.Table[ch.Partition]
		switch {
		case !ok:
			return fsm.NotFound
		case seen[ch.Partition]:
			return fsm.Invalid
		case p.Epoch != ch.Epoch || p.Base > 0 && !p.Founded:
			return fsm.Conflict
		case len(ch.Target) == 0:
			return fsm.Invalid
		}
		seen[ch.Partition] = true
		had := map[fsm.NodeID]fsm.Replica{}
		for _, r := range p.Target {
			had[r.Replica.Node] = r.Replica
		}
		votes := map[fsm.NodeID]bool{}
		for _, wish := range ch.Target {
			if k := w.alter(wish.Node, func(*Member) {}); k != fine {
				return k
			}
			if _, twice := votes[wish.Node]; twice {
				return fsm.Invalid
			}
			votes[wish.Node] = wish.Voter
		}
		if !votes[ch.Preferred] {
			return fsm.Invalid
		}
		for _, n := range ch.Renew {
			if _, in := votes[n]; !in {
				return fsm.Invalid
			}
			delete(had, n)
		}
		p.Target = nil
		for _, n := range slices.Sorted(maps.Keys(votes)) {
			r, kept := had[n]
			if back, ok := keep[p.ID][n]; ok {
				r, kept = back, true
			}
			if !kept {
				r = fsm.Replica{Node: n, Incarnation: w.next()}
			}
			p.Target = append(p.Target, TargetReplica{r, votes[n]})
		}
		p.Preferred = ch.Preferred
		p.Epoch++
		w.Table[p.ID] = p
	}
	return fine
}

func (w *twin) newToken(c *CreateToken) fsm.Kind {
	k := c.Token
	if k.Role == "king" || k.Limited && k.Uses == 0 || k.Hash == [32]byte{} {
		return fsm.Invalid
	}
	if old, ok := w.Tokens[k.ID]; ok {
		if old.Hash == k.Hash {
			return fine
		}
		return fsm.Conflict
	}
	for _, o := range w.Tokens {
		if o.Hash == k.Hash {
			return fsm.Conflict
		}
	}
	k.Created = c.Now
	w.Tokens[k.ID] = k
	return fine
}

func (w *twin) revoke(id string) fsm.Kind {
	k, ok := w.Tokens[id]
	if !ok {
		return fsm.NotFound
	}
	left := 0
	delete(w.Tokens, id)
	for _, o := range w.Tokens {
		if o.Role == "admin" && o.Expires == 0 {
			left++
		}
	}
	if k.Role == "admin" && k.Expires == 0 && left == 0 {
		return fsm.Conflict
	}
	return fine
}

// sortedValues are a map's values in order of key.
func sortedValues[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// pair is a machine and its twin.
type pair struct {
	m *Machine
	w *twin
}

func newPair(t rapid.TB) *pair {
	found := randomFound(1)
	p := &pair{New(), newTwin(found)}
	if res, err := p.m.Apply(Encode(found)); err != nil || !res.Changed {
		t.Fatal(res, err)
	}
	return p
}

func (p *pair) step(t rapid.TB, c Command) {
	before := p.m.State()
	res, err := p.m.Apply(Encode(c))
	if err != nil {
		t.Fatalf("%T %+v: %v", c, c, err)
	}
	w, kind := p.w.apply(c)
	sameAnswer(t, c, res, w, kind, !reflect.DeepEqual(p.w.withoutAnswer(), w.withoutAnswer()))
	sameState(t, c, p.m.State(), w)
	if !res.Changed && p.m.State() != before {
		t.Fatalf("%T %+v: a new State and nothing changed", c, c)
	}
	if err := p.m.State().check(); err != nil {
		t.Fatalf("%T %+v: %v", c, c, err)
	}
	p.w = w
}

func TestMachineMatchesTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, r := newPair(t), &random{now: 1}
		// One draw a command, so that rapid leaves out whole commands when it
		// makes a failure smaller.
		for range rapid.IntRange(1, 400).Draw(t, "commands") {
			r.src.Seed(rapid.Uint64().Draw(t, "seed"), 0)
			p.step(t, r.command(p.m.State()))
		}
	})
}

// TestMachineMatchesTwinLong reaches what takes long: uploads pushed out,
// members that all left, lives of one hunt after another.
func TestMachineMatchesTwinLong(t *testing.T) {
	p, r := newPair(t), &random{now: 1}
	r.src.Seed(1, 1)
	for range 20_000 {
		p.step(t, r.command(p.m.State()))
	}
}

func (w *twin) withoutAnswer() twin {
	c := *w
	c.Incarnated, c.Hunt, c.Created = 0, nil, false
	return c
}

func sameAnswer(t rapid.TB, c Command, res Result, w *twin, kind fsm.Kind, changed bool) {
	got := fine
	if res.Err != nil {
		got = res.Err.Kind
	}
	if got != kind || res.Changed != changed {
		t.Fatalf("%T %+v: kind %d changed %t, the twin says %d %t: %v", c, c, got, res.Changed, kind, changed, res.Err)
	}
	if kind == fine && (res.Incarnation != w.Incarnated || res.Created != w.Created || !reflect.DeepEqual(res.Hunt, w.Hunt)) {
		t.Fatalf("%T %+v: %+v %v, the twin says %d %t %v", c, c, res, res.Hunt, w.Incarnated, w.Created, w.Hunt)
	}
}

func sameState(t rapid.TB, c Command, s *State, w *twin) {
	documents := map[string]int{}
	for i := range MaxUploads + 6 {
		if n := s.Upload(sha256.Sum256(randomDocument(i))); n > 0 {
			documents[string(randomDocument(i))] = n
		}
	}
	for _, v := range []struct {
		what      string
		got, want any
	}{
		{"members", s.Members(), sortedValues(w.Members)},
		{"table", s.Partitions(), sortedValues(w.Table)},
		{"hunts", s.Hunts(), sortedValues(w.Hunts)},
		{"deleted", s.Deleted(), sortedValues(w.Deleted)},
		{"tokens", s.Tokens(), sortedValues(w.Tokens)},
		{"register", s.Snapshots(), sortedValues(w.Register)},
		{"documents", documents, w.Documents},
		{"level", s.Level(), w.Level},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Fatalf("after %T %+v: %s\n  %+v\nthe twin has\n  %+v", c, c, v.what, v.got, v.want)
		}
	}
}
