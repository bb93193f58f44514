package partition

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// epoch is the time at which scripts and random histories begin.
const epoch = fsm.Time(1_767_225_600_000_000) // 2026-01-01

// TestScripts replays every script in testdata/fsm/partition. A block is
// commands, a line of dashes and what they answer; indented lines belong to the
// command above. After each block the invariants are checked, and a machine
// restored from the snapshot takes over: nothing may depend on what a snapshot
// does not hold. After a change run with -update, read the diff, and commit it
// only if you can explain every line.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("../../testdata/fsm/partition/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, m: New(), now: epoch, hunt: "h"}
	var out strings.Builder
	for i, block := range strings.Split(strings.TrimRight(string(text), "\n"), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		if i > 0 {
			out.WriteString("\n\n")
		}
		out.WriteString(input)
		if answer := s.block(input); answer != "" {
			out.WriteString("\n----\n" + strings.TrimRight(answer, "\n"))
		}
		if err := s.m.check(); err != nil {
			t.Fatalf("after block %d: %v", i+1, err)
		}
		s.m = restored(t, s.m)
	}
	if got := out.String() + "\n"; *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// restored returns a machine restored from m's snapshot, which must have m's hash.
func restored(t testing.TB, m *Machine) *Machine {
	t.Helper()
	var buf bytes.Buffer
	if _, err := m.Freeze().WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	out, err := Restore(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if out.Hash() != m.Hash() {
		t.Fatal("the restored machine has another hash")
	}
	return out
}

// script is a running script: the machine, the clock, and what commands mean
// when they name no hunt.
type script struct {
	t       testing.TB
	m       *Machine
	now     fsm.Time
	hunt    fsm.HuntID
	inc     fsm.Incarnation
	version uint64
	hash    [sha256.Size]byte // when a script last looked at it
}

func (s *script) block(input string) string {
	var out strings.Builder
	lines := strings.Split(input, "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		var below []string
		for i++; i < len(lines) && strings.HasPrefix(lines[i], " "); i++ {
			below = append(below, lines[i])
		}
		if line != "" && !strings.HasPrefix(line, "#") {
			out.WriteString(s.run(args(line), below))
		}
	}
	return out.String()
}

// words are a line's positional words and its k=v words; a bare option is "true".
type words struct {
	at  []string
	opt map[string]string
}

func args(line string) words {
	w := words{opt: map[string]string{}}
	for _, f := range strings.Fields(line) {
		if k, v, ok := strings.Cut(f, "="); ok {
			w.opt[k] = v
		} else {
			w.at = append(w.at, f)
		}
	}
	return w
}

func (w words) get(i int) string {
	if i < len(w.at) {
		return w.at[i]
	}
	return ""
}

func (s *script) run(w words, below []string) string {
	if h, ok := w.opt["hunt"]; ok {
		s.hunt = fsm.HuntID(h)
	}
	inc, version := s.inc, s.version
	if v, ok := w.opt["inc"]; ok {
		inc = fsm.Incarnation(s.number(v))
	}
	if v, ok := w.opt["v"]; ok {
		version = s.number(v)
	}
	team := fsm.TeamID(w.get(1))
	switch w.at[0] {
	case "tick":
		s.now += s.span(w.get(1))
		return ""
	case "init":
		first, last, _ := strings.Cut(w.get(1), "-")
		return s.apply(&Init{Partition: 7, Range: fsm.Range{First: fsm.Slot(s.number(first)), Last: fsm.Slot(s.number(last))}, Epoch: 1})
	case "install":
		s.inc, s.version = inc, version
		return s.apply(&InstallHunt{s.hunt, inc, version, s.rules(w, below).Encode()})
	case "delete":
		return s.apply(&DeleteHunt{s.hunt, inc})
	case "team":
		c := &CreateTeam{Hunt: s.hunt, Incarnation: inc, Team: team, Name: w.opt["name"], Division: w.opt["div"], Key: "make-" + w.get(1)}
		if k, ok := w.opt["key"]; ok {
			c.Key = k
		}
		if w.opt["kind"] == "test" {
			c.Kind = Test
		}
		c.Public = w.opt["public"] != ""
		return s.apply(c)
	case "patch":
		return s.apply(s.patch(w, inc))
	case "rotate":
		return s.apply(&RotateToken{s.hunt, inc, team, w.opt["key"]})
	case "submit":
		return s.apply(s.submit(w, inc, version))
	case "checkpoint":
		return s.apply(&Checkpoint{})
	default:
		return s.query(w, inc, team)
	}
}

// submit reads "submit TEAM CLUE MATCH:ANSWER KEY", with underscores for spaces.
func (s *script) submit(w words, inc fsm.Incarnation, version uint64) *Submit {
	match, answer, _ := strings.Cut(w.get(3), ":")
	answer = strings.ReplaceAll(answer, "_", " ")
	c := &Submit{
		Hunt: s.hunt, Incarnation: inc, Version: version, Team: fsm.TeamID(w.get(1)), Clue: fsm.ClueID(w.get(2)),
		Digest: digest(answer), Answer: answer, Key: w.get(4), Player: w.opt["player"], Reply: w.opt["reply"],
		Match: map[string]Match{"wrong": Wrong, "right": Correct, "near": Nudged}[match],
	}
	if g, ok := w.opt["gen"]; ok {
		c.Generation = uint32(s.number(g))
	}
	if at, ok := w.opt["at"]; ok {
		c.At = epoch + s.span(at)
	}
	return c
}

// digest stands for the matcher's: of the answer without case and spaces.
func digest(answer string) uint64 {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.ReplaceAll(answer, " ", ""))))
	return binary.LittleEndian.Uint64(sum[:])
}

