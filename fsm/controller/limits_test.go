package controller

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"cairn/fsm"
)

// apply applies a command and returns its result; errors that stop a replica
// fail the test.
func apply(t testing.TB, m *Machine, c Command) Result {
	t.Helper()
	res, err := m.Apply(Encode(c))
	if err != nil {
		t.Fatalf("%T: %v", c, err)
	}
	return res
}

func founded(t testing.TB) *Machine {
	t.Helper()
	m := New()
	if res := apply(t, m, randomFound(1)); res.Err != nil {
		t.Fatal(res.Err)
	}
	return m
}

func wantKind(t testing.TB, res Result, kind fsm.Kind) {
	t.Helper()
	if res.Err == nil || res.Err.Kind != kind {
		t.Fatalf("%s, want %s", describe(res), kind)
	}
}

// TestLimitsNeverStop proposes commands beyond each limit: they are answered,
// by every replica alike, and the machine goes on. A limit that failed to
// decode would stop every replica at one entry, for good.
func TestLimitsNeverStop(t *testing.T) {
	long := strings.Repeat("x", MaxSecret+1)
	member := func(change func(*Member)) *AddMember {
		c := &AddMember{Now: 2, Token: "join", Member: Member{ID: "n1", Name: "n1", Address: "a:1"}}
		change(&c.Member)
		return c
	}
	found := func(change func(*Found)) *Found {
		c := randomFound(1)
		change(c)
		return c
	}
	doc := []byte("whole")
	for name, tc := range map[string]struct {
		c    Command
		kind fsm.Kind
		bare bool // before Found
	}{
		"no partitions":            {found(func(c *Found) { c.Partitions = 0 }), fsm.Invalid, true},
		"too many partitions":      {found(func(c *Found) { c.Partitions = MaxPartitions + 1 }), fsm.Invalid, true},
		"negative partitions":      {found(func(c *Found) { c.Partitions = -1 }), fsm.Invalid, true},
		"long secrets":             {found(func(c *Found) { c.Secrets = []byte(long) }), fsm.TooLarge, true},
		"long CA":                  {found(func(c *Found) { c.CA = []byte(long) }), fsm.TooLarge, true},
		"no timeouts":              {found(func(c *Found) { c.Settings = Settings{} }), fsm.Invalid, true},
		"no time":                  {found(func(c *Found) { c.Now = 0 }), fsm.Invalid, true},
		"no cluster id":            {found(func(c *Found) { c.Cluster = "" }), fsm.Invalid, true},
		"a bad first token":        {found(func(c *Found) { c.Tokens[0].Role = "king" }), fsm.Invalid, true},
		"long name":                {member(func(m *Member) { m.Name = long }), fsm.Invalid, false},
		"long address":             {member(func(m *Member) { m.Address = long }), fsm.Invalid, false},
		"long HTTP":                {member(func(m *Member) { m.HTTP = long }), fsm.Invalid, false},
		"long zone":                {member(func(m *Member) { m.Zone = long }), fsm.Invalid, false},
		"broken UTF-8":             {member(func(m *Member) { m.Version = "\xff" }), fsm.Invalid, false},
		"long node id":             {member(func(m *Member) { m.ID = fsm.NodeID(long) }), fsm.Invalid, false},
		"long hunt id":             {&DeleteHunt{Now: 2, Hunt: fsm.HuntID(long)}, fsm.NotFound, false},
		"long reason":              {&SetHuntState{Now: 2, Hunt: "h", State: "open", Reason: long}, fsm.Invalid, false},
		"long chunk":               {&PutChunk{Total: MaxDocument, Data: make([]byte, MaxChunk+1)}, fsm.TooLarge, false},
		"long document":            {&PutChunk{Total: MaxDocument + 1, Data: doc}, fsm.TooLarge, false},
		"negative total":           {&PutChunk{Total: -1, Data: doc}, fsm.Invalid, false},
		"negative offset":          {&PutChunk{Total: 9, Off: -1, Data: doc}, fsm.Invalid, false},
		"overflowing offset":       {&PutChunk{Total: 9, Off: 1<<63 - 1, Data: doc}, fsm.Invalid, false},
		"huge entry":               {&PutChunk{Total: MaxDocument, Data: make([]byte, MaxEntry)}, fsm.TooLarge, false},
		"duty 200":                 {&SetDuty{Now: 2, Node: "n0", Duty: 200}, fsm.Invalid, false},
		"nobody is down":           {&NodeDown{Now: 2}, fsm.Invalid, false},
		"a stranger is down":       {&NodeDown{Now: 2, Nodes: []fsm.NodeID{"n0", "nobody"}}, fsm.NotFound, false},
		"no changes":               {&SetTargets{}, fsm.Invalid, false},
		"too many replicas":        {&SetTargets{Changes: []TargetChange{{Epoch: 1, Target: make([]Wish, MaxReplicas+1)}}}, fsm.Invalid, false},
		"nothing to recover":       {&Recover{}, fsm.Invalid, false},
		"resume without a skip":    {&Resume{Now: 2, Node: "n0"}, fsm.Invalid, false},
		"resume with a huge skip":  {&Resume{Now: 2, Node: "n0", Skip: MaxSkip + 1}, fsm.Invalid, false},
		"resume a stranger's copy": {&Resume{Now: 2, Node: "nobody", Skip: 1}, fsm.NotFound, false},
		"resume at no time":        {&Resume{Node: "n0", Skip: 1}, fsm.Invalid, false},
		"recover 65535":            {&Recover{Partitions: []Recovery{{Partition: 65535, Epoch: 1}}}, fsm.NotFound, false},
		"partition 65535":          {&MarkFounded{Partitions: []fsm.PartitionID{65535}}, fsm.NotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := New()
			if !tc.bare {
				m = founded(t)
			}
			before := m.State()
			wantKind(t, apply(t, m, tc.c), tc.kind)
			if m.State() != before {
				t.Error("a refused command made a new State")
			}
		})
	}
}

