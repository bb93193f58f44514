package faulttest

// Mutant is a build with one deliberate fault, which the suite must convict: a suite
// that lets a broken cluster pass proves nothing of a whole one.
//
// All mutants are built at once, into one program: each is off unless its name is what
// mutant.On has, which reads it from the environment (see MutantVariable). Nothing in
// the source knows of them: they come in through an overlay (go help build).
type Mutant struct {
	Name string
	Does string // what is wrong with it
	Make []Change
}

// Change replaces Old, which must occur exactly once in a file, by New; without an Old it
// makes the file. Code in New asks mutant.On(name), of the package MutantPackage, which
// the one who builds adds to the imports of the file.
type Change struct{ File, Old, New string }

const (
	// MutantVariable of the environment names the mutant that a program is to be.
	MutantVariable = "CAIRN_MUTANT"
	// MutantPackage is there in the overlay only, as the file MutantFile.
	MutantPackage = "cairn/fsm/mutant"
	MutantFile    = "fsm/mutant/mutant.go"
	// MutantSource is that package.
	MutantSource = `// Package mutant says which deliberate fault this program has.
package mutant

import "os"

var name = os.Getenv("` + MutantVariable + `")

// On reports whether this program is the mutant of that name.
func On(mutant string) bool { return mutant == name }
`
)

// Mutants are all of them.
var Mutants = []Mutant{
	{
		"no-fsync", "the partitions' log is written and not synced",
		[]Change{{"store/journal/files.go", "	if !j.o.NoSync {\n		flags |= writeThrough", "	if !j.o.NoSync && !mutant.On(\"no-fsync\") {\n		flags |= writeThrough"}},
	},
	{
		"fast-heartbeats", "heartbeats are handled beside raft's main loop (hashicorp/raft 695)",
		[]Change{
			{
				"cluster/group/transport.go", "func (t *Transport) SetHeartbeatHandler(func(raft.RPC)) {}",
				`func (t *Transport) SetHeartbeatHandler(f func(raft.RPC)) { setBeside(t, f) }`,
			},
			{
				"cluster/group/transport.go", "	resp, err := t.consume(ctx, raft.RPC{Command: command})\n",
				`	resp, err := any(nil), error(nil)
	if f := beside(t, command); f != nil {
		resp, err = serveBeside(f, command)
	} else {
		resp, err = t.consume(ctx, raft.RPC{Command: command})
	}
`,
			},
			{"cluster/group/mutantfast.go", "", mutantFast},
		},
	},
	{
		"dedup-off", "a key that is known is recorded again",
		[]Change{{"fsm/partition/submit.go", "i := t.history.find(c.Key); i >= 0 {", `i := t.history.find(c.Key); i >= 0 && !mutant.On("dedup-off") {`}},
	},
	{
		"stale-as-strong", "a default read is answered by any replica as it is",
		[]Change{
			{"cluster/query.go", "	if c == Stale {\n", "	if c == Stale || mutant.On(\"stale-as-strong\") {\n"},
			{"cluster/query.go", "	if stale {\n", "	if stale || mutant.On(\"stale-as-strong\") {\n"},
		},
	},
	{
		"no-catch-up", "a reassignment makes voters of replicas that have not caught up",
		[]Change{
			{"cluster/placement/next.go", "		case w.Voter && m.Alive && m.CaughtUp:\n			ready", "		case w.Voter && (m.Alive && m.CaughtUp || mutant.On(\"no-catch-up\")):\n			ready"},
		},
	},
	{
		"early-ack", "an answer is given when its entry is in the leader's log, before it is committed",
		[]Change{
			{
				"cluster/group/group.go", "	f := g.raft.Apply(entry, enqueueTimeout)\n	err = g.await(f)\n",
				`	guess := guessResult(g, entry, "early-ack", "answers-deposed")
	f := g.raft.Apply(entry, enqueueTimeout)
	if guess != nil && mutant.On("early-ack") {
		go f.Error()
		return 0, guess, nil
	}
	err = g.await(f)
	if guess != nil && errors.Is(err, raft.ErrLeadershipLost) {
		return 0, guess, nil
	}
`,
			},
			{"cluster/group/mutantguess.go", "", mutantGuess},
			{"cluster/mutantguess.go", "", mutantGuessMachine},
		},
	},
	{"answers-deposed", "a leader that lost its office answers what it had in hand as if it were committed", nil}, // with early-ack
	{
		"apply-order", "a follower applies an entry behind the one that follows it, now and then",
		[]Change{
			{"cluster/group/machine.go", "		if result, err = a.machine.Apply(l.Index, l.Data); err != nil {", "		if result, err = applyLate(a, l.Data, l.Index); err != nil {"},
			{"cluster/group/mutantorder.go", "", mutantOrder},
			{"cluster/group/group.go", "	g.raft = r\n", "	g.raft = r\n	leads.Store(g.fsm, g.Leads)\n"},
		},
	},
	{
		"snapshot-forgets", "a restored snapshot knows no key of what is in it",
		[]Change{{
			"fsm/partition/restore.go", "		t.fold(&rec, log[start:len(log)-len(r.B)])\n",
			`		t.fold(&rec, log[start:len(log)-len(r.B)])
		if mutant.On("snapshot-forgets") {
			t.history.keys[len(t.history.keys)-1] = 0
		}
`,
		}},
	},
	{
		"verify-leader", "a default read asks raft whether this replica leads (VerifyLeader), instead of riding the log",
		[]Change{{
			"cluster/group/queue.go", "	_, err := q.ride(ctx, nil, 0)\n",
			`	if mutant.On("verify-leader") {
		if !q.group.Leads() || q.group.await(q.group.raft.VerifyLeader()) != nil {
			return q.group.notLeader()
		}
		return nil
	}
	_, err := q.ride(ctx, nil, 0)
`,
		}},
	},
	{
		"read-under-way", "a default read is answered after an entry that was under way when it arrived",
		[]Change{{
			"cluster/group/queue.go", "	index, out, err := q.group.Propose(entry)\n",
			`	index, out, err := q.group.Propose(entry)
	if err == nil && mutant.On("read-under-way") {
		q.mu.Lock()
		var rest []*item
		for _, it := range q.items {
			if it.command == nil {
				it.answer <- answer{}
			} else {
				rest = append(rest, it)
			}
		}
		q.items = rest
		q.mu.Unlock()
	}
`,
		}},
	},
	{
		"name-again", "an empty replica runs under a name that was used",
		[]Change{{
			"cluster/replicas.go", "errors.Is(err, errUsed) && !rs.node.id.Founding {",
			`errors.Is(err, errUsed) && !rs.node.id.Founding && !mutant.On("name-again") {`,
		}},
	},
	{
		"nominate-anyone", "a replica that has no vote stands for election (TimeoutNow to a non-voter)",
		[]Change{{"cluster/group/members.go", "!in || !self.Voter || leader", `!in || !self.Voter && !mutant.On("nominate-anyone") || leader`}},
	},
	{
		"time-back", "log time is the leader's clock, and runs back when a slower clock leads",
		[]Change{{
			"fsm/partition/machine.go", "		m.now = max(m.now, cmds[i].Now)\n",
			"		m.now = max(m.now, cmds[i].Now)\n		if mutant.On(\"time-back\") {\n			m.now = cmds[i].Now\n		}\n",
		}, {
			"fsm/partition/submit.go", "	case at < t.lastEvent:\n", "	case at < t.lastEvent && !mutant.On(\"time-back\"):\n",
		}},
	},
	{
		"any-version", "an answer is judged as it was matched, under whatever version of the hunt",
		[]Change{{"fsm/partition/submit.go", "	case c.Version != g.version:\n", "	case c.Version != g.version && !mutant.On(\"any-version\"):\n"}},
	},
	{
		"new-key", "a node that asks another one again does so under a new key",
		[]Change{{
			"cluster/play.go", "			if body == nil {\n",
			`			if s, ok := cmd.(*partition.Submit); ok && body != nil && mutant.On("new-key") {
				again := *s
				again.Key += "+"
				cmd, body = &again, nil
			}
			if body == nil {
`,
		}},
	},
}

