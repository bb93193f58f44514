package controller

import (
	"fmt"
	"slices"

	"cairn/fsm"
)

// derive fills what follows from the tables: invariants 3, 7, 8, 9 and 10 say
// what it must be.
func (s *State) derive() {
	if len(s.partitions) > 0 {
		s.slots = slotTable(s.partitions)
	}
	s.byIncarnation = sortedBy(s.hunts, func(h *Hunt) fsm.Incarnation { return h.Incarnation })
	s.byHash = sortedBy(s.tokens, func(k *Token) string { return string(k.Hash[:]) })
	for _, h := range s.hunts.all() {
		d := s.documents.get(string(h.Hash[:]))
		if d == nil {
			continue // check finds it
		}
		if d.refs == 0 {
			s.held += d.total
		}
		d.refs++
	}
}

// check returns an error that names the invariant of State that is broken.
func (s *State) check() error {
	if !s.Founded() {
		return s.checkEmpty()
	}
	for _, check := range []func() error{
		s.checkVersions, s.checkTable, s.checkReplicas, s.checkMembers,
		s.checkHunts, s.checkDocuments, s.checkTokens, s.checkRegister,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func broken(invariant int, format string, args ...any) error {
	return fmt.Errorf("invariant %d is broken: %s", invariant, fmt.Sprintf(format, args...))
}

func (s *State) checkEmpty() error {
	rows := s.members.len() + len(s.partitions) + s.hunts.len() + s.deleted.len() + s.documents.len() + s.tokens.len() + s.snapshots.len()
	bare := State{nextReplica: 1, nextHunt: 1}
	if rows > 0 || s.version != 0 || s.level != 0 || s.slotVersion != 0 || s.created != 0 || s.settings != bare.settings ||
		len(s.ca)+len(s.secrets) > 0 || s.nextReplica != bare.nextReplica || s.nextHunt != bare.nextHunt ||
		s.tableVersion|s.membersVersion|s.catalogueVersion != 0 {
		return broken(1, "the cluster is not founded and the state is not empty")
	}
	return nil
}

func (s *State) checkVersions() error {
	if v := max(s.tableVersion, s.membersVersion, s.catalogueVersion); v > s.version {
		return broken(2, "something changed at %d, after the last change at %d", v, s.version)
	}
	return nil
}

func (s *State) checkTable() error {
	next := 0
	for i := range s.partitions {
		p := &s.partitions[i]
		if int(p.ID) != i || int(p.Range.First) != next || p.Range.Last < p.Range.First || p.Epoch == 0 {
			return broken(3, "partition %d stands at %d with slots %d..%d from %d and epoch %d", p.ID, i, p.Range.First, p.Range.Last, next, p.Epoch)
		}
		if s.slots[p.Range.First] != p.ID || s.slots[p.Range.Last] != p.ID {
			return broken(3, "slots disagree with partition %d", p.ID)
		}
		next = int(p.Range.Last) + 1
		if err := s.checkTarget(p); err != nil {
			return err
		}
	}
	if next != fsm.Slots || len(s.partitions) > MaxPartitions {
		return broken(3, "%d partitions cover %d slots", len(s.partitions), next)
	}
	return nil
}

func (s *State) checkTarget(p *Partition) error {
	leads := false
	for i, r := range p.Target {
		if m := s.members.get(r.Replica.Node); m == nil || m.State == Left {
			return broken(4, "partition %d wishes a replica on %s, which is no member", p.ID, r.Replica.Node)
		}
		if i > 0 && p.Target[i-1].Replica.Node >= r.Replica.Node {
			return broken(4, "the target of partition %d is out of order", p.ID)
		}
		if p.GivenUp(r.Replica) {
			return broken(12, "partition %d wishes %s, which was given up", p.ID, r.Replica)
		}
		leads = leads || r.Voter && r.Replica.Node == p.Preferred
	}
	if p.Base >= s.nextReplica || p.Adopt.Incarnation >= max(p.Base, 1) || (p.Base == 0) != p.Adopt.IsZero() {
		return broken(12, "partition %d begins with %d out of %s", p.ID, p.Base, p.Adopt)
	}
	if p.Base > 0 && !p.Founded && (p.Adopt.Incarnation != 0 || len(p.Target) != 1 || p.Target[0].Replica != p.first()) {
		return broken(13, "partition %d is being founded anew by %s, and wished on %v", p.ID, p.first(), p.Target)
	}
	if n := len(p.Target); !leads || n < 1 || n > MaxReplicas {
		return broken(4, "partition %d has %d replicas and prefers %s", p.ID, n, p.Preferred)
	}
	return nil
}

func (s *State) checkReplicas() error {
	var used []uint64
	for _, m := range s.members.all() {
		used = append(used, m.Incarnation)
	}
	for i := range s.partitions {
		for _, r := range s.partitions[i].Target {
			used = append(used, r.Replica.Incarnation)
		}
	}
	if !distinctBelow(used, s.nextReplica) {
		return broken(5, "two replicas share an incarnation, or one lies beyond %d", s.nextReplica)
	}
	return nil
}

// distinctBelow sorts ns.
func distinctBelow(ns []uint64, limit uint64) bool {
	slices.Sort(ns)
	for i, n := range ns {
		if n == 0 || n >= limit || i > 0 && ns[i-1] == n {
			return false
		}
	}
	return true
}

func (s *State) checkMembers() error {
	names := map[string]bool{}
	for id, m := range s.members.all() {
		if m.State > Left || m.Duty > Leaving || m.validate() != nil {
			return broken(6, "member %s is not valid", id)
		}
		if m.State == Left {
			continue
		}
		if names[m.Name] || m.Level < s.level {
			return broken(6, "member %s shares its name, or its level %d is under %d", id, m.Level, s.level)
		}
		names[m.Name] = true
	}
	if s.members.len() > MaxMembers {
		return broken(6, "%d members", s.members.len())
	}
	return nil
}

func (s *State) checkHunts() error {
	var used []uint64
	for _, table := range [][]Hunt{s.hunts.values(), s.deleted.values()} {
		for _, h := range table {
			if !fsm.ValidID(string(h.ID)) || h.Document == 0 || h.Document > h.Version || !validHuntState(h.State) {
				return broken(7, "hunt %q is not valid", h.ID)
			}
			used = append(used, uint64(h.Incarnation))
		}
	}
	if !distinctBelow(used, uint64(s.nextHunt)) {
		return broken(7, "two hunts share an incarnation, or one lies beyond %d", s.nextHunt)
	}
	for _, h := range s.hunts.all() {
		if s.byIncarnation.get(h.Incarnation) != h {
			return broken(7, "hunt %s is not found by its incarnation", h.ID)
		}
	}
	if s.byIncarnation.len() != s.hunts.len() || s.hunts.len() > MaxHunts || s.deleted.len() > MaxDeleted {
		return broken(7, "%d hunts, %d deleted, %d by incarnation", s.hunts.len(), s.deleted.len(), s.byIncarnation.len())
	}
	return nil
}

func (s *State) checkDocuments() error {
	refs := map[[32]byte]int{}
	for _, h := range s.hunts.all() {
		refs[h.Hash]++
		if _, ok := s.Document(h.Hash); !ok {
			return broken(8, "the document of hunt %s is not here whole", h.ID)
		}
	}
	held := 0
	var idle []uint64
	for hash, d := range s.documents.all() {
		if d.total < 1 || d.total > MaxDocument || len(d.data) == 0 || len(d.data) > d.total ||
			d.refs != refs[[32]byte([]byte(hash))] || (d.refs == 0) != (d.idle > 0) {
			return broken(8, "document %x: %d of %d bytes, %d references, idle since %d", hash, len(d.data), d.total, d.refs, d.idle)
		}
		if d.refs > 0 {
			held += d.total
		} else {
			idle = append(idle, d.idle)
		}
	}
	if len(idle) > MaxUploads || !distinctBelow(idle, s.version+1) {
		return broken(8, "%d idle documents, some of one age", len(idle))
	}
	if held != s.held || held > MaxDocuments {
		return broken(9, "%d bytes of documents are held, %d counted", held, s.held)
	}
	return nil
}

func (s *State) checkTokens() error {
	for id, k := range s.tokens.all() {
		stored := *k
		stored.Limited = stored.Limited && stored.Uses > 0 // a used up token is valid to keep
		if stored.validate() != nil || s.byHash.get(string(k.Hash[:])) != k {
			return broken(10, "token %s is not valid, or not found by its hash", id)
		}
	}
	if s.byHash.len() != s.tokens.len() || s.tokens.len() > MaxTokens {
		return broken(10, "%d tokens, %d by hash", s.tokens.len(), s.byHash.len())
	}
	return nil
}

func (s *State) checkRegister() error {
	for id, e := range s.snapshots.all() {
		if int(id) >= len(s.partitions) || e.Index == 0 {
			return broken(11, "a snapshot of partition %d at %d", id, e.Index)
		}
	}
	return nil
}
