//go:build linux

package blackbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// scrapeEvery is how often the tests' Prometheus asks the nodes and evaluates
	// the rules.
	scrapeEvery = "1s"
	// scrapedWithin bounds how long it takes until Prometheus has seen something.
	scrapedWithin = time.Minute
)

// need finds a program of another package and skips the test, loudly, where it
// is not installed.
func need(t *testing.T, program string) string {
	t.Helper()
	skipShort(t)
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("NO REAL PROMETHEUS: it needs %s of the package prometheus (make deps): %v", program, err)
	}
	return path
}

// prom is a real Prometheus that scrapes a cluster.
type prom struct {
	t    *testing.T
	url  string
	http *http.Client
}

// scrape starts a Prometheus that scrapes every node of c and evaluates the
// rules in dir, and ends it with the test.
func scrape(c *cluster, dir string) *prom {
	t := c.t
	t.Helper()
	program := need(t, "prometheus")
	var targets []string
	for _, u := range c.URLs() {
		targets = append(targets, strconv.Quote(strings.TrimPrefix(u, "http://")))
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: " + scrapeEvery + ", evaluation_interval: " + scrapeEvery + "}\n" +
		"rule_files: [cairn-rules.yml]\n" +
		"scrape_configs:\n  - job_name: cairn\n    static_configs: [{targets: [" + strings.Join(targets, ", ") + "]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// It takes a port and does not tell which: another process may be faster.
	for range 5 {
		if p := c.scrapeAt(program, config, freePort(t)); p != nil {
			return p
		}
	}
	t.Fatal("no port for Prometheus is free for long enough")
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// scrapeAt is scrape at an address; nil if that is taken.
func (c *cluster) scrapeAt(program, config, addr string) *prom {
	t := c.t
	t.Helper()
	var log bytes.Buffer // read once the process has ended
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = &log, &log
	// It dies with this process, however that ends: the kernel sends the signal
	// when the thread that made it ends, so this one stays as long.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	end := func() {
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(startWithin, func() { cmd.Process.Kill() })
		<-done
		timer.Stop()
		if t.Failed() {
			t.Logf("the log of Prometheus ends:\n%s", log.Bytes()[max(0, log.Len()-logTail):])
		}
	}
	p := &prom{t: t, url: "http://" + addr, http: c.http}
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); {
		select {
		case <-done:
			if strings.Contains(log.String(), "address already in use") {
				return nil
			}
			t.Fatalf("Prometheus ended at once:\n%s", log.String())
		case <-time.After(pollEvery):
		}
		if resp, err := c.http.Get(p.url + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Cleanup(end)
				return p
			}
		}
	}
	end()
	t.Fatalf("Prometheus is not ready within %v:\n%s", startWithin, log.String())
	return nil
}

// get asks its API, and decodes the data of the answer.
func (p *prom) get(path string, query url.Values, data any) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), startWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("%s: %w: %.200s", path, err, raw)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// series is one result of a query: its labels and, as text, its value.
type series struct {
	Metric map[string]string
	Value  [2]any
}

func (s series) value() string { return s.Value[1].(string) }

// query evaluates an expression now.
func (p *prom) query(expr string) ([]series, error) {
	var out struct{ Result []series }
	err := p.get("query", url.Values{"query": {expr}}, &out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	return out.Result, nil
}

// is says what a query has for its only value, if that is not want.
func (p *prom) is(expr, want string) error {
	got, err := p.query(expr)
	if err != nil {
		return err
	}
	if len(got) != 1 || got[0].value() != want {
		return fmt.Errorf("%s is %s, want %s", expr, show(got), want)
	}
	return nil
}

// alerts are those that are pending or firing: by name their states.
func (p *prom) alerts() (map[string]string, error) {
	var out struct {
		Alerts []struct {
			Labels, Annotations map[string]string
			State               string
		}
	}
	if err := p.get("alerts", nil, &out); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, a := range out.Alerts {
		states[a.Labels["alertname"]] = a.State
		for _, text := range a.Annotations {
			if strings.Contains(text, "<error") || strings.Contains(text, "<no value>") {
				p.t.Errorf("%s says %q", a.Labels["alertname"], text)
			}
		}
	}
	return states, nil
}

// busy are the alerts that a busy machine may cause: it makes tests slower, not
// wrong. What they look at stays for minutes.
var busy = []string{"CairnSubmissionsSlow", "CairnDiskSlow", "CairnClockOff", "CairnLeadersUnstable"}

// quiet says which alerts are pending or firing but those that may.
func (p *prom) quiet(may ...string) error {
	may = append(may, busy...)
	states, err := p.alerts()
	if err != nil {
		return err
	}
	maps.DeleteFunc(states, func(name, _ string) bool { return slices.Contains(may, name) })
	if len(states) > 0 {
		return fmt.Errorf("alerts: %v", states)
	}
	return nil
}
