package partition

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// Restore reads a snapshot to its end and derives everything else from it. It
// refuses bytes that WriteTo would not have written, records that contradict
// each other, and rules of a later release.
func Restore(r io.Reader) (*Machine, error) {
	s := &snapshotReader{in: bufio.NewReaderSize(r, 64<<10), m: New()}
	if err := s.restore(); err != nil {
		return nil, fmt.Errorf("restoring a snapshot: %w", err)
	}
	return s.m, nil
}

type snapshotReader struct {
	in  *bufio.Reader
	m   *Machine
	buf []byte // of the frame being read
}

func (s *snapshotReader) restore() error {
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(s.in, magic); err != nil {
		return fmt.Errorf("reading the magic: %w", err)
	}
	if string(magic) != snapshotMagic {
		return fmt.Errorf("%w: it begins with %q, not %q", wire.ErrMalformed, magic, snapshotMagic)
	}
	hunts, err := s.head()
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	last := fsm.HuntID("")
	for i := range hunts {
		id, err := s.hunt(last)
		if err != nil {
			return fmt.Errorf("hunt %d of %d: %w", i+1, hunts, err)
		}
		last = id
	}
	if _, err := s.in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the snapshot goes on behind its end (%v)", wire.ErrMalformed, err)
	}
	return nil
}

// frame reads the next frame into s.buf, growing it as bytes come: a length
// that lies allocates nothing.
func (s *snapshotReader) frame(limit int) (*reader, error) {
	var length [4]byte
	if _, err := io.ReadFull(s.in, length[:]); err != nil {
		return nil, fmt.Errorf("reading a frame's length: %w", err)
	}
	n := int(binary.LittleEndian.Uint32(length[:]))
	if n > limit {
		return nil, fmt.Errorf("%w: a frame of %d bytes, over the limit of %d", wire.ErrMalformed, n, limit)
	}
	for s.buf = s.buf[:0]; len(s.buf) < n; {
		at, step := len(s.buf), min(n-len(s.buf), 1<<20)
		s.buf = slices.Grow(s.buf, step)[:at+step]
		if _, err := io.ReadFull(s.in, s.buf[at:]); err != nil {
			return nil, fmt.Errorf("reading a frame of %d bytes: %w", n, err)
		}
	}
	return newReader(s.buf), nil
}

func (s *snapshotReader) head() (hunts uint64, err error) {
	r, err := s.frame(1 << 10)
	if err != nil {
		return 0, err
	}
	s.m.info = Info{
		Initialised: r.Bool(), Partition: fsm.PartitionID(r.Int(1<<16 - 1)),
		Range: fsm.Range{First: fsm.Slot(r.Int(fsm.Slots - 1)), Last: fsm.Slot(r.Int(fsm.Slots - 1))},
		Epoch: r.Uvarint(),
	}
	s.m.now = fsm.Time(r.Varint())
	hunts = r.Uvarint()
	if i := s.m.info; !i.Initialised && (i != Info{} || hunts > 0) || i.Range.First > i.Range.Last {
		r.Fail("state without a range")
	}
	return hunts, r.Done()
}

func (s *snapshotReader) hunt(last fsm.HuntID) (fsm.HuntID, error) {
	r, err := s.frame(maxHuntFrame)
	if err != nil {
		return "", err
	}
	id, h := fsm.HuntID(r.own()), &hunt{deleted: fsm.Incarnation(r.Uvarint())}
	if id <= last || len(id) > fsm.MaxID {
		r.Fail("hunt %.64q stands behind %q", id, last)
	}
	s.m.hunts.Set(id, h)
	inc := fsm.Incarnation(r.Uvarint())
	if inc == 0 {
		if h.deleted == 0 {
			r.Fail("hunt %s is neither installed nor deleted", id)
		}
		return id, r.Done()
	}
	g := newGame(inc)
	h.game = g
	g.version, g.packed = r.Uvarint(), bytes.Clone(r.Bytes(MaxPacked))
	for range r.Count(MaxClueIDs) {
		clue := fsm.ClueID(r.own())
		if g.knows(clue) {
			r.Fail("clue %s has two numbers", clue)
		}
		g.name(clue)
	}
	teams := r.Int(MaxTeams)
	if inc <= h.deleted {
		r.Fail("incarnation %d is installed, %d deleted", inc, h.deleted)
	}
	if err := r.Done(); err != nil {
		return id, err
	}
	if err := s.teams(id, g, teams); err != nil {
		return id, fmt.Errorf("hunt %s: %w", id, err)
	}
	return id, nil
}

