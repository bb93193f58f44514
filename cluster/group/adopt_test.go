package group

import (
	"testing"
	"testing/synctest"

	"cairn/fsm"
)

// TestAdopt: one of three goes on alone, under a new name, with everything in its
// log; those of the old history, once they are back, have no part in it; and a
// crash in the middle costs nothing but doing it again.
func TestAdopt(t *testing.T) {
	for name, snapshot := range map[string]bool{"log": false, "snapshot and log": true} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { adopt(t, snapshot) }) })
	}
}

func adopt(t *testing.T, snapshot bool) {
	w := newWorld()
	all := w.three(t)
	for i := range uint64(50) {
		if _, _, err := all[0].group.Propose(number(i)); err != nil {
			t.Fatal(err)
		}
		if snapshot && i == 30 {
			if err := all[0].group.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The leader appends one more that nobody acknowledges: it may count.
	w.isolate(all[0].node, true)
	if _, _, err := all[0].group.Propose(number(1000)); fsm.KindOf(err) != fsm.OutcomeUnknown {
		t.Fatal(err)
	}
	survivor, term := all[0], all[0].group.Term()
	if err := survivor.group.Close(); err != nil {
		t.Fatal(err)
	}
	as := fsm.Replica{Node: survivor.node, Incarnation: 9}
	conf := Config{
		Name: "g", Replica: fsm.Replica{Node: survivor.node, Incarnation: 1},
		Logs: survivor.logs, Snapshots: survivor.snaps, Fatal: func(err error) { t.Error(err) },
	}
	for range 3 { // the second and third as after a crash
		conf.Machine = &counter{}
		if err := Adopt(conf, as); err != nil {
			t.Fatal(err)
		}
	}
	survivor.sums = &counter{}
	w.startAs(t, survivor, as)
	w.isolate(survivor.node, false) // the others lead the old history meanwhile
	defer closeAll(t, all)
	until(t, survivor.group.Leads)
	if _, sum, err := survivor.group.Propose(number(1)); err != nil || sum != uint64(49*50/2+1000+1) {
		t.Errorf("the sum is %d (%v), want all that was in the log", sum, err)
	}
	if survivor.group.Term() <= term {
		t.Errorf("the new history is in term %d, the old one was in %d", survivor.group.Term(), term)
	}
	got, err := survivor.group.Configuration()
	if err != nil || len(got.Servers) != 1 || got.Servers[0] != (Server{as, true}) {
		t.Errorf("the configuration is %+v, %v", got, err)
	}
	until(t, func() bool { return leaderOf(all, survivor) != nil })
	for range 100 { // the two histories know nothing of each other
		if _, _, err := survivor.group.Propose(number(0)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { sum, _ := all[1].sums.total(); return sum == 49*50/2 })
}

// TestAdoptNothing: an empty replica is no survivor.
func TestAdoptNothing(t *testing.T) {
	m := newMember(0)
	err := Adopt(Config{Name: "g", Machine: m.sums, Logs: m.logs, Snapshots: m.snaps}, fsm.Replica{Node: "n0", Incarnation: 2})
	if err == nil {
		t.Error("an empty replica was adopted")
	}
}
