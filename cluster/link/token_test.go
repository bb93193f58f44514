package link

import (
	"strings"
	"testing"

	"cairn/fsm"
)

func TestJoinToken(t *testing.T) {
	print := must(NewAuthority(testCluster)).Fingerprint()
	token, err := NewJoinToken("join-1", print)
	if err != nil {
		t.Fatal(err)
	}
	if id, got, err := ParseJoinToken(token); id != "join-1" || got != print || err != nil {
		t.Errorf("got %q %q %v", id, got, err)
	}
	if other := must(NewJoinToken("join-1", print)); other == token || HashToken(other) == HashToken(token) {
		t.Error("two tokens are the same")
	}
	secret := token[strings.LastIndexByte(token, '.')+1:]
	if bits := len(secret) * 5; bits < 256 {
		t.Errorf("the secret has at most %d bits", bits)
	}
	for name, bad := range map[string]string{
		"empty":             "",
		"another prefix":    "cairn_t_" + token[len(joinPrefix):],
		"a character less":  token[:len(token)-1],
		"a character more":  token + "a",
		"a space":           token + " ",
		"upper case":        joinPrefix + "join-1." + print + "." + strings.ToUpper(secret),
		"two parts":         joinPrefix + "join-1." + print,
		"four parts":        token + "." + secret,
		"no id":             joinPrefix + "." + print + "." + secret,
		"a bad id":          joinPrefix + "Join." + print + "." + secret,
		"a bad fingerprint": joinPrefix + "join-1." + print[1:] + "." + secret,
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ParseJoinToken(bad)
			if fsm.KindOf(err) != fsm.Invalid {
				t.Fatalf("got %v, want Invalid", err)
			}
			if len(bad) > 60 && strings.Contains(err.Error(), secret[:20]) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
	for _, id := range []string{"", "a.b", "A"} {
		if _, err := NewJoinToken(id, print); err == nil {
			t.Errorf("a token with the id %q was made", id)
		}
	}
}

// FuzzParseJoinToken: whatever is accepted is what NewJoinToken could have made.
func FuzzParseJoinToken(f *testing.F) {
	print := must(NewAuthority(testCluster)).Fingerprint()
	f.Add(must(NewJoinToken("t", print)))
	f.Add("cairn_j_..")
	f.Fuzz(func(t *testing.T, s string) {
		id, print, err := ParseJoinToken(s)
		if err != nil {
			return
		}
		head := joinPrefix + id + "." + print + "."
		if !strings.HasPrefix(s, head) || !fsm.ValidID(id) || strings.Contains(s[len(head):], ".") {
			t.Errorf("%q was read as %q %q", s, id, print)
		}
	})
}
