package controller

import "cairn/fsm"

func (t *tx) addMember(c *AddMember) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	m := c.Member
	if err := m.validate(); err != nil {
		return rejected(err)
	}
	m.Level = max(m.Level, 1)
	if m.Level < t.level {
		return reject(fsm.Conflict, "node %s speaks feature level %d, the cluster %d: upgrade it", m.Name, m.Level, t.level)
	}
	old := t.members.get(m.ID)
	if old != nil && old.State == Left {
		return reject(fsm.Conflict, "node %s has left the cluster: wipe its data directory and join again as a new node", m.ID)
	}
	for id, other := range t.members.all() {
		if id != m.ID && other.State != Left && other.Name == m.Name {
			return reject(fsm.Conflict, "the name %q is taken by node %s: give this node another", m.Name, id)
		}
	}
	if old != nil {
		return t.updateMember(old, &m)
	}
	if err := t.useJoinToken(c); err != nil {
		return rejected(err)
	}
	if err := t.roomForMember(); err != nil {
		return rejected(err)
	}
	m.State, m.Since, m.Joined, m.Incarnation, m.Duty = Alive, c.Now, c.Now, t.replica(), Serving
	t.putMember(&m)
	return Result{Incarnation: m.Incarnation, Changed: true}
}

// updateMember takes over what a member says of itself; the rest stays.
func (t *tx) updateMember(old, m *Member) Result {
	m.State, m.Since, m.Joined, m.Incarnation, m.Duty = old.State, old.Since, old.Joined, old.Incarnation, old.Duty
	if *m == *old {
		return Result{Incarnation: m.Incarnation}
	}
	t.putMember(m)
	return Result{Incarnation: m.Incarnation, Changed: true}
}

// useJoinToken checks the token that admits a new member and counts its use.
func (t *tx) useJoinToken(c *AddMember) *fsm.Error {
	if c.Token == "" {
		return fsm.Errorf(fsm.NotFound, "node %s is not a member: join with a token", c.Member.ID)
	}
	k := t.tokens.get(c.Token)
	switch {
	case k == nil:
		return fsm.Errorf(fsm.Unauthenticated, "the join token is not known here: it was revoked, or is of another cluster")
	case k.Role != "join":
		return fsm.Errorf(fsm.Forbidden, "this is an %s token: make a join token", k.Role)
	case k.Expires != 0 && k.Expires <= c.Now:
		return fsm.Errorf(fsm.Unauthenticated, "the join token expired at %s: make another", k.Expires)
	case k.Limited && k.Uses == 0:
		return fsm.Errorf(fsm.Forbidden, "the join token has no use left: make another")
	}
	if k.Limited {
		used := *k
		used.Uses--
		t.putToken(&used)
	}
	return nil
}

// roomForMember forgets the member that left first when the list is full. Its
// certificate and its incarnations stay useless: to come back under its id it
// needs a join token like anybody, and gets incarnations never used before.
func (t *tx) roomForMember() *fsm.Error {
	if t.members.len() < MaxMembers {
		return nil
	}
	var first *Member
	for _, m := range t.members.all() {
		if m.State == Left && (first == nil || m.Since < first.Since) {
			first = m
		}
	}
	if first == nil {
		return fsm.Errorf(fsm.TooLarge, "the cluster has %d members, the most it can: remove one first", MaxMembers)
	}
	t.members = t.members.without(first.ID)
	return nil
}

func (t *tx) removeMember(c *RemoveMember) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	old := t.members.get(c.Node)
	if old == nil {
		return rejected(errNoMember(c.Node))
	}
	if old.State == Left {
		return Result{}
	}
	for _, p := range t.partitions {
		if p.wishes(c.Node) {
			return reject(fsm.Conflict, "partition %d wishes a replica on node %s: move its replicas away first", p.ID, c.Node)
		}
	}
	m := *old
	m.State, m.Since = Left, c.Now
	t.putMember(&m)
	return Result{Changed: true}
}

func (t *tx) renewMember(c *RenewMember) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	old, err := t.present(c.Node)
	if err != nil {
		return rejected(err)
	}
	m := *old
	m.Incarnation = t.replica()
	t.putMember(&m)
	return Result{Incarnation: m.Incarnation, Changed: true}
}

// setStates is NodeDown and NodeUp.
func (t *tx) setStates(now fsm.Time, nodes []fsm.NodeID, state MemberState) Result {
	if now <= 0 {
		return rejected(errNoTime)
	}
	if len(nodes) == 0 || len(nodes) > MaxMembers {
		return reject(fsm.Invalid, "the command names %d nodes, not 1 to %d", len(nodes), MaxMembers)
	}
	changed := false
	for _, id := range nodes {
		old := t.members.get(id)
		if old == nil {
			return rejected(errNoMember(id))
		}
		if old.State == Left || old.State == state {
			continue
		}
		m := *old
		m.State, m.Since = state, now
		t.putMember(&m)
		changed = true
	}
	return Result{Changed: changed}
}

func (t *tx) setDuty(c *SetDuty) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	if c.Duty > Leaving {
		return reject(fsm.Invalid, "a member cannot be told to be %s", c.Duty)
	}
	old, err := t.present(c.Node)
	if err != nil {
		return rejected(err)
	}
	if old.Duty == c.Duty {
		return Result{}
	}
	m := *old
	m.Duty = c.Duty
	t.putMember(&m)
	return Result{Changed: true}
}

func (t *tx) putMember(m *Member) {
	t.members = t.members.with(m.ID, m)
	t.membersVersion = t.version
}

// present returns a member that has not left.
func (t *tx) present(id fsm.NodeID) (*Member, *fsm.Error) {
	m := t.members.get(id)
	if m == nil {
		return nil, errNoMember(id)
	}
	if m.State == Left {
		return nil, fsm.Errorf(fsm.Conflict, "node %s has left the cluster", id)
	}
	return m, nil
}

func errNoMember(id fsm.NodeID) *fsm.Error {
	return fsm.Errorf(fsm.NotFound, "there is no node %.80q", id)
}
