package controller

import (
	"bytes"
	"crypto/sha256"
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

// TestScripts replays every script in testdata/fsm/controller. A block is
// commands, a line of dashes and the expected output. The machine goes through
// its snapshot after every block, so a script also shows that nothing it tells
// of is lost there. After a change run with -update, read the diff, and commit
// it only if you can explain every line.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("../../testdata/fsm/controller/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, m: New(), now: fsm.TimeOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	var out []string
	for block := range strings.SplitSeq(strings.TrimRight(string(text), "\n"), "\n\n") {
		cmd, _, _ := strings.Cut(block, "\n----\n")
		said := ""
		for l := range strings.Lines(cmd) {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
				said += s.run(parseLine(l))
			}
		}
		if said != "" {
			cmd += "\n----\n" + strings.TrimRight(said, "\n")
		}
		out = append(out, cmd)
		s.m = reopen(t, s.m)
	}
	got := strings.Join(out, "\n\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// reopen takes a machine through its snapshot.
func reopen(t testing.TB, m *Machine) *Machine {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.State().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	out, err := Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// line is a line of a script: a verb, words, and name=value pairs.
type line struct {
	verb  string
	words []string
	opts  map[string]string
}

func parseLine(text string) line {
	f := strings.Fields(text)
	l := line{verb: f[0], opts: map[string]string{}}
	for _, w := range f[1:] {
		if name, value, ok := strings.Cut(w, "="); ok {
			l.opts[name] = value
		} else {
			l.words = append(l.words, w)
		}
	}
	return l
}

func (l line) word(i int) string {
	if i < len(l.words) {
		return l.words[i]
	}
	return ""
}

func (l line) num(name string, def int) int {
	if l.opts[name] == "" {
		return def
	}
	n, err := strconv.Atoi(l.opts[name])
	if err != nil {
		panic(err)
	}
	return n
}

func (l line) list(name string) []string {
	return strings.FieldsFunc(l.opts[name], func(r rune) bool { return r == ',' })
}

// script is the state of a running script.
type script struct {
	t   *testing.T
	m   *Machine
	now fsm.Time
}

func (s *script) run(l line) string {
	st := s.m.State()
	switch l.verb {
	case "tick":
		d, err := time.ParseDuration(l.word(0))
		if err != nil {
			s.t.Fatal(err)
		}
		s.now += fsm.Time(d.Microseconds())
		return ""
	case "show":
		return show(st, l.word(0))
	case "upload": // the whole of a document in one chunk
		data := scriptDocument(l.word(0))
		return "upload " + l.word(0) + ": " + s.apply(&PutChunk{Hash: sha256.Sum256(data), Total: len(data), Data: data})
	case "targets": // changes are separated by "/"
		c := &SetTargets{}
		for part := range strings.SplitSeq(strings.Join(l.words, " "), "/") {
			c.Changes = append(c.Changes, s.change(strings.Fields(part)))
		}
		if keep := l.list("keep"); len(keep) > 0 { // PARTITION:NODE.INCARNATION,...
			return "targets: " + s.apply(s.giveBack(c.Changes, keep))
		}
		return "targets: " + s.apply(c)
	}
	if c := s.command(l); c != nil {
		return strings.TrimSpace(l.verb+" "+l.word(0)) + ": " + s.apply(c)
	}
	s.t.Fatalf("unknown verb %q", l.verb)
	return ""
}

func (s *script) apply(c Command) string {
	res, err := s.m.Apply(Encode(c))
	if err != nil {
		return "stops: " + err.Error() + "\n"
	}
	if err := s.m.State().check(); err != nil {
		s.t.Fatalf("after %T: %v", c, err)
	}
	return describe(res) + "\n"
}

// change reads "P@EPOCH n1 n2* n3?" and so on: * prefers, ? is a copy without a
// vote, ! renews.
func (s *script) change(f []string) TargetChange {
	p, epoch, _ := strings.Cut(f[0], "@")
	pn, _ := strconv.Atoi(p)
	en, _ := strconv.ParseUint(epoch, 10, 64)
	c := TargetChange{Partition: fsm.PartitionID(pn), Epoch: en}
	for _, w := range f[1:] {
		node := fsm.NodeID(strings.Trim(w, "-*?!"))
		if !strings.HasPrefix(w, "-") { // -n1! renews a node outside the target
			c.Target = append(c.Target, Wish{node, !strings.Contains(w, "?")})
		}
		if strings.Contains(w, "*") {
			c.Preferred = node
		}
		if strings.Contains(w, "!") {
			c.Renew = append(c.Renew, node)
		}
	}
	return c
}

// scriptDocument is the document a script calls by a name.
func scriptDocument(name string) []byte { return []byte("document " + name) }

func (s *script) token(l line) Token {
	k := Token{ID: l.word(0), Role: l.opts["role"], Hunt: fsm.HuntID(l.opts["hunt"])}
	if l.opts["secret"] != "none" {
		k.Hash = sha256.Sum256([]byte(l.word(0) + l.opts["secret"]))
	}
	if d, err := time.ParseDuration(l.opts["ttl"]); err == nil {
		k.Expires = s.now + fsm.Time(d.Microseconds())
	}
	if n := l.num("uses", -1); n >= 0 {
		k.Uses, k.Limited = uint32(n), true
	}
	return k
}

func scriptMember(l line) Member {
	id := l.word(0)
	m := Member{ID: fsm.NodeID(id), Name: "name-" + id, Address: id + ":7400", Level: uint32(l.num("level", 1)), Zone: l.opts["zone"]}
	if name, ok := l.opts["name"]; ok {
		m.Name = name
	}
	return m
}

// states reads "member N1 down|up N2...".
func (s *script) states(l line) Command {
	nodes := []fsm.NodeID{fsm.NodeID(l.word(0))}
	for _, w := range l.words[min(len(l.words), 2):] {
		nodes = append(nodes, fsm.NodeID(w))
	}
	if l.word(1) == "down" {
		return &NodeDown{Now: s.now, Nodes: nodes}
	}
	return &NodeUp{Now: s.now, Nodes: nodes}
}

// command reads the lines that are one command.
func (s *script) command(l line) Command {
	node, hunt := fsm.NodeID(l.word(0)), fsm.HuntID(l.word(0))
	switch l.verb {
	case "found":
		admin := s.token(parseLine("token first role=admin ttl=" + l.opts["admin"]))
		return &Found{
			Cluster: "c1", Now: s.now, Member: scriptMember(l), Partitions: l.num("partitions", 2),
			Settings: Settings{NodeTimeout: 5_000_000, ReassignAfter: 30_000_000}, CA: []byte("ca"), Secrets: []byte("sealed"),
			Tokens: []Token{admin, s.token(parseLine("token join role=join ttl=24h"))},
		}
	case "add":
		return &AddMember{Now: s.now, Member: scriptMember(l), Token: l.opts["token"]}
	case "remove":
		return &RemoveMember{Now: s.now, Node: node}
	case "renew":
		return &RenewMember{Now: s.now, Node: node}
	case "member":
		return s.states(l)
	case "duty":
		duties := map[string]Duty{"serving": Serving, "draining": Draining, "leaving": Leaving, "idle": 9}
		return &SetDuty{Now: s.now, Node: node, Duty: duties[l.word(1)]}
	case "recover":
		return s.recovery(l)
	case "refound": // PARTITION@EPOCH NODE, and so on
		return s.refounding(l)
	case "refounded":
		pn, _ := strconv.Atoi(l.word(0))
		return &Refounded{Partition: fsm.PartitionID(pn), Replica: s.replica(l.word(1))}
	case "resume":
		return &Resume{Now: s.now, Node: node, Skip: uint64(l.num("skip", 0))}
	case "founded":
		c := &MarkFounded{}
		for _, w := range l.words {
			n, _ := strconv.Atoi(w)
			c.Partitions = append(c.Partitions, fsm.PartitionID(n))
		}
		return c
	case "chunk":
		data := scriptDocument(l.word(0))
		off := l.num("off", 0)
		end := off + l.num("len", len(data)-off)
		body := append(bytes.Clone(data), make([]byte, 300)...)[min(max(off, 0), len(data)):end]
		if l.opts["bad"] != "" {
			body = bytes.Repeat([]byte("x"), len(body))
		}
		return &PutChunk{Hash: sha256.Sum256(data), Total: l.num("total", len(data)), Off: off, Data: body}
	case "create":
		return &CreateHunt{Now: s.now, Hunt: hunt, Hash: sha256.Sum256(scriptDocument(l.opts["doc"])), State: l.opts["state"]}
	case "put":
		return &PutHunt{Now: s.now, Hunt: hunt, IfVersion: uint64(l.num("if", 0)), Hash: sha256.Sum256(scriptDocument(l.opts["doc"]))}
	case "switch":
		return &SetHuntState{Now: s.now, Hunt: hunt, State: l.word(1), Reason: l.opts["reason"]}
	case "delete":
		return &DeleteHunt{Now: s.now, Hunt: hunt, Incarnation: fsm.Incarnation(l.num("inc", 0))}
	case "forget":
		n, _ := strconv.ParseUint(l.word(0), 10, 64)
		return &ForgetDeleted{Incarnation: fsm.Incarnation(n)}
	case "token":
		return &CreateToken{Now: s.now, Token: s.token(l)}
	case "revoke":
		return &RevokeToken{Now: s.now, ID: l.word(0)}
	case "register":
		return s.register(l, node)
	case "level":
		n, _ := strconv.Atoi(l.word(0))
		return &SetFeatureLevel{Level: uint32(n)}
	}
	return nil
}

// recovery reads PARTITION@EPOCH NODE.INCARNATION, and so on.
func (s *script) recovery(l line) *Recover {
	c := &Recover{}
	for i := 0; i+1 < len(l.words); i += 2 {
		p, epoch, _ := strings.Cut(l.word(i), "@")
		pn, _ := strconv.Atoi(p)
		en, _ := strconv.ParseUint(epoch, 10, 64)
		c.Partitions = append(c.Partitions, Recovery{fsm.PartitionID(pn), en, s.replica(l.word(i + 1))})
	}
	return c
}

func (s *script) replica(name string) fsm.Replica {
	r, err := fsm.ParseReplica(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *script) refounding(l line) *Refound {
	c := &Refound{}
	for i := 0; i+1 < len(l.words); i += 2 {
		p, epoch, _ := strings.Cut(l.word(i), "@")
		pn, _ := strconv.Atoi(p)
		en, _ := strconv.ParseUint(epoch, 10, 64)
		c.Partitions = append(c.Partitions, Refounding{fsm.PartitionID(pn), en, fsm.NodeID(l.word(i + 1))})
	}
	return c
}

func (s *script) giveBack(changes []TargetChange, keep []string) *GiveBack {
	c := &GiveBack{Changes: changes}
	for _, w := range keep {
		p, name, _ := strings.Cut(w, ":")
		pn, _ := strconv.Atoi(p)
		c.Keep = append(c.Keep, Kept{fsm.PartitionID(pn), s.replica(name)})
	}
	return c
}

func (s *script) register(l line, node fsm.NodeID) *RegisterSnapshots {
	c := &RegisterSnapshots{}
	for _, w := range l.list("at") {
		p, index, _ := strings.Cut(w, ":")
		pn, _ := strconv.Atoi(p)
		in, _ := strconv.ParseUint(index, 10, 64)
		c.Snapshots = append(c.Snapshots, Snapshot{
			Partition: fsm.PartitionID(pn), Replica: fsm.Replica{Node: node, Incarnation: 2}, Index: in, Term: 1, Size: 100, Taken: s.now,
		})
	}
	return c
}

// describe says what a result says.
func describe(r Result) string {
	var b strings.Builder
	switch {
	case r.Err != nil:
		fmt.Fprintf(&b, "%s: %s", r.Err.Kind, r.Err.Msg)
	case r.Changed:
		b.WriteString("ok")
	default:
		b.WriteString("ok, nothing changed")
	}
	if r.Err != nil && r.Changed {
		b.WriteString(" (and the state changed)")
	}
	if r.Incarnation != 0 {
		fmt.Fprintf(&b, " incarnation=%d", r.Incarnation)
	}
	if r.Created {
		b.WriteString(" created")
	}
	if r.Hunt != nil {
		b.WriteString(" " + describeHunt(*r.Hunt))
	}
	return b.String()
}

func describeHunt(h Hunt) string {
	s := fmt.Sprintf("%s life=%d version=%d %s", h.ID, h.Incarnation, h.Version, h.State)
	if h.Reason != "" {
		s += " because=" + h.Reason
	}
	return s
}