func (s *script) patch(w words, inc fsm.Incarnation) *PatchTeam {
	c := &PatchTeam{Hunt: s.hunt, Incarnation: inc, Team: fsm.TeamID(w.get(1)), Reason: "script"}
	for k, v := range w.opt {
		switch k {
		case "name":
			c.Name = &v
		case "div":
			c.Division = &v
		case "meta":
			c.Meta = &v
		case "kind":
			c.Kind = new(map[string]TeamKind{"normal": Normal, "test": Test}[v])
		case "status":
			c.Status = new(map[string]TeamStatus{"active": Active, "hidden": Hidden, "disqualified": Disqualified}[v])
		}
	}
	return c
}

func (s *script) apply(c Command) string {
	var b Batch
	if !b.Add(s.now, c) {
		s.t.Fatalf("%T does not fit an entry", c)
	}
	res, err := s.m.Apply(b.Bytes())
	if err != nil {
		s.t.Fatal(err)
	}
	return describe(&res[0])
}

func (s *script) number(v string) uint64 {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) span(v string) fsm.Time {
	d, err := time.ParseDuration(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return fsm.Time(d.Microseconds())
}

// rules reads the options of an install and one clue a line:
//
//	ID POINTS [limit=N] [unlock=COND], COND = ID, all(COND,…), any(COND,…) or Nof(COND,…)
func (s *script) rules(w words, below []string) *Rules {
	r := &Rules{Finish: fsm.ClueID(w.opt["finish"]), Unranked: w.opt["after_end"] == "unranked"}
	r.Registration = w.opt["registration"] == "open"
	r.State = map[string]State{"": Open, "draft": Draft, "paused": Paused, "closed": Closed}[w.opt["state"]]
	for name, at := range map[string]*fsm.Time{"starts": &r.Starts, "ends": &r.Ends} {
		if v, ok := w.opt[name]; ok {
			*at = epoch + s.span(v)
		}
	}
	ranking := w.opt["ranking"]
	if ranking == "" {
		ranking = "points,last_solve"
	}
	for c := range strings.SplitSeq(ranking, ",") {
		r.Ranking = append(r.Ranking, map[string]Criterion{
			"points": ByPoints, "solves": BySolves, "finish": ByFinish, "last_solve": ByLastSolve,
		}[c])
	}
	number := map[string]uint16{}
	for i, line := range below {
		number[args(line).at[0]] = uint16(i)
	}
	for _, line := range below {
		w := args(line)
		c := ClueRule{ID: fsm.ClueID(w.at[0]), Points: int64(s.number(w.at[1]))}
		if v, ok := w.opt["limit"]; ok {
			c.Limit = uint32(s.number(v))
		}
		if v, ok := w.opt["unlock"]; ok {
			rest := ""
			if c.Unlock, rest = s.cond(v, number); rest != "" {
				s.t.Fatalf("condition %q is left over", rest)
			}
		}
		r.Clues = append(r.Clues, c)
	}
	return r
}

func (s *script) cond(text string, number map[string]uint16) (Cond, string) {
	end := strings.IndexAny(text, "(,)")
	if end < 0 || text[end] != '(' {
		if end < 0 {
			end = len(text)
		}
		n, ok := number[text[:end]]
		if !ok {
			s.t.Fatalf("unknown clue in condition %q", text)
		}
		return Cond{Op: Solved, Clue: n}, text[end:]
	}
	var c Cond
	switch op := text[:end]; op {
	case "all":
		c.Op = All
	case "any":
		c.Op = Any
	default:
		c.Op, c.K = AtLeast, int(s.number(strings.TrimSuffix(op, "of")))
	}
	for rest := text[end:]; ; {
		if strings.HasPrefix(rest, ")") {
			return c, rest[1:]
		}
		var of Cond
		of, rest = s.cond(rest[1:], number)
		c.Of = append(c.Of, of)
	}
}

func fail(err error) string { return fmt.Sprintf("%s: %v\n", fsm.KindOf(err), err) }
