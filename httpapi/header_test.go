package httpapi

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

func TestParseKey(t *testing.T) {
	for header, want := range map[string]string{
		"":                                  "",
		"abc":                               "abc",
		`"abc"`:                             "abc",
		`"a \"b\" \\c"`:                     `a "b" \c`,
		`a"b`:                               `a"b`,
		strings.Repeat("k", 64):             strings.Repeat("k", 64),
		`"` + strings.Repeat("k", 64) + `"`: strings.Repeat("k", 64),
	} {
		if got, err := parseKey(header); got != want || err != nil {
			t.Errorf("%s: got %q, %v", header, got, err)
		}
	}
	for _, header := range []string{`"`, `""`, `"abc`, `"abc"d`, `"a\b"`, `"a\`, "ä", "a\tb", strings.Repeat("k", 65)} {
		if got, err := parseKey(header); err == nil {
			t.Errorf("%s: taken as %q", header, got)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(`"a\"b"`)
	f.Fuzz(func(t *testing.T, header string) {
		key, err := parseKey(header)
		if err == nil && (len(key) > partition.MaxKey || !printable(key) || key == "" && header != "") {
			t.Errorf("%q: taken as %q", header, key)
		}
		// Every key can be sent quoted.
		if err == nil && key != "" {
			quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
			if again, err := parseKey(quoted); again != key || err != nil {
				t.Errorf("%q quoted came back as %q, %v", key, again, err)
			}
		}
	})
}

func info(version uint64, life fsm.Incarnation) *HuntInfo {
	return &cluster.HuntInfo{Hunt: controller.Hunt{ID: "maze", Version: version, Incarnation: life}}
}

func TestETag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, life := rapid.Uint64().Draw(t, "version"), rapid.Uint64().Draw(t, "life")
		tag := eTag(info(v, fsm.Incarnation(life)))
		if gv, gl, ok := parseETag(tag); gv != v || uint64(gl) != life || !ok {
			t.Fatalf("%s came back as %d, %d, %v", tag, gv, gl, ok)
		}
	})
	for _, tag := range []string{"", `"`, `"v`, `"v1"`, `"v1-"`, `"v-1"`, `"v1-1`, `v1-1`, `W/"v1-1"`, `"v1-1","v2-1"`, `"v-1-1"`} {
		if _, _, ok := parseETag(tag); ok {
			t.Errorf("%s is taken for a tag", tag)
		}
	}
	for header, want := range map[string]bool{
		`"v1-1"`: true, `W/"v1-1"`: true, `"x", "v1-1"`: true, `*`: true, ``: false, `"v1-2"`: false, `v1-1`: false,
	} {
		if got := notModified(header, `"v1-1"`); got != want {
			t.Errorf("If-None-Match: %s: %v", header, got)
		}
	}
}

