package controller

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"

	"cairn/fsm"
)

// random draws commands out of small worlds of names, so that they meet.
type random struct {
	src rand.PCG
	now fsm.Time
}

func (r *random) n(limit int) int { return rand.New(&r.src).IntN(limit) }

// often is true but for one time in n.
func (r *random) often(n int) bool { return r.n(n) != 0 }

func (r *random) node() fsm.NodeID { return fsm.NodeID(fmt.Sprint("n", r.n(6))) }
func (r *random) hunt() fsm.HuntID { return fsm.HuntID(fmt.Sprint("h", r.n(5))) }

func (r *random) state() string {
	return []string{"draft", "open", "paused", "closed", "ajar"}[r.n(5)]
}

func (r *random) partition() fsm.PartitionID { return fsm.PartitionID(r.n(randomPartitions + 1)) }

const randomPartitions = 4

// randomDocument is one of a few more documents than may lie idle.
func randomDocument(i int) []byte { return fmt.Appendf(nil, "document %02d", i) }

func (r *random) document() []byte { return randomDocument(r.n(MaxUploads + 6)) }

func (r *random) hash() [32]byte { return sha256.Sum256(r.document()) }

func (r *random) member() Member {
	id := r.node()
	m := Member{ID: id, Name: "name-" + string(id), Address: "a:1", Zone: []string{"", "east"}[r.n(2)], Level: uint32(r.n(3))}
	if !r.often(6) {
		m.Name = "name-n1"
	}
	if !r.often(20) {
		m.Name = "line\nbreak"
	}
	return m
}

func (r *random) token() Token {
	id := fmt.Sprint("t", r.n(8))
	k := Token{
		ID: id, Role: []string{"admin", "organizer", "join", "join", "king"}[r.n(5)],
		Hash: sha256.Sum256([]byte{byte(r.n(10))}), Expires: []fsm.Time{0, 0, r.now + 1, r.now + 50}[r.n(4)],
	}
	if k.Role == "join" && r.n(2) == 0 {
		k.Limited, k.Uses = true, uint32(r.n(3))
	}
	if k.Role == "organizer" && r.n(2) == 0 {
		k.Hunt = r.hunt()
	}
	return k
}

func (r *random) change(s *State) TargetChange {
	c := TargetChange{Partition: r.partition(), Epoch: 1}
	if p, ok := s.Partition(c.Partition); ok && r.often(5) {
		c.Epoch = p.Epoch
	}
	for range r.n(4) {
		c.Target = append(c.Target, Wish{r.node(), r.often(3)})
	}
	if len(c.Target) > 0 {
		c.Preferred = c.Target[r.n(len(c.Target))].Node
	}
	if !r.often(4) {
		c.Renew = append(c.Renew, r.node())
	}
	return c
}

// recovery names survivors of the targets, for the most part.
func (r *random) recovery(s *State) *Recover {
	c := &Recover{}
	for range r.n(3) {
		v := Recovery{Partition: r.partition(), Epoch: 1, Survivor: fsm.Replica{Node: r.node(), Incarnation: uint64(r.n(40))}}
		if p, ok := s.Partition(v.Partition); ok && r.often(5) {
			v.Epoch = p.Epoch
			if r.often(4) {
				v.Survivor = p.Target[r.n(len(p.Target))].Replica
			}
		}
		c.Partitions = append(c.Partitions, v)
	}
	return c
}

// refounding has members that the row is wished on count as down, for the most part.
func (r *random) refounding(s *State) Command {
	c := &Refound{}
	for range r.n(3) {
		v := Refounding{Partition: r.partition(), Epoch: 1, Node: r.node()}
		if p, ok := s.Partition(v.Partition); ok && r.often(5) {
			v.Epoch = p.Epoch
			if down := p.Target[0].Replica.Node; r.n(2) == 0 {
				return &NodeDown{Now: r.now, Nodes: []fsm.NodeID{down}}
			}
		}
		c.Partitions = append(c.Partitions, v)
	}
	return c
}

func (r *random) refounded(s *State) *Refounded {
	c := &Refounded{Partition: r.partition(), Replica: fsm.Replica{Node: r.node(), Incarnation: uint64(r.n(40))}}
	if p, ok := s.Partition(c.Partition); ok && r.often(4) {
		c.Replica = p.Refounder()
	}
	return c
}

// giveBack names incarnations of the past.
func (r *random) giveBack(s *State) *GiveBack {
	c := &GiveBack{Changes: []TargetChange{r.change(s)}}
	for range r.n(3) {
		ch := c.Changes[0]
		k := Kept{ch.Partition, fsm.Replica{Node: r.node(), Incarnation: uint64(r.n(40))}}
		if len(ch.Target) > 0 && r.often(4) {
			k.Replica.Node = ch.Target[r.n(len(ch.Target))].Node
		}
		c.Keep = append(c.Keep, k)
	}
	return c
}

