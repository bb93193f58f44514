package partition

import (
	"math"
	"time"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// The encodings below carry results and answers of queries between nodes. They
// are not stored. Fields stand in the order of their structs; a list is a
// count and its elements.

// Which fields of a Result are present.
const (
	resultErr uint8 = 1 << iota
	resultSubmission
	resultTeam
	resultCreated
	resultCheckpoint
	resultEnd
)

// AppendResult appends r's encoding to w.
func AppendResult(w *wire.Writer, r *Result) {
	w.U8(bitIf(r.Err != nil, resultErr) | bitIf(r.Submission != nil, resultSubmission) |
		bitIf(r.Team != nil, resultTeam) | bitIf(r.Created, resultCreated) | bitIf(r.Checkpoint, resultCheckpoint))
	if r.Err != nil {
		w.U8(uint8(r.Err.Kind))
		w.String(r.Err.Msg)
		w.Varint(int64(r.Err.After))
	}
	if r.Submission != nil {
		AppendSubmission(w, r.Submission)
	}
	if r.Team != nil {
		AppendTeam(w, r.Team)
	}
}

// ReadResult reads what AppendResult wrote; r's error sticks.
func ReadResult(r *wire.Reader) Result {
	var out Result
	set := r.U8()
	if set >= resultEnd {
		r.Fail("unknown fields in result %#x", set)
	}
	if set&resultErr != 0 {
		out.Err = &fsm.Error{Kind: fsm.Kind(r.U8()), Msg: text(r), After: time.Duration(r.Varint())}
		if int(out.Err.Kind) >= fsm.Kinds {
			r.Fail("unknown kind of error %d", out.Err.Kind)
		}
	}
	if set&resultSubmission != 0 {
		out.Submission = new(ReadSubmission(r))
	}
	if set&resultTeam != 0 {
		out.Team = new(ReadTeam(r))
	}
	out.Created, out.Checkpoint = set&resultCreated != 0, set&resultCheckpoint != 0
	return out
}

// AppendSubmission appends s's encoding to w.
func AppendSubmission(w *wire.Writer, s *Submission) {
	w.Uvarint(uint64(s.Number))
	w.String(s.Key)
	w.U8(uint8(s.Verdict))
	w.String(string(s.Clue))
	w.Varint(int64(s.At))
	w.Uvarint(s.Version)
	w.Varint(s.Points)
	w.Varint(s.Score)
	w.Uvarint(uint64(s.Solves))
	w.Uvarint(uint64(s.Attempts))
	w.Uvarint(uint64(s.Limit))
	w.String(s.Reply)
	w.Uvarint(uint64(len(s.Unlocked)))
	for _, id := range s.Unlocked {
		w.String(string(id))
	}
	w.Bool(s.Ranked)
	w.Bool(s.Replayed)
	w.String(s.Answer)
	w.String(s.Player)
}

// ReadSubmission reads what AppendSubmission wrote; r's error sticks.
func ReadSubmission(r *wire.Reader) Submission {
	s := Submission{
		Number: uint32FromWire(r), Key: text(r), Verdict: Verdict(r.U8()), Clue: fsm.ClueID(text(r)),
		At: fsm.Time(r.Varint()), Version: r.Uvarint(), Points: r.Varint(), Score: r.Varint(),
		Solves: uint32FromWire(r), Attempts: uint32FromWire(r), Limit: uint32FromWire(r), Reply: text(r),
		Unlocked: readList(r, func(r *wire.Reader) fsm.ClueID { return fsm.ClueID(text(r)) }),
		Ranked:   r.Bool(), Replayed: r.Bool(), Answer: text(r), Player: text(r),
	}
	if s.Verdict >= verdictEnd {
		r.Fail("unknown verdict %d", s.Verdict)
	}
	return s
}

// AppendSubmissions appends a list of submissions to w.
func AppendSubmissions(w *wire.Writer, list []Submission) {
	appendList(w, list, AppendSubmission)
}

// ReadSubmissions reads what AppendSubmissions wrote; r's error sticks.
func ReadSubmissions(r *wire.Reader) []Submission { return readList(r, ReadSubmission) }

// AppendTeam appends t's encoding to w.
func AppendTeam(w *wire.Writer, t *Team) {
	w.String(string(t.ID))
	w.String(t.Name)
	w.U8(uint8(t.Kind))
	w.U8(uint8(t.Status))
	w.String(t.Division)
	w.String(t.Meta)
	w.Varint(int64(t.Created))
	w.Uvarint(uint64(t.Generation))
	w.Varint(t.Score)
	w.Uvarint(uint64(t.Solves))
	w.Varint(int64(t.FinishedAt))
	w.Varint(int64(t.LastSolve))
	w.Uvarint(uint64(t.Submitted))
	w.Bool(t.Listed)
	appendKey(w, t.Rank)
	w.Uvarint(t.Version)
	appendList(w, t.Clues, appendClue)
}

// ReadTeam reads what AppendTeam wrote; r's error sticks.
func ReadTeam(r *wire.Reader) Team {
	t := Team{
		ID: fsm.TeamID(text(r)), Name: text(r), Kind: TeamKind(r.U8()), Status: TeamStatus(r.U8()), Division: text(r),
		Meta: text(r), Created: fsm.Time(r.Varint()), Generation: uint32FromWire(r), Score: r.Varint(),
		Solves: uint32FromWire(r), FinishedAt: fsm.Time(r.Varint()), LastSolve: fsm.Time(r.Varint()),
		Submitted: uint32FromWire(r), Listed: r.Bool(), Rank: readKey(r), Version: r.Uvarint(),
		Clues: readList(r, readClue),
	}
	if t.Kind > Test || t.Status > Disqualified {
		r.Fail("unknown kind %d or status %d of a team", t.Kind, t.Status)
	}
	return t
}

// AppendTeams appends a list of teams to w.
func AppendTeams(w *wire.Writer, list []Team) { appendList(w, list, AppendTeam) }

// ReadTeams reads what AppendTeams wrote; r's error sticks.
func ReadTeams(r *wire.Reader) []Team { return readList(r, ReadTeam) }

func appendClue(w *wire.Writer, c *Clue) {
	w.String(string(c.ID))
	w.Uvarint(uint64(c.Attempts))
	w.Uvarint(uint64(c.Limit))
	w.Varint(int64(c.SolvedAt))
	w.Bool(c.Ranked)
}

func readClue(r *wire.Reader) Clue {
	return Clue{
		ID: fsm.ClueID(text(r)), Attempts: uint32FromWire(r), Limit: uint32FromWire(r),
		SolvedAt: fsm.Time(r.Varint()), Ranked: r.Bool(),
	}
}

// AppendPlace appends p's encoding to w.
func AppendPlace(w *wire.Writer, p *Place) {
	appendKey(w, p.Key)
	w.String(string(p.Team))
}

// ReadPlace reads what AppendPlace wrote; r's error sticks.
func ReadPlace(r *wire.Reader) Place {
	return Place{Key: readKey(r), Team: fsm.TeamID(text(r))}
}

// AppendPage appends p's encoding to w.
func AppendPage(w *wire.Writer, p *Page) {
	appendList(w, p.Rows, appendRow)
	w.Uvarint(uint64(p.Before))
	w.Uvarint(uint64(p.Better))
	w.Uvarint(uint64(p.Total))
	w.Varint(int64(p.AsOf))
}

// ReadPage reads what AppendPage wrote; r's error sticks.
func ReadPage(r *wire.Reader) Page {
	return Page{Rows: readList(r, readRow), Before: count(r), Better: count(r), Total: count(r), AsOf: fsm.Time(r.Varint())}
}

func appendRow(w *wire.Writer, row *Row) {
	AppendPlace(w, &row.Place)
	w.String(row.Name)
	w.String(row.Division)
	w.Varint(row.Score)
	w.Uvarint(uint64(row.Solves))
	w.Varint(int64(row.FinishedAt))
	w.Varint(int64(row.LastSolve))
}

func readRow(r *wire.Reader) Row {
	return Row{
		Place: ReadPlace(r), Name: text(r), Division: text(r), Score: r.Varint(), Solves: uint32FromWire(r),
		FinishedAt: fsm.Time(r.Varint()), LastSolve: fsm.Time(r.Varint()),
	}
}

// AppendStats appends s's encoding to w.
func AppendStats(w *wire.Writer, s *Stats) {
	w.Uvarint(uint64(s.Teams))
	for _, n := range s.Submissions {
		w.Uvarint(uint64(n))
	}
	appendList(w, s.Clues, appendClueStats)
}

// ReadStats reads what AppendStats wrote; r's error sticks.
func ReadStats(r *wire.Reader) Stats {
	s := Stats{Teams: count(r)}
	for i := range s.Submissions {
		s.Submissions[i] = count(r)
	}
	s.Clues = readList(r, readClueStats)
	return s
}

func appendClueStats(w *wire.Writer, c *ClueStats) {
	w.String(string(c.ID))
	w.Uvarint(uint64(c.Solved))
	w.Uvarint(uint64(c.Attempts))
	w.Varint(int64(c.FirstSolve))
	w.String(string(c.FirstTeam))
}

func readClueStats(r *wire.Reader) ClueStats {
	return ClueStats{
		ID: fsm.ClueID(text(r)), Solved: count(r), Attempts: count(r), FirstSolve: fsm.Time(r.Varint()),
		FirstTeam: fsm.TeamID(text(r)),
	}
}

func appendKey(w *wire.Writer, k RankKey) {
	for _, v := range k {
		w.Varint(v)
	}
}

func readKey(r *wire.Reader) (k RankKey) {
	for i := range k {
		k[i] = r.Varint()
	}
	return k
}

func text(r *wire.Reader) string { return r.String(anyLength) }

func count(r *wire.Reader) int { return r.Int(math.MaxInt32) }

func appendList[T any](w *wire.Writer, list []T, one func(*wire.Writer, *T)) {
	w.Uvarint(uint64(len(list)))
	for i := range list {
		one(w, &list[i])
	}
}

// readList grows as elements come: a count that lies allocates nothing. An
// empty list is nil.
func readList[T any](r *wire.Reader, one func(*wire.Reader) T) []T {
	var out []T
	for range r.Count(anyLength) {
		if r.Err() != nil {
			return nil
		}
		out = append(out, one(r))
	}
	return out
}
