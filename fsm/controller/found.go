package controller

import (
	"bytes"

	"cairn/fsm"
)

// found makes the cluster out of one node.
func (t *tx) found(c *Found) Result {
	if t.Founded() {
		return reject(fsm.Conflict, "the cluster is already founded, as %s", t.cluster)
	}
	if err := c.validate(); err != nil {
		return rejected(err)
	}
	m := c.Member
	m.Level = max(m.Level, 1)
	m.State, m.Since, m.Joined, m.Incarnation, m.Duty = Alive, c.Now, c.Now, t.replica(), Serving

	t.cluster, t.created, t.settings = c.Cluster, c.Now, c.Settings
	t.slotVersion, t.level = fsm.SlotVersion, m.Level
	t.ca, t.secrets = bytes.Clone(c.CA), bytes.Clone(c.Secrets)
	t.members = t.members.with(m.ID, &m)
	for i, r := range fsm.SplitSlots(c.Partitions) {
		t.partitions = append(t.partitions, Partition{
			ID: fsm.PartitionID(i), Range: r, Epoch: 1, Preferred: m.ID,
			Target: []TargetReplica{{fsm.Replica{Node: m.ID, Incarnation: t.replica()}, true}},
		})
	}
	t.slots = slotTable(t.partitions)
	for _, token := range c.Tokens {
		if res := t.createToken(&CreateToken{Now: c.Now, Token: token}); res.Err != nil {
			return res
		}
	}
	t.tableVersion, t.membersVersion = t.version, t.version
	return Result{Incarnation: m.Incarnation, Changed: true}
}

func (c *Found) validate() *fsm.Error {
	switch {
	case c.Now <= 0:
		return errNoTime
	case !validName(c.Cluster):
		return fsm.Errorf(fsm.Invalid, "cluster id %.80q must be 1 to %d letters, digits, - or _", c.Cluster, MaxName)
	case c.Partitions < 1 || c.Partitions > MaxPartitions:
		return fsm.Errorf(fsm.Invalid, "a cluster has 1 to %d partitions, not %d", MaxPartitions, c.Partitions)
	case c.Settings.NodeTimeout <= 0 || c.Settings.ReassignAfter <= 0:
		return fsm.Errorf(fsm.Invalid, "the node timeout and the time to reassignment must be longer than zero")
	case len(c.CA) > MaxSecret || len(c.Secrets) > MaxSecret:
		return fsm.Errorf(fsm.TooLarge, "the CA's certificate and the sealed secrets have at most %d bytes each", MaxSecret)
	}
	return c.Member.validate()
}

// setFeatureLevel reads the levels of the members and never FeatureLevel:
// replicas of different builds must answer alike.
func (t *tx) setFeatureLevel(c *SetFeatureLevel) Result {
	if c.Level <= t.level {
		return Result{}
	}
	for id, m := range t.members.all() {
		if m.State != Left && m.Level < c.Level {
			return reject(fsm.Conflict, "node %s (%s) speaks feature level %d only: upgrade it before raising the cluster to %d",
				m.Name, id, m.Level, c.Level)
		}
	}
	t.level = c.Level
	return Result{Changed: true}
}
