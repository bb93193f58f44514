package link

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"cairn/fsm"
)

// A join token is cairn_j_<id>.<fingerprint>.<secret>: the id under which the
// controller knows it, the fingerprint of the cluster's CA (so that the joiner
// knows whom it talks to before it sends anything), and 256 random bits.
const (
	joinPrefix  = "cairn_j_"
	secretBytes = 32
)

// NewJoinToken makes a join token with a fresh secret. The id is an id of the
// API without '.', the fingerprint one that [Fingerprint] made; otherwise
// Invalid. The cluster keeps only [HashToken] of it.
func NewJoinToken(id, fingerprint string) (string, error) {
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails
	token := joinPrefix + id + "." + fingerprint + "." + text.EncodeToString(secret)
	if _, _, err := ParseJoinToken(token); err != nil {
		return "", err
	}
	return token, nil
}

// ParseJoinToken splits a join token. Its error is Invalid and never contains
// any of the token, which may be a real one with a character missing.
func ParseJoinToken(token string) (id, fingerprint string, err error) {
	rest, ok := strings.CutPrefix(token, joinPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return "", "", fsm.Errorf(fsm.Invalid, "a join token looks like %s<id>.<fingerprint>.<secret>: copy it whole", joinPrefix)
	}
	id, fingerprint = parts[0], parts[1]
	if !fsm.ValidID(id) || !isText(fingerprint, fingerprintBytes) || !isText(parts[2], secretBytes) {
		return "", "", fsm.Errorf(fsm.Invalid, "a part of the join token is damaged or missing: copy it whole")
	}
	return id, fingerprint, nil
}

// HashToken returns what the cluster stores and looks up in place of a token:
// the SHA-256 of the whole string. A slow hash would add nothing to a secret of
// 256 random bits.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// isText reports whether s is the one encoding of n bytes.
func isText(s string, n int) bool {
	b, err := text.DecodeString(s)
	return err == nil && len(b) == n && text.EncodeToString(b) == s
}