const mutantFast = `package group

import (
	"sync"

	"github.com/hashicorp/raft"

	"cairn/fsm/mutant"
)

var fast sync.Map // func(raft.RPC) by *Transport

func setBeside(t *Transport, f func(raft.RPC)) {
	if mutant.On("fast-heartbeats") {
		fast.Store(t, f)
	}
}

// beside is what handles a command beside the main loop; nil: nothing does.
func beside(t *Transport, command any) func(raft.RPC) {
	q, ok := command.(*raft.AppendEntriesRequest)
	f, set := fast.Load(t)
	if !ok || !set || q.PrevLogEntry > 0 || len(q.Entries) > 0 {
		return nil
	}
	return f.(func(raft.RPC))
}

func serveBeside(f func(raft.RPC), command any) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	f(raft.RPC{Command: command, RespChan: answer})
	a := <-answer
	return a.Response, a.Error
}
`

// mutantGuess computes what an entry's result will be from the state as it is.
const mutantGuess = `package group

import (
	"slices"

	"cairn/fsm/mutant"
)

func guessResult(g *Group, entry []byte, on ...string) any {
	m, ok := g.conf.Machine.(interface{ Guess([]byte) any })
	if !ok || len(entry) == 0 || !g.Leads() || !slices.ContainsFunc(on, mutant.On) {
		return nil
	}
	return m.Guess(entry)
}
`

const mutantGuessMachine = `package cluster

import (
	"bytes"

	"cairn/fsm/partition"
)

// Guess is the result that an entry would have now.
func (p *partitionMachine) Guess(entry []byte) any {
	p.mu.Lock()
	frozen := p.m.Freeze()
	p.mu.Unlock()
	var b bytes.Buffer
	if _, err := frozen.WriteTo(&b); err != nil {
		return nil
	}
	m, err := partition.Restore(&b)
	if err != nil {
		return nil
	}
	results, err := m.Apply(entry)
	if err != nil {
		return nil
	}
	return results
}
`

const mutantOrder = `package group

import (
	"sync"

	"cairn/fsm/mutant"
)

var (
	leads sync.Map // func() bool by *applier
	late  sync.Map // []byte, an entry that was left for later, by *applier
)

func applyLate(a *applier, entry []byte, index uint64) (any, error) {
	lead, ok := leads.Load(a)
	if !ok || !mutant.On("apply-order") {
		return a.machine.Apply(index, entry)
	}
	if index%2 == 0 && !lead.(func() bool)() {
		if _, waits := late.Load(a); !waits {
			late.Store(a, entry)
			return nil, nil
		}
	}
	result, err := a.machine.Apply(index, entry)
	if left, waits := late.LoadAndDelete(a); waits && err == nil {
		_, err = a.machine.Apply(index, left.([]byte))
	}
	return result, err
}
`
