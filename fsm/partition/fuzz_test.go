package partition

import (
	"bytes"
	"testing"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// Every decoder: it never panics, and what it accepts it would write again,
// byte for byte. (That it allocates little for little input is its readers'
// design: lists grow as elements come.)

func FuzzDecode(f *testing.F) {
	var b Batch
	f.Add(b.Bytes())
	for _, c := range goldenCommands(goldenVersion, goldenRules().Encode()) {
		b.Add(c.Now, c.Command)
		f.Add(b.Bytes())
	}
	seed := bytes.Clone(b.Bytes())
	f.Fuzz(func(t *testing.T, entry []byte) {
		cmds, err := Decode(entry)
		if err != nil {
			return
		}
		var again Batch
		for _, c := range cmds {
			if !again.Add(c.Now, c.Command) {
				t.Fatal("what was decoded does not fit")
			}
		}
		if !bytes.Equal(again.Bytes(), entry) {
			t.Fatalf("%x is written again as %x", entry, again.Bytes())
		}
		m := New()
		if _, err := m.Apply(seed); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Apply(entry); err == nil {
			if err := m.check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range goldenCommands(goldenVersion, goldenRules().Encode()) {
		f.Add(EncodeCommand(c.Command))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeCommand(b); err == nil && !bytes.Equal(EncodeCommand(c), b) {
			t.Fatalf("%x is written again as %x", b, EncodeCommand(c))
		}
	})
}

// FuzzDecodeRules compares what is inside the packing: deflate has many forms
// of the same bytes.
func FuzzDecodeRules(f *testing.F) {
	f.Add(goldenRules().Encode())
	f.Add(tenClues().Encode())
	f.Add((&Rules{}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := DecodeRules(b)
		if err != nil {
			return
		}
		again, err := DecodeRules(rules.Encode())
		if err != nil {
			t.Fatal(err)
		}
		var one, two wire.Writer
		rules.append(&one)
		again.append(&two)
		if !bytes.Equal(one.B, two.B) {
			t.Fatal("rules change when they are packed again")
		}
	})
}

// FuzzReadRules is FuzzDecodeRules without the packing, which hides the bytes
// from the fuzzer.
func FuzzReadRules(f *testing.F) {
	var w wire.Writer
	goldenRules().append(&w)
	f.Add(w.B)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newReader(b)
		rules := r.rules()
		if r.Done() != nil {
			return
		}
		var again wire.Writer
		rules.append(&again)
		if !bytes.Equal(again.B, b) {
			t.Fatalf("%x is written again as %x", b, again.B)
		}
		if rules.Validate() != nil {
			return
		}
		g := newGame(1)
		if err := g.install(1, rules, nil); err != nil {
			t.Fatal(err)
		}
		for i := range rules.Clues {
			g.opened(nil, i)
		}
	})
}

// answerCodecs are the encodings of everything that is asked between nodes.
var answerCodecs = []func(r *wire.Reader, w *wire.Writer){
	recode(ReadResult, AppendResult),
	recode(ReadSubmission, AppendSubmission),
	recode(ReadSubmissions, func(w *wire.Writer, v *[]Submission) { AppendSubmissions(w, *v) }),
	recode(ReadTeam, AppendTeam),
	recode(ReadTeams, func(w *wire.Writer, v *[]Team) { AppendTeams(w, *v) }),
	recode(ReadPlace, AppendPlace),
	recode(ReadPage, AppendPage),
	recode(ReadStats, AppendStats),
}

func recode[T any](read func(*wire.Reader) T, write func(*wire.Writer, *T)) func(*wire.Reader, *wire.Writer) {
	return func(r *wire.Reader, w *wire.Writer) {
		v := read(r)
		write(w, &v)
	}
}

func FuzzReadAnswers(f *testing.F) {
	var b Batch
	for _, c := range goldenCommands(goldenVersion, goldenRules().Encode()) {
		b.Add(c.Now, c.Command)
	}
	m := New()
	results, err := m.Apply(b.Bytes())
	if err != nil {
		f.Fatal(err)
	}
	results = append(results, Result{Err: &fsm.Error{Kind: fsm.Overloaded, Msg: "wait", After: 5}})
	for i := range results {
		var w wire.Writer
		AppendResult(&w, &results[i])
		f.Add(uint8(0), w.B)
	}
	team, err := m.Team("h", 300, "red")
	if err != nil {
		f.Fatal(err)
	}
	list, err := m.Submissions("h", 300, "red", 0, 10)
	if err != nil {
		f.Fatal(err)
	}
	page, stats := m.Board("h", 300, "", nil, 10), m.Stats("h", 300)
	for which, write := range []func(w *wire.Writer){
		1: func(w *wire.Writer) { AppendSubmission(w, &list[0]) },
		2: func(w *wire.Writer) { AppendSubmissions(w, list) },
		3: func(w *wire.Writer) { AppendTeam(w, team) },
		4: func(w *wire.Writer) { AppendTeams(w, []Team{*team, *team}) },
		5: func(w *wire.Writer) { AppendPlace(w, &Place{RankKey{1, -2}, "red"}) },
		6: func(w *wire.Writer) { AppendPage(w, &page) },
		7: func(w *wire.Writer) { AppendStats(w, &stats) },
	} {
		if write != nil {
			var w wire.Writer
			write(&w)
			f.Add(uint8(which), w.B)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		r, w := wire.NewReader(b), &wire.Writer{}
		answerCodecs[int(which)%len(answerCodecs)](r, w)
		if r.Done() == nil && !bytes.Equal(w.B, b) {
			t.Fatalf("%x is written again as %x", b, w.B)
		}
	})
}

func FuzzRestore(f *testing.F) {
	var b Batch
	for _, c := range goldenCommands(goldenVersion, goldenRules().Encode()) {
		b.Add(c.Now, c.Command)
	}
	m := New()
	f.Add(snapshot(f, m.Freeze()))
	if _, err := m.Apply(b.Bytes()); err != nil {
		f.Fatal(err)
	}
	f.Add(snapshot(f, m.Freeze()))
	f.Fuzz(func(t *testing.T, image []byte) {
		m, err := Restore(bytes.NewReader(image))
		if err != nil {
			return
		}
		if again := snapshot(t, m.Freeze()); !bytes.Equal(again, image) {
			t.Fatalf("%x is written again as %x", image, again)
		}
		m.hunts.Scan(func(id fsm.HuntID, h *hunt) bool {
			if h.game != nil {
				m.Board(id, h.game.incarnation, "", nil, 10)
				m.Stats(id, h.game.incarnation)
			}
			return true
		})
	})
}