// TestRefoundLimits is the same for what founds anew and gives back.
func TestRefoundLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		c    Command
		kind fsm.Kind
	}{
		"nothing to found anew": {&Refound{}, fsm.Invalid},
		"found 65535 anew":      {&Refound{Partitions: []Refounding{{Partition: 65535, Epoch: 1}}}, fsm.NotFound},
		"65535 is founded anew": {&Refounded{Partition: 65535}, fsm.NotFound},
		"give back nothing":     {&GiveBack{}, fsm.Invalid},
		"give back 65535":       {&GiveBack{Keep: []Kept{{Partition: 65535}}}, fsm.NotFound},
	} {
		m := founded(t)
		before := m.State()
		if wantKind(t, apply(t, m, tc.c), tc.kind); m.State() != before {
			t.Errorf("%s: a refused command made a new State", name)
		}
	}
}

// TestMembersMakeRoom fills the member list: the one that left first makes
// room, and without one the join is refused and counts no use.
func TestMembersMakeRoom(t *testing.T) {
	m := founded(t)
	add := func(i int) Result {
		id := fmt.Sprintf("m%04d", i)
		return apply(t, m, &AddMember{Now: fsm.Time(i), Token: "join", Member: Member{ID: fsm.NodeID(id), Name: id, Address: "a:1"}})
	}
	for i := 1; i < MaxMembers; i++ {
		if res := add(i); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	wantKind(t, add(MaxMembers), fsm.TooLarge)
	apply(t, m, &RemoveMember{Now: 5001, Node: "m0009"})
	apply(t, m, &RemoveMember{Now: 5000, Node: "m0011"})
	if res := add(MaxMembers); res.Err != nil {
		t.Fatal(res.Err)
	}
	if _, ok := m.State().Member("m0011"); ok {
		t.Error("the member that left first is still listed")
	}
	if _, ok := m.State().Member("m0009"); !ok {
		t.Error("the member that left last was forgotten")
	}
	if err := m.State().check(); err != nil {
		t.Error(err)
	}
}

// TestTablesAreBounded fills the catalogue, the deleted hunts and the tokens.
func TestTablesAreBounded(t *testing.T) {
	m := founded(t)
	data := []byte("one document for all")
	hash := sha256.Sum256(data)
	apply(t, m, &PutChunk{Hash: hash, Total: len(data), Data: data})
	create := func(i int) Result {
		return apply(t, m, &CreateHunt{Now: 2, Hunt: fsm.HuntID(fmt.Sprintf("h%05d", i)), Hash: hash, State: "open"})
	}
	token := func(i int) Result {
		k := Token{ID: fmt.Sprintf("k%05d", i), Role: "organizer"}
		k.Hash = sha256.Sum256([]byte(k.ID))
		return apply(t, m, &CreateToken{Now: 2, Token: k})
	}
	for i := range MaxHunts {
		if res := create(i); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	wantKind(t, create(MaxHunts), fsm.TooLarge)
	for i := range MaxTokens - 2 { // the founder has two
		if res := token(i); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	wantKind(t, token(MaxTokens), fsm.TooLarge)
	for i := range MaxDeleted {
		if res := apply(t, m, &DeleteHunt{Now: 3, Hunt: fsm.HuntID(fmt.Sprintf("h%05d", i))}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if res := create(0); res.Err != nil {
		t.Fatal(res.Err)
	}
	wantKind(t, apply(t, m, &DeleteHunt{Now: 3, Hunt: "h00000"}), fsm.Overloaded)
	if err := reopen(t, m).State().check(); err != nil {
		t.Error(err)
	}
}

// TestDocumentsAreBounded stands just under the limit of all documents.
func TestDocumentsAreBounded(t *testing.T) {
	m := founded(t)
	data := []byte("ten bytes.")
	hash := sha256.Sum256(data)
	apply(t, m, &PutChunk{Hash: hash, Total: len(data), Data: data})
	almost := *m.State()
	almost.held = MaxDocuments - len(data) + 1
	m.state.Store(&almost)
	wantKind(t, apply(t, m, &CreateHunt{Now: 2, Hunt: "h", Hash: hash, State: "open"}), fsm.TooLarge)
}

// TestNewerLevelStops: a build that does not speak the level the cluster has
// reached must not go on, neither from the log nor from a snapshot.
func TestNewerLevelStops(t *testing.T) {
	m := New()
	c := randomFound(1)
	c.Member.Level = FeatureLevel + 1
	if _, err := m.Apply(Encode(c)); err == nil || !strings.Contains(err.Error(), "upgrade") {
		t.Fatalf("founded at a level this build does not speak: %v", err)
	}
	if _, err := Restore(bytes.NewReader(snapshotOf(t, m.State()))); err == nil || !strings.Contains(err.Error(), "upgrade") {
		t.Fatalf("restored at a level this build does not speak: %v", err)
	}
}

// TestRaiseLevel: the level may rise once everybody who has not left speaks it.
func TestRaiseLevel(t *testing.T) {
	m := founded(t)
	member := func(id string, level uint32) Result {
		c := &AddMember{Now: 2, Token: "join", Member: Member{ID: fsm.NodeID(id), Name: "name-" + id, Address: "a:1", Level: level}}
		return apply(t, m, c)
	}
	raise := &SetFeatureLevel{Level: FeatureLevel + 1}
	member("n1", FeatureLevel)
	member("n0", FeatureLevel+1)
	wantKind(t, apply(t, m, raise), fsm.Conflict)
	apply(t, m, &RemoveMember{Now: 3, Node: "n1"})
	if res, err := m.Apply(Encode(raise)); res.Err != nil || err == nil || m.State().Level() != FeatureLevel+1 {
		t.Fatalf("raised to level %d: %s, %v", m.State().Level(), describe(res), err)
	}
	wantKind(t, member("n2", FeatureLevel), fsm.Conflict)
}
