package controller

import (
	"slices"

	"cairn/fsm"
)

// State is the whole state after some entry. It never changes: any goroutine
// may read it, without locks and for as long as it likes, while Apply goes on
// and makes the next one. Slices and pointers inside what it returns (targets,
// documents, CA, Secrets) are shared with it and must not be modified; the
// lists themselves are the caller's.
//
// Invariants, checked by check:
//  1. before Found everything is empty;
//  2. version is raised by every effective change, and the versions of table,
//     members and catalogue are the version of their last change;
//  3. partition i stands at i, the ranges cover every slot once and in order,
//     and slots agrees with them;
//  4. a target has 1..MaxReplicas replicas in strict order of node, at least
//     one voter, its preferred leader among the voters, and every one of its
//     nodes is a member that has not left;
//  5. replica incarnations, of members and targets together, are distinct and
//     below nextReplica;
//  6. the names of members that have not left are distinct, and each of them
//     speaks the cluster's feature level;
//  7. hunt incarnations, deleted ones included, are distinct and below
//     nextHunt, and a document is of its hunt's version or an older one;
//     byIncarnation holds the catalogue's;
//  8. a hunt's document is here whole; a document counts the hunts that refer
//     to it, is idle exactly when there are none, and at most MaxUploads are;
//  9. held is the size of the documents that hunts refer to;
//  10. byHash holds every token under its hash;
//  11. the register names partitions that exist;
//  12. a target holds nobody whose history was given up; a partition's history
//     begins with an incarnation below nextReplica, out of an older replica.
type State struct {
	version          uint64
	tableVersion     uint64
	membersVersion   uint64
	catalogueVersion uint64

	cluster     string
	created     fsm.Time
	slotVersion uint32
	level       uint32
	settings    Settings
	ca          []byte
	secrets     []byte

	nextReplica uint64          // the next incarnation of a replica
	nextHunt    fsm.Incarnation // the next incarnation of a hunt

	members    sorted[fsm.NodeID, Member]
	partitions []Partition
	slots      *[fsm.Slots]fsm.PartitionID // derived from partitions

	hunts         sorted[fsm.HuntID, Hunt]
	byIncarnation sorted[fsm.Incarnation, Hunt] // derived from hunts
	deleted       sorted[fsm.Incarnation, Hunt]
	documents     sorted[string, document] // by hash
	held          int                      // derived from documents

	tokens    sorted[string, Token]
	byHash    sorted[string, Token] // derived from tokens
	snapshots sorted[fsm.PartitionID, Snapshot]
}

// Founded reports whether Found was applied. Until then everything is empty.
func (s *State) Founded() bool { return s.cluster != "" }

// Cluster returns the cluster's id.
func (s *State) Cluster() string { return s.cluster }

// Created returns when the cluster was founded.
func (s *State) Created() fsm.Time { return s.created }

// CA returns the certificate of the cluster's authority, PEM.
func (s *State) CA() []byte { return s.ca }

// Secrets returns what Found sealed with the cluster key.
func (s *State) Secrets() []byte { return s.secrets }

// Settings returns the cluster's settings.
func (s *State) Settings() Settings { return s.settings }

// Level returns the cluster's feature level: a command that a later level
// introduces must not be proposed yet.
func (s *State) Level() uint32 { return s.level }

// NextReplica returns the next incarnation of a replica: none that was given out
// reaches it.
func (s *State) NextReplica() uint64 { return s.nextReplica }

// SlotVersion returns the version of the slot function the cluster was founded
// with. A node that does not know it must not serve.
func (s *State) SlotVersion() uint32 { return s.slotVersion }

// Version is raised by every effective change of anything.
func (s *State) Version() uint64 { return s.version }

// TableVersion is raised by every change of the partition table, to Version.
func (s *State) TableVersion() uint64 { return s.tableVersion }

// MembersVersion is raised by every change of a member, to Version.
func (s *State) MembersVersion() uint64 { return s.membersVersion }

// CatalogueVersion is raised by every change of the catalogue or of the deleted
// hunts, to Version.
func (s *State) CatalogueVersion() uint64 { return s.catalogueVersion }

// Member returns a member, also one that has left.
func (s *State) Member(id fsm.NodeID) (Member, bool) { return value(s.members.get(id)) }

// Members returns the members by id, those that have left included.
func (s *State) Members() []Member { return s.members.values() }

// Partition returns a row of the table.
func (s *State) Partition(id fsm.PartitionID) (Partition, bool) {
	if int(id) >= len(s.partitions) {
		return Partition{}, false
	}
	return s.partitions[id], true
}

// Partitions returns the table.
func (s *State) Partitions() []Partition { return slices.Clone(s.partitions) }

// PartitionOf returns the partition of a slot: one load, for every request
// asks. Before Found it is 0, a partition that does not exist yet.
func (s *State) PartitionOf(slot fsm.Slot) fsm.PartitionID {
	if s.slots == nil {
		return 0
	}
	return s.slots[slot]
}

// Hunt returns a hunt of the catalogue.
func (s *State) Hunt(id fsm.HuntID) (Hunt, bool) { return value(s.hunts.get(id)) }

// HuntByIncarnation returns the hunt of the catalogue that lives as inc; a
// deleted one is not found.
func (s *State) HuntByIncarnation(inc fsm.Incarnation) (Hunt, bool) {
	return value(s.byIncarnation.get(inc))
}

// Hunts returns the catalogue by id.
func (s *State) Hunts() []Hunt { return s.hunts.values() }

// Deleted returns the deleted hunts that have not been forgotten, by
// incarnation, as they were but for Changed, the time of the deletion.
func (s *State) Deleted() []Hunt { return s.deleted.values() }

// Document returns a complete document, deflated.
func (s *State) Document(hash [32]byte) ([]byte, bool) {
	d := s.documents.get(string(hash[:]))
	if d == nil || !d.complete() {
		return nil, false
	}
	return d.data, true
}

// Upload returns how many bytes of a document are here: where the next chunk
// of an upload begins, and all of them once it is complete.
func (s *State) Upload(hash [32]byte) int {
	d := s.documents.get(string(hash[:]))
	if d == nil {
		return 0
	}
	return len(d.data)
}

// Token returns a token by id. Whether it has expired is for the caller to ask.
func (s *State) Token(id string) (Token, bool) { return value(s.tokens.get(id)) }

// TokenByHash returns the token whose secret has this SHA-256.
func (s *State) TokenByHash(hash [32]byte) (Token, bool) { return value(s.byHash.get(string(hash[:]))) }

// Tokens returns the tokens by id.
func (s *State) Tokens() []Token { return s.tokens.values() }

// Snapshots returns the register by partition.
func (s *State) Snapshots() []Snapshot { return s.snapshots.values() }

func value[V any](v *V) (V, bool) {
	if v == nil {
		var zero V
		return zero, false
	}
	return *v, true
}

// slotTable spreads the ranges of the table over the slots.
func slotTable(partitions []Partition) *[fsm.Slots]fsm.PartitionID {
	slots := new([fsm.Slots]fsm.PartitionID)
	for _, p := range partitions {
		for s := int(p.Range.First); s <= int(p.Range.Last); s++ {
			slots[s] = p.ID
		}
	}
	return slots
}
