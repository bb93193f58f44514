package blackbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// goodLines and goodLinesLong are how many good lines a bad one stands among.
const goodLines, goodLinesLong = 20_000, 1_000_000

// TestBadInput sends what must not be taken: each is answered with a problem that
// tells what is wrong, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	c := start(t, 1, "--partitions", "4")
	doc := quiz("bad", 3)
	_, tokens := c.open(doc, 2)
	admin := c.AdminToken()
	hunts, teams := "/v1/hunts", "/v1/hunts/bad/teams"
	mine, theirs := teams+"/t1", teams+"/t2"
	for _, r := range []struct {
		name, method, path, token, body string
		status                          int
		code, tells                     string
	}{
		{"unknown field of a hunt", "POST", hunts, admin, string(quiz("new", 1).with("colour", "red").json()), 400, "invalid", "colour"},
		{"unknown field of a team", "POST", teams, admin, `{"id":"new","name":"n","colour":"red"}`, 400, "invalid", "colour"},
		{"unknown field of a submission", "POST", mine + "/submissions", tokens["t1"], `{"clue":"c1","answer":"right","points":1000}`, 400, "invalid", "points"},
		{"unknown field of a token", "POST", "/v1/tokens", admin, `{"role":"admin","name":"x"}`, 400, "invalid", "name"},
		{"wrong type in a hunt", "POST", hunts, admin, `{"id":"new","clues":"many"}`, 400, "invalid", "clues"},
		{"wrong type in a team", "POST", teams, admin, `{"id":"new","name":7}`, 400, "invalid", "name"},
		{"wrong type in a submission", "POST", mine + "/submissions", tokens["t1"], `{"clue":["c1"],"answer":"right"}`, 400, "invalid", "clue"},
		{"not JSON", "POST", teams, admin, `name=new`, 400, "invalid", "JSON"},
		{"two objects", "POST", teams, admin, `{"id":"new","name":"n"}{"id":"newer","name":"n"}`, 400, "invalid", "JSON"},
		{"over-long name", "POST", teams, admin, fmt.Sprintf(`{"id":"new","name":%q}`, strings.Repeat("ä", 201)), 400, "invalid", "200"},
		{"control character in a name", "POST", teams, admin, `{"id":"new","name":"a\u0007b"}`, 400, "invalid", "name"},
		{"over-long title", "POST", hunts, admin, string(quiz("new", 1).with("title", strings.Repeat("x", 201)).json()), 400, "invalid", "title"},
		{"over-long answer", "POST", mine + "/submissions", tokens["t1"], fmt.Sprintf(`{"clue":"c1","answer":%q}`, strings.Repeat("x", 1001)), 400, "invalid", "answer"},
		{"2,001 clues", "POST", hunts, admin, string(quiz("new", 2001).json()), 400, "invalid", "2000"},
		{"cycle in unlocks", "POST", hunts, admin, cycle("new"), 400, "invalid", "waits for itself"},
		{"cycle in a new version", "PUT", hunts + "/bad", admin, cycle("bad"), 400, "invalid", "waits for itself"},
		{"token of another team reads", "GET", theirs, tokens["t1"], "", 403, "forbidden", "token"},
		{"token of another team submits", "POST", theirs + "/submissions", tokens["t1"], `{"clue":"c1","answer":"right"}`, 403, "forbidden", "token"},
		{"team's token organizes", "GET", hunts + "/bad/stats", tokens["t1"], "", 403, "forbidden", "token"},
		{"forged token", "GET", mine, forged(tokens["t1"]), "", 401, "unauthenticated", "token"},
		{"no token", "GET", mine, "", "", 401, "unauthenticated", "token"},
		{"body over 1 MiB", "POST", teams, admin, `{"id":"new","name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too_large", "1048576"},
	} {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			headers := []string{"If-Match", "*", "Idempotency-Key", "bad"}
			status, h, body := c.send(0, r.method, r.path, r.token, strings.NewReader(r.body), headers...)
			wantProblem(t, status, h, body, r.status, r.code, r.tells)
		})
	}
	t.Run("expired_token", func(t *testing.T) { expiredToken(t, c) })
	t.Run("body_cut_off", func(t *testing.T) { bodyCutOff(t, c) })
	nothingHalfDone(t, c, doc)
}

// cycle is a hunt whose second and third clue unlock each other.
func cycle(id fsm.HuntID) string {
	doc := quiz(id, 3)
	clues := doc["clues"].([]map[string]any)
	clues[1]["unlock"], clues[2]["unlock"] = "c3", map[string]any{"all": []string{"c1", "c2"}}
	return string(doc.json())
}

// wantProblem wants a problem+json whose words hold tells.
func wantProblem(t *testing.T, gotStatus int, h http.Header, body []byte, status int, code, tells string) {
	t.Helper()
	var p rest.Problem
	err := json.Unmarshal(body, &p)
	if err != nil || gotStatus != status || h.Get("Content-Type") != "application/problem+json" || p.Status != status || p.Code != code {
		t.Errorf("%d %s %.1000s (%v), want %d %s", gotStatus, h.Get("Content-Type"), body, err, status, code)
	}
	if !strings.Contains(p.Detail+show(p.Errors), tells) {
		t.Errorf("%.1000s does not tell of %q", body, tells)
	}
}

// nothingHalfDone looks for traces of what was refused.
func nothingHalfDone(t *testing.T, c *cluster, doc document) {
	t.Helper()
	if _, _, err := c.admin().Hunt(t.Context(), "new"); fsm.KindOf(err) != fsm.NotFound {
		t.Errorf("a hunt that was refused: %v", err)
	}
	h, _, err := c.admin().Hunt(t.Context(), doc.id())
	if err != nil || h.Version != 1 {
		t.Errorf("the hunt is %s (%v), want version 1", show(h), err)
	}
	s, err := c.admin().Stats(t.Context(), doc.id(), client.Strong)
	if err != nil || s.Teams != 2 || s.Submissions["correct"]+s.Submissions["incorrect"] != 0 {
		t.Errorf("the hunt has %s (%v), want 2 teams and no submissions", show(s), err)
	}
	tokens, err := c.admin().Tokens(t.Context(), client.Page{})
	if err != nil || len(tokens.Tokens) != 3 { // two of the founding, and the one that expired
		t.Errorf("the cluster has the tokens %s (%v), want 3", show(tokens), err)
	}
}

// forged changes a character in the middle of a token, which every bit counts of.
func forged(token string) string {
	at, other := len(token)-8, "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

// expiredToken makes a token that expires soon, and uses it until it does.
func expiredToken(t *testing.T, c *cluster) {
	const ttl = 2 * time.Second
	made, err := c.admin().CreateToken(t.Context(), rest.NewToken{Role: "organizer", TTL: ttl.String()})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := c.send(0, "GET", "/v1/whoami", made.Secret, nil); status != 200 {
		t.Fatalf("a fresh token: %d %s", status, body)
	}
	eventually(t, 10*ttl, "the token expires", func() error {
		status, h, body := c.send(0, "GET", "/v1/whoami", made.Secret, nil)
		if status == http.StatusOK {
			if time.Now().After(made.ExpiresAt.Std().Add(time.Second)) {
				t.Errorf("the token works after %v", made.ExpiresAt)
			}
			return fmt.Errorf("it works")
		}
		wantProblem(t, status, h, body, 401, "unauthenticated", "expired")
		return nil
	})
}

// bodyCutOff announces one byte more than it sends, and listens for the answer:
// what came would be good by itself.
func bodyCutOff(t *testing.T, c *cluster) {
	whole := map[string]string{
		"/v1/hunts":                          string(quiz("new", 1).json()),
		"/v1/hunts/bad/teams":                `{"id":"new","name":"new"}`,
		"/v1/hunts/bad/teams/t1/submissions": `{"clue":"c1","answer":"right"}`,
	}
	for path, body := range whole {
		resp := sendPart(t, c, path, fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)+1, body))
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		wantProblem(t, resp.StatusCode, resp.Header, answer, 400, "invalid", "cut off")
	}
}

// sendPart sends a request that ends too early, by a connection of its own, and
// returns the answer.
func sendPart(t *testing.T, c *cluster, path, rest string) *http.Response {
	t.Helper()
	host := strings.TrimPrefix(c.URLs()[0], "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(electWithin)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s", path, host, c.AdminToken(), rest)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return resp
}

// TestBadLines puts lines that cannot be judged among very many good ones, and
// breaks a stream off in the middle of one.
func TestBadLines(t *testing.T) {
	c := start(t, 3, "--partitions", "4")
	doc := quiz("lines", 1)
	c.open(doc, 200)
	n := form(goodLines, goodLinesLong)
	bad := n / 2
	body, w := io.Pipe()
	go func() {
		out := bufio.NewWriter(w)
		for i := range n {
			if i == bad {
				out.WriteString("{\"key\":\"broken\n")
			}
			fmt.Fprintf(out, "{\"key\":\"k%d\",\"team\":\"t%d\",\"clue\":\"c1\",\"answer\":\"guess %d\"}\n", i, i%200+1, i)
		}
		w.CloseWithError(out.Flush())
	}()
	judged := n - streamed(t, c, doc.id(), body, n+1, bad)
	c.wantCounts(doc.id(), judged)

	cutOffStream(t, c)
	c.wantCounts(doc.id(), judged+cutLines)
}

// cutLines is how many lines a stream has before the one in which it breaks off.
const cutLines = 10

// cutOffStream breaks a stream off in the middle of a line: the whole ones count,
// and the answer's last line tells of the other.
func cutOffStream(t *testing.T, c *cluster) {
	t.Helper()
	var cut bytes.Buffer
	for i := range cutLines {
		fmt.Fprintf(&cut, "{\"key\":\"cut%d\",\"team\":\"t1\",\"clue\":\"c1\",\"answer\":\"cut %d\"}\n", i, i)
	}
	cut.WriteString(`{"key":"half","team":"t1","clue":"c1","ans`)
	resp := sendPart(t, c, "/v1/hunts/lines/submissions:batch", fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", cut.Len(), &cut))
	defer resp.Body.Close()
	answers, err := io.ReadAll(resp.Body)
	lines := strings.Split(strings.TrimSpace(string(answers)), "\n")
	if err != nil || len(lines) != cutLines+1 || strings.Count(string(answers), `"verdict":"incorrect"`) != cutLines || !strings.Contains(lines[cutLines], "broke off") {
		t.Errorf("a stream cut off in line %d is answered (%v):\n%s", cutLines+1, err, answers)
	}
}

// streamed sends a body to submissions:batch and reads an answer to every line:
// the bad one is invalid, and every other has its result, or was refused because
// the node had too much to do. It returns how many were.
func streamed(t *testing.T, c *cluster, hunt fsm.HuntID, body io.Reader, lines, bad int) (refused int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URLs()[0]+"/v1/hunts/"+string(hunt)+"/submissions:batch", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.AdminToken())
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n := 0
	for s := bufio.NewScanner(resp.Body); s.Scan(); n++ {
		var r rest.BatchResult
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("answer %d is %s: %v", n, s.Bytes(), err)
		}
		key := n
		if n > bad {
			key--
		}
		switch {
		case n == bad:
			if r.Error == nil || r.Error.Code != "invalid" {
				t.Errorf("the line that is not JSON is answered %s", s.Bytes())
			}
		case r.LineKey != fmt.Sprintf("k%d", key):
			t.Fatalf("answer %d is %s: not that line's", n, s.Bytes())
		case r.Error != nil && r.Error.Code == "overloaded":
			refused++
		case r.Error != nil || r.Verdict != "incorrect":
			t.Fatalf("a good line is answered %s", s.Bytes())
		}
	}
	if n != lines || refused > lines/2 {
		t.Errorf("%d lines have %d answers, %d of them refusals", lines, n, refused)
	}
	return refused
}

// TestRequestAfterStream sends a request on a connection that has carried a
// stream: whatever ends a stream must not reach what comes after it.
func TestRequestAfterStream(t *testing.T) {
	const times = 300
	c := start(t, 1, "--partitions", "1")
	doc := quiz("stream", 1)
	c.open(doc, 1)
	one := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer one.CloseIdleConnections()
	cl := &client.Client{Addrs: c.URLs(), Token: c.AdminToken(), HTTP: one, Attempts: 1}
	line := slices.Values([]rest.BatchLine{{Key: "key", Team: "t1", Clue: "c1", Answer: right}})
	failed := 0
	for range times {
		if err := cl.SubmitBatch(t.Context(), doc.id(), line, func(rest.BatchResult) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Team(t.Context(), doc.id(), "t1", false, client.Default); err != nil {
			t.Log(err)
			failed++
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d requests failed after a stream on their connection", failed, times)
	}
}
