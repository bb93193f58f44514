package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/cli")

// TestMain lets scripts run the real command line, as its own process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cairn": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			os.Exit(New(Config{
				Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
				Version: "v0.0.0-test", Serve: printConfig, Inherit: aloneOfThree,
			}).Run(ctx, os.Args[1:]))
		},
	})
}

// printConfig is a node that only shows what it was told.
func printConfig(_ context.Context, cfg ServeConfig) error {
	cfg.Stderr = nil
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(cfg)
}

// aloneOfThree is a copy whose other voters are silent.
func aloneOfThree(_ context.Context, data string, accept bool) (*ControllerCopy, error) {
	return &ControllerCopy{
		Cluster: "01C", Node: "01A", Index: 815, Term: 7, Members: 3, Partitions: 16, Hunts: 1, Begun: data == "begun", Aside: data == "aside", Done: accept,
		Voters: []ControllerVoter{
			{Node: "01A", Name: "n1", Address: "10.0.0.1:7400", State: "this one"},
			{Node: "01B", Name: "n2", Address: "10.0.0.2:7400", State: "silent"},
			{Node: "01C", Name: "n3", Address: "10.0.0.3:7400", State: "silent"},
		},
	}, nil
}

// TestScripts runs every script in testdata/cli. A script may hold a file
// "routes": a server then answers by it at $CAIRN_ADDR, and notes what it was
// asked in the file "requests". After a change run "go test ./httpapi/cli
// -update", read the diff, and commit it only if you can explain every line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "../../testdata/cli",
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup:              setUpScript,
		Cmds:               map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits is the script command "exits CODE PROGRAM ARG...": the program must end
// with just this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func setUpScript(env *testscript.Env) error {
	env.Setenv("NO_COLOR", "1")
	routes, err := os.ReadFile(filepath.Join(env.WorkDir, "routes"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s := &scriptServer{log: filepath.Join(env.WorkDir, "requests"), routes: parseRoutes(string(routes))}
	server := httptest.NewServer(s)
	env.Defer(server.Close)
	env.Setenv("CAIRN_ADDR", server.URL)
	return nil
}

// scriptServer answers requests by a list of routes.
type scriptServer struct {
	log string

	mu     sync.Mutex
	routes []route
}

// route is "METHOD URI STATUS [Header=value]" and the body on the lines below,
// up to an empty line. Routes for the same request are used one after the
// other; the last one stays.
type route struct {
	request string // METHOD URI
	status  int
	header  [2]string
	body    string
}

func parseRoutes(text string) []route {
	var out []route
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		head, body, _ := strings.Cut(block, "\n")
		f := strings.Fields(head)
		r := route{request: f[0] + " " + f[1], body: body}
		r.status, _ = strconv.Atoi(f[2])
		if len(f) > 3 {
			r.header[0], r.header[1], _ = strings.Cut(f[3], "=")
		}
		out = append(out, r)
	}
	return out
}

func (s *scriptServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt := s.take(r.Method + " " + r.URL.RequestURI())
	var body []byte
	if strings.HasSuffix(r.URL.Path, ":batch") {
		// A stream's body ends only after its answer: nobody may wait for it,
		// not even net/http before it sends a refusal.
		http.NewResponseController(w).EnableFullDuplex()
		if rt.status == http.StatusOK {
			s.note(r, answerLines(w, r, rt))
			return
		}
	} else {
		body, _ = io.ReadAll(r.Body)
	}
	s.note(r, body)
	if rt.status == 0 { // the script wants the connection to break
		panic(http.ErrAbortHandler)
	}
	if rt.header[0] != "" {
		w.Header().Set(rt.header[0], rt.header[1])
	}
	w.WriteHeader(rt.status)
	io.WriteString(w, rt.body)
}

// answerLines answers each line as it comes with the route's next line, as a
// node does, and returns what came.
func answerLines(w http.ResponseWriter, r *http.Request, rt route) []byte {
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	rc.Flush()
	var got []byte
	answers := strings.Split(rt.body, "\n")
	for in := bufio.NewScanner(r.Body); in.Scan() && len(answers) > 0; answers = answers[1:] {
		got = append(append(got, in.Bytes()...), '\n')
		io.WriteString(w, answers[0]+"\n")
		rc.Flush()
	}
	return got
}

// note appends the request to the log.
func (s *scriptServer) note(r *http.Request, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	defer out.Flush()
	fmt.Fprintln(out, r.Method, r.URL.RequestURI())
	for _, h := range []string{"Authorization", "If-Match", "Idempotency-Key"} {
		if v := r.Header.Get(h); v != "" {
			fmt.Fprintf(out, "%s: %s\n", h, v)
		}
	}
	if text := strings.TrimSpace(string(body)); text != "" {
		fmt.Fprintln(out, text)
	}
	fmt.Fprintln(out)
}

// take finds the route of a request.
func (s *scriptServer) take(request string) route {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, at := 0, -1
	for i, rt := range s.routes {
		if rt.request == request {
			if at < 0 {
				at = i
			}
			found++
		}
	}
	if at < 0 {
		return route{status: 404, body: `{"code":"not_found","status":404,"detail":"the script has no route for ` + request + `"}`}
	}
	rt := s.routes[at]
	if found > 1 {
		s.routes = append(s.routes[:at:at], s.routes[at+1:]...)
	}
	return rt
}