func (r *random) snapshot() Snapshot {
	return Snapshot{
		Partition: r.partition(), Replica: fsm.Replica{Node: r.node(), Incarnation: uint64(r.n(9) + 1)},
		Index: uint64(r.n(100)), Term: 1, Size: int64(r.n(50)), Taken: r.now,
	}
}

func (r *random) chunk() *PutChunk {
	doc := r.document()
	c := &PutChunk{Hash: sha256.Sum256(doc), Total: len(doc), Data: doc}
	switch r.n(8) {
	case 0, 4:
		c.Data = doc[:5]
	case 1:
		c.Off, c.Data = 5, doc[5:]
	case 5:
		c.Off, c.Data = 5, make([]byte, len(doc)-5)
	case 2:
		c.Off, c.Data = 3, doc[3:7]
	case 3:
		c.Data = make([]byte, len(doc))
	}
	return c
}

// memberCommand draws what detectors and operators say of members.
func (r *random) memberCommand() Command {
	nodes := []fsm.NodeID{r.node()}
	for range r.n(2) {
		nodes = append(nodes, r.node())
	}
	switch r.n(3) {
	case 0:
		return &NodeDown{Now: r.now, Nodes: nodes}
	case 1:
		return &NodeUp{Now: r.now, Nodes: nodes}
	default:
		return &SetDuty{Now: r.now, Node: r.node(), Duty: Duty(r.n(4))}
	}
}

// command draws a command; what the state holds makes many of them fit.
func (r *random) command(s *State) Command {
	r.now += fsm.Time(r.n(3))
	switch r.n(18) {
	case 0:
		return &AddMember{Now: r.now, Member: r.member(), Token: fmt.Sprint("t", r.n(8))}
	case 1:
		return &AddMember{Now: r.now, Member: r.member(), Token: "join"}
	case 2:
		return &RemoveMember{Now: r.now, Node: r.node()}
	case 3:
		return &RenewMember{Now: r.now, Node: r.node()}
	case 4:
		return r.memberCommand()
	case 5, 6:
		c := &SetTargets{Changes: []TargetChange{r.change(s)}}
		for range r.n(3) {
			c.Changes = append(c.Changes, r.change(s))
		}
		return c
	case 7:
		return &MarkFounded{Partitions: []fsm.PartitionID{r.partition(), r.partition()}}
	case 8, 9:
		return r.chunk()
	case 10, 11:
		return &CreateHunt{Now: r.now, Hunt: r.hunt(), Hash: r.hash(), State: r.state()}
	case 12:
		return &PutHunt{Now: r.now, Hunt: r.hunt(), Hash: r.hash(), IfVersion: uint64(r.n(5))}
	case 13:
		return &SetHuntState{Now: r.now, Hunt: r.hunt(), State: r.state(), Reason: "rain"}
	case 14:
		return &DeleteHunt{Now: r.now, Hunt: r.hunt(), Incarnation: fsm.Incarnation(r.n(12))}
	case 15:
		return r.rare(s)
	case 16:
		return &CreateToken{Now: r.now, Token: r.token()}
	default:
		return &RevokeToken{Now: r.now, ID: fmt.Sprint("t", r.n(8))}
	}
}

func (r *random) rare(s *State) Command {
	if !r.often(25) {
		return &Resume{Now: r.now, Node: r.node(), Skip: uint64(r.n(3))}
	}
	switch r.n(13) {
	case 5, 6:
		return r.recovery(s)
	case 7, 8, 9:
		return r.refounding(s)
	case 10:
		return r.refounded(s)
	case 11, 12:
		return r.giveBack(s)
	case 0:
		return randomFound(r.now)
	case 1:
		return &SetFeatureLevel{Level: uint32(r.n(FeatureLevel + 1))}
	case 2, 3:
		return &ForgetDeleted{Incarnation: fsm.Incarnation(r.n(12))}
	default:
		return &RegisterSnapshots{Snapshots: []Snapshot{r.snapshot(), r.snapshot()}}
	}
}

// randomFound founds the world that command draws from.
func randomFound(now fsm.Time) *Found {
	return &Found{
		Cluster: "c", Now: now, Partitions: randomPartitions, Settings: Settings{1, 1}, CA: []byte("ca"), Secrets: []byte("sealed"),
		Member: Member{ID: "n0", Name: "name-n0", Address: "a:1"},
		Tokens: []Token{{ID: "join", Role: "join", Hash: [32]byte{1}}, {ID: "admin", Role: "admin", Hash: [32]byte{2}}},
	}
}