// teams reads a game's teams and puts its rules into force over them.
func (s *snapshotReader) teams(id fsm.HuntID, g *game, n int) error {
	rules, err := DecodeRules(g.packed)
	if err != nil {
		return err
	}
	for i := range rules.Clues {
		if !g.knows(rules.Clues[i].ID) {
			return fmt.Errorf("%w: clue %s has no number", wire.ErrMalformed, rules.Clues[i].ID)
		}
	}
	for i := range n {
		if err := s.team(id, g); err != nil {
			return fmt.Errorf("team %d of %d: %w", i+1, n, err)
		}
	}
	g.compile(rules)
	return nil
}

func (s *snapshotReader) team(hunt fsm.HuntID, g *game) error {
	r, err := s.frame(maxTeamFrame)
	if err != nil {
		return err
	}
	t := &team{
		id: fsm.TeamID(r.own()), name: r.own(), kind: TeamKind(r.U8()), status: TeamStatus(r.U8()), division: r.own(),
		meta: r.own(), created: fsm.Time(r.Varint()), generation: r.uint32(), createKey: r.own(), rotateKey: r.own(),
	}
	log := r.Bytes(MaxHistory)
	last, _, _ := g.teams.Max()
	switch {
	case r.Err() != nil:
	case g.teams.Len() > 0 && t.id <= last:
		r.Fail("team %.64q stands behind %q", t.id, last)
	case !s.m.holds(hunt, t.id):
		r.Fail("team %.64q is not of this partition", t.id)
	case t.kind > Test || t.status > Disqualified || t.generation == 0:
		r.Fail("team %s: unknown kind %d, status %d or generation %d", t.id, t.kind, t.status, t.generation)
	}
	if err := r.Done(); err != nil {
		return err
	}
	g.teams.Set(t.id, t)
	if err := s.history(g, t, log); err != nil {
		return fmt.Errorf("team %s: %w", t.id, err)
	}
	return nil
}

// history folds a team's records, as Apply did, and checks that each agrees
// with those before it.
func (s *snapshotReader) history(g *game, t *team, log []byte) error {
	r := newReader(log)
	t.history.log = slices.Grow(t.history.log, len(log))
	for n := 1; len(r.B) > 0; n++ {
		start := len(log) - len(r.B)
		rec := r.record()
		if r.Err() == nil {
			if why := s.contradiction(g, t, &rec); why != "" {
				r.Fail("%s", why)
			}
		}
		if err := r.Err(); err != nil {
			return fmt.Errorf("submission %d: %w", n, err)
		}
		t.fold(&rec, log[start:len(log)-len(r.B)])
		g.count(t, &rec)
	}
	return nil
}

// contradiction says why rec cannot be t's next record; "" if it can.
func (s *snapshotReader) contradiction(g *game, t *team, rec *record) string {
	known := func(n uint32) bool { return int(n) < len(g.dict) }
	if !known(rec.clue) || slices.ContainsFunc(rec.unlocked, func(n uint32) bool { return !known(n) }) {
		return "it names a clue that has no number"
	}
	p := t.progress(rec.clue)
	attempts, score, solves := p.attempts, t.score+rec.points, t.solves
	switch rec.verdict {
	case VerdictIncorrect:
		attempts++
	case VerdictCorrect:
		if rec.ranked {
			solves++
		}
	}
	switch {
	case rec.at < t.lastEvent || rec.at > s.m.now:
		return "its time is before the one before it, or after the log's"
	case rec.verdict == VerdictCorrect && p.solved:
		return "the clue was solved before"
	case rec.points != 0 && (rec.verdict != VerdictCorrect || !rec.ranked):
		return "points without a ranked solve"
	case rec.score != score || rec.solves != solves || rec.attempts != attempts:
		return fmt.Sprintf("score %d, solves %d, attempts %d; the records before it make %d, %d, %d",
			rec.score, rec.solves, rec.attempts, score, solves, attempts)
	case t.history.len() >= MaxSubmissions || len(rec.key) == 0 || len(rec.key) > MaxKey:
		return "more records than a team may have, or a key that is none"
	}
	return ""
}
