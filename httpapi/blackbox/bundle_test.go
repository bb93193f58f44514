package blackbox

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/httpapi/rest"
)

// TestBundle collects a bundle from a cluster of which one node is dead: it has
// what a report of a fault needs, says what is missing, and holds no secret, though
// the log that it takes does.
func TestBundle(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--debug", "127.0.0.1:0", "--partitions", "4")
	doc := []byte(`{"id":"attic","title":"Attic","clues":[{"id":"box","title":"Box","points":1,"answers":["xylophone-answer"]}]}`)
	if _, _, err := c.admin().CreateHunt(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	team, _, err := c.admin().CreateTeam(t.Context(), "attic", rest.NewTeam{ID: "owls", Name: "Nightowls-of-Name"}, "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.any(team.Token).Submit(t.Context(), "attic", "owls", rest.NewSubmission{Clue: "box", Answer: "quasar-guess", Player: "Player-Pelican"}, "key"); err != nil {
		t.Fatal(err)
	}
	c.Kill(2)
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("a founding tells\nadmin token "+c.AdminToken()+"\njoin token "+c.JoinToken()+"\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "bundle.tar.gz")
	args := []string{
		"debug", "bundle", "-o", "json", "--addr", c.URLs()[0], "--token", c.AdminToken(), "--to", to,
		"--debug", c.DebugURL(0), "--data", c.Data(0), "--log", log,
	}
	var said struct {
		Missing []struct{ Piece, Error string }
	}
	if err := json.Unmarshal([]byte(c.mustCLI(args...)), &said); err != nil {
		t.Fatal(err)
	}
	for _, m := range said.Missing {
		if !strings.HasPrefix(m.Piece, "nodes/n3-") {
			t.Errorf("missing: %s: %s", m.Piece, m.Error)
		}
	}
	if len(said.Missing) != 3 {
		t.Errorf("%d pieces are missing, want those three of the dead node", len(said.Missing))
	}
	if again := c.cli(args...); again.code == 0 {
		t.Error("a bundle was overwritten")
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info.Mode(), err)
	}
	checkBundle(t, unpack(t, to), c.AdminToken(), c.JoinToken(), team.Token)
	if _, _, body := c.get(0, "/debug/pprof/"); bytes.Contains(body, []byte("goroutine")) {
		t.Error("profiles are on the clients' port")
	}
}

// checkBundle looks for what must be in a bundle, and for what must not.
func checkBundle(t *testing.T, pieces map[string][]byte, tokens ...string) {
	t.Helper()
	secrets := append(tokens, "xylophone", "quasar", "Nightowls", "Pelican")
	for name, data := range pieces {
		for _, s := range secrets {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%s holds %q", name, s)
			}
		}
	}
	for name, has := range map[string]string{
		"cluster.json": `"table_version"`, "nodes.json": `"n3"`, "partitions.json": `"replicas"`, "snapshots.json": "{",
		"files.txt": "controller", "log.txt": "admin token cairn_HIDDEN\njoin token cairn_HIDDEN\nend",
		"debug/1/goroutines.txt": "goroutine ", "debug/1/heap.pprof": "", "debug/1/cpu.pprof": "", "manifest.json": `"missing"`,
	} {
		if data, ok := pieces["cairn-debug/"+name]; !ok || !bytes.Contains(data, []byte(has)) {
			t.Errorf("%s: there %v, want %q in %.200q", name, ok, has, data)
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(pieces)), func(name string) bool {
		return strings.HasPrefix(name, "cairn-debug/nodes/n1-") && strings.HasSuffix(name, "/metrics.txt") && bytes.Contains(pieces[name], []byte("cairn_build_info"))
	}) {
		t.Error("there are no metrics of n1")
	}
}

// unpack reads a .tar.gz.
func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
