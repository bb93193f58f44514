package controller

import (
	"fmt"
	"strings"
	"testing"
)

// TestNothingPrintsSecrets prints everything that holds a secret with every
// verb that goes through fields.
func TestNothingPrintsSecrets(t *testing.T) {
	secret := "mellon-mellon-mellon"
	token := Token{ID: "k1", Role: "admin", Hash: [32]byte([]byte(secret + secret)[:32])}
	c := randomFound(1)
	c.Secrets, c.Tokens = []byte(secret), []Token{token}
	m := New()
	if res := apply(t, m, c); res.Err != nil {
		t.Fatal(res.Err)
	}
	for name, v := range map[string]any{
		"*Found": c, "Found": *c, "[]Command": []Command{c},
		"Token": token, "*Token": &token, "[]Token": m.State().Tokens(),
		"*CreateToken": &CreateToken{1, token}, "CreateToken": CreateToken{1, token},
		"*State": m.State(), "State": *m.State(), "*Machine": m,
		"*PutChunk": &PutChunk{Data: []byte(secret)}, "PutChunk": PutChunk{Data: []byte(secret)},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%x", fmt.Sprintf("%q", secret)), "109 101 108", "0x6d, 0x65, 0x6c", "6d656c"} {
				if strings.Contains(out, leak) {
					t.Errorf("%s of %s shows a secret: %.200s", verb, name, out)
				}
			}
		}
	}
}