func TestCursorRoundTrip(t *testing.T) {
	l := listing{route: "/r", hunt: HuntRef{ID: "maze", Incarnation: 3}, filter: "f"}
	rapid.Check(t, func(t *rapid.T) {
		place := partition.Place{Team: fsm.TeamID(rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,63}`).Draw(t, "team"))}
		for i := range place.Key {
			place.Key[i] = rapid.Int64().Draw(t, "key")
		}
		token := l.placeToken(place)
		if len(token) > maxCursor {
			t.Fatalf("a token of %d characters", len(token))
		}
		if got, err := l.placePosition(token); err != nil || *got != place {
			t.Fatalf("%+v came back as %+v, %v", place, got, err)
		}
		id := string(place.Team)
		if got, err := l.idPosition(l.idToken(id)); got != id || err != nil {
			t.Fatalf("%s came back as %s, %v", id, got, err)
		}
		n := rapid.Uint32Min(1).Draw(t, "number")
		if got, err := l.numberPosition(l.numberToken(n)); got != n || err != nil {
			t.Fatalf("%d came back as %d, %v", n, got, err)
		}
	})
}

// TestCursorIsBound: a token works for its own list alone, and not with a
// character changed.
func TestCursorIsBound(t *testing.T) {
	own := listing{route: "/r", hunt: HuntRef{ID: "maze", Incarnation: 3}, filter: "f"}
	token := own.placeToken(partition.Place{Key: partition.RankKey{-5, 7}, Team: "red"})
	for _, other := range []listing{
		{route: "/s", hunt: own.hunt, filter: "f"},
		{route: "/r", hunt: HuntRef{ID: "maze", Incarnation: 4}, filter: "f"},
		{route: "/r", hunt: HuntRef{ID: "lake", Incarnation: 3}, filter: "f"},
		{route: "/r", hunt: own.hunt, filter: ""},
	} {
		if _, err := other.placePosition(token); fsm.KindOf(err) != fsm.Invalid {
			t.Errorf("%+v took the token of %+v: %v", other, own, err)
		}
	}
	for i := range token {
		bad := []byte(token)
		bad[i] ^= 1
		if p, err := own.placePosition(string(bad)); err == nil && string(bad) != token && own.placeToken(*p) != string(bad) {
			t.Errorf("changed at %d, and taken as %+v", i, p)
		}
	}
}

func FuzzCursor(f *testing.F) {
	l := listing{route: "/r"}
	f.Add(l.placeToken(partition.Place{Team: "red"}))
	f.Add(l.numberToken(7))
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := l.placePosition(token); err == nil && p != nil && !fsm.ValidID(string(p.Team)) {
			t.Errorf("%q: a place of no team: %+v", token, p)
		}
		if n, err := l.numberPosition(token); err == nil && n == 0 && token != "" {
			t.Errorf("%q is number 0", token)
		}
		_, _ = l.idPosition(token)
	})
}

// TestMadeUpTeamID: a retry reaches the same team, and nobody else does.
func TestMadeUpTeamID(t *testing.T) {
	h := HuntRef{ID: "maze", Incarnation: 1}
	make := func(h HuntRef, by, key, name string) *partition.CreateTeam {
		cmd, err := newTeam(h, by, key, &rest.NewTeam{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	own := make(h, byPlayer, "1", "Red")
	if again := make(h, byPlayer, "1", "Red"); *again != *own {
		t.Errorf("a retry made %+v of %+v", again, own)
	}
	for _, other := range []*partition.CreateTeam{
		make(h, byPlayer, "1", "Blue"), make(h, byPlayer, "2", "Red"), make(h, byOrganizer, "1", "Red"),
		make(HuntRef{ID: "maze", Incarnation: 2}, byPlayer, "1", "Red"),
	} {
		if other.Team == own.Team {
			t.Errorf("%+v got the team of %+v", other, own)
		}
	}
	if !fsm.ValidID(string(own.Team)) || len(own.Key) > partition.MaxKey {
		t.Errorf("not fit for a command: %+v", own)
	}
}

// TestEveryKindHasAnAnswer: status and title for every kind; Retry-After where a
// retry helps; and what went wrong inside stays inside.
func TestEveryKindHasAnAnswer(t *testing.T) {
	for k := range fsm.Kinds {
		kind := fsm.Kind(k)
		p := problem(fsm.Errorf(kind, "the detail"))
		if p.Status < 400 || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %+v", kind, p)
		}
		if p.Status == 503 || p.Status == 429 {
			if p.RetryAfterMS == 0 {
				t.Errorf("%s does not say when to try again", kind)
			}
		}
		switch kind {
		case fsm.Stale, fsm.NotLeader:
			if p.Code != "unavailable" {
				t.Errorf("%s left the cluster as %s", kind, p.Code)
			}
		case fsm.Internal:
			if strings.Contains(p.Detail, "the detail") {
				t.Errorf("an internal detail is told: %s", p.Detail)
			}
		default:
			if p.Code != kind.String() || p.Detail != "the detail" {
				t.Errorf("%s: %+v", kind, p)
			}
		}
	}
}
