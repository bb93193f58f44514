package controller

import (
	"slices"
	"unicode/utf8"

	"cairn/fsm"
)

var errNoTime = fsm.Errorf(fsm.Invalid, "the command carries no time")

// validName reports whether s may be the id of a node, a token or the cluster:
// 1..MaxName letters, digits, - and _, which a ULID is. A dot would end the
// node's id inside a replica's.
func validName(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// validText reports whether s is UTF-8 of at most limit bytes that does not
// break a line of a log or a terminal.
func validText(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// validHuntState reports whether s is a state of a hunt.
func validHuntState(s string) bool {
	return slices.Contains([]string{"draft", "open", "paused", "closed"}, s)
}

// validate checks what a member says of itself.
func (m *Member) validate() *fsm.Error {
	if !validName(string(m.ID)) {
		return fsm.Errorf(fsm.Invalid, "node id %.80q must be 1 to %d letters, digits, - or _", m.ID, MaxName)
	}
	if m.Name == "" || m.Address == "" {
		return fsm.Errorf(fsm.Invalid, "node %s must have a name and an address", m.ID)
	}
	for _, f := range []struct{ what, text string }{
		{"name", m.Name}, {"address", m.Address}, {"HTTP address", m.HTTP}, {"zone", m.Zone}, {"version", m.Version},
	} {
		if !validText(f.text, MaxAddress) {
			return fsm.Errorf(fsm.Invalid, "node %s: its %s must be text of at most %d bytes without control characters",
				m.ID, f.what, MaxAddress)
		}
	}
	return nil
}

// validate checks a token that is to be stored.
func (k *Token) validate() *fsm.Error {
	switch {
	case !validName(k.ID):
		return fsm.Errorf(fsm.Invalid, "token id %.80q must be 1 to %d letters, digits, - or _", k.ID, MaxName)
	case !slices.Contains([]string{"admin", "organizer", "join"}, k.Role):
		return fsm.Errorf(fsm.Invalid, "a token's role is admin, organizer or join, not %.80q", k.Role)
	case k.Hunt != "" && (k.Role != "organizer" || !fsm.ValidID(string(k.Hunt))):
		return fsm.Errorf(fsm.Invalid, "only an organizer's token is for one hunt, and %.80q must be a valid id", k.Hunt)
	case k.Hash == [32]byte{}:
		return fsm.Errorf(fsm.Invalid, "token %s has no hash", k.ID)
	case k.Limited != (k.Uses > 0) || k.Limited && k.Role != "join":
		return fsm.Errorf(fsm.Invalid, "only a join token may be limited, and then to at least one use")
	case k.Expires < 0:
		return fsm.Errorf(fsm.Invalid, "token %s expires before time began", k.ID)
	}
	return nil
}
