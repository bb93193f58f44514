package controller

import (
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"cairn/fsm"
)

// full is a machine at the limit of hunts and tokens, with 50 members.
func full(b *testing.B) *Machine {
	b.Helper()
	m := founded(b)
	data := []byte("one document for all")
	hash := sha256.Sum256(data)
	apply(b, m, &PutChunk{Hash: hash, Total: len(data), Data: data})
	for i := range 50 {
		id := fmt.Sprint("m", i)
		apply(b, m, &AddMember{Now: 1, Token: "join", Member: Member{ID: fsm.NodeID(id), Name: id, Address: "a:1"}})
	}
	for i := range MaxHunts {
		apply(b, m, &CreateHunt{Now: 2, Hunt: fsm.HuntID(fmt.Sprintf("h%05d", i)), Hash: hash, State: "open"})
	}
	for i := range MaxTokens - 2 {
		k := Token{ID: fmt.Sprintf("k%05d", i), Role: "organizer"}
		k.Hash = sha256.Sum256([]byte(k.ID))
		apply(b, m, &CreateToken{Now: 2, Token: k})
	}
	return m
}

// BenchmarkApply measures a change of each table at its limit.
func BenchmarkApply(b *testing.B) {
	states := [2]string{"paused", "open"}
	for name, command := range map[string]func(i int) Command{
		"member": func(i int) Command { return &SetDuty{Now: 3, Node: "m7", Duty: Duty(i % 2)} },
		"targets": func(i int) Command {
			return &SetTargets{[]TargetChange{{Partition: 1, Epoch: uint64(i + 1), Target: []Wish{{"m1", true}, {"m2", true}, {"m3", true}}, Preferred: "m1"}}}
		},
		"hunt": func(i int) Command { return &SetHuntState{Now: 3, Hunt: "h05000", State: states[i%2]} },
		"register": func(i int) Command {
			s := Snapshot{Replica: fsm.Replica{Node: "m1", Incarnation: 1}, Index: uint64(i + 1), Taken: 1}
			return &RegisterSnapshots{[]Snapshot{s}}
		},
		"refused": func(int) Command { return &RevokeToken{ID: "unknown"} },
	} {
		b.Run(name, func(b *testing.B) {
			m := full(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := m.Apply(Encode(command(i))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUpload is a document of 16 MiB, chunk by chunk.
func BenchmarkUpload(b *testing.B) {
	data := make([]byte, MaxDocument)
	b.SetBytes(MaxDocument)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		m := founded(b)
		data[0] = byte(i)
		hash := sha256.Sum256(data)
		b.StartTimer()
		for off := 0; off < len(data); off += MaxChunk {
			apply(b, m, &PutChunk{hash, len(data), off, data[off:min(off+MaxChunk, len(data))]})
		}
	}
}

func BenchmarkPartitionOf(b *testing.B) {
	s := founded(b).State()
	var sum fsm.PartitionID
	for i := 0; b.Loop(); i++ {
		sum += s.PartitionOf(fsm.Slot(i * 7919))
	}
	_ = sum
}

func BenchmarkWriteTo(b *testing.B) {
	s := full(b).State()
	for b.Loop() {
		n, _ := s.WriteTo(io.Discard)
		b.SetBytes(n)
	}
}
