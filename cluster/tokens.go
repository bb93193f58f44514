package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/wire"
)

// Tokens by prefix. Admin, organizer and join tokens are random and known to the
// controller by their SHA-256; a team's token is signed, so any node verifies it
// without asking, and only its generation is the partition's to check.
const (
	teamPrefix = "cairn_t_"
	joinPrefix = "cairn_j_"
	tokenBytes = 32
)

var rolePrefix = map[string]string{"admin": "cairn_a_", "organizer": "cairn_o_"}

// newToken makes an admin or organizer token. ttl 0 means that it never expires.
func newToken(role string, hunt fsm.HuntID, at time.Time, ttl time.Duration, uses uint32) (controller.Token, string) {
	secret := make([]byte, tokenBytes)
	rand.Read(secret)
	text := rolePrefix[role] + base64.RawURLEncoding.EncodeToString(secret)
	return stored(newID(), text, role, hunt, at, ttl, uses), text
}

// newJoinToken makes a join token, which carries the CA's fingerprint.
func (n *Node) newJoinToken(at time.Time, ttl time.Duration, uses uint32) (controller.Token, string, error) {
	fingerprint, err := link.Fingerprint(n.id.CA)
	if err != nil {
		return controller.Token{}, "", err
	}
	id := newID()
	text, err := link.NewJoinToken(id, fingerprint)
	if err != nil {
		return controller.Token{}, "", err
	}
	return stored(id, text, "join", "", at, ttl, uses), text, nil
}

func stored(id, text, role string, hunt fsm.HuntID, at time.Time, ttl time.Duration, uses uint32) controller.Token {
	t := controller.Token{
		ID: id, Role: role, Hunt: hunt, Hash: link.HashToken(text), Created: fsm.TimeOf(at), Uses: uses, Limited: uses > 0,
	}
	if ttl > 0 {
		t.Expires = fsm.TimeOf(at.Add(ttl))
	}
	return t
}

// CreateToken makes and stores a token; the text is told this once. A join
// token without a ttl lives a day.
func (n *Node) CreateToken(ctx context.Context, role string, hunt fsm.HuntID, ttl time.Duration, uses uint32) (controller.Token, string, error) {
	var t controller.Token
	var text string
	var err error
	switch {
	case role == "join":
		if hunt != "" {
			return t, "", fsm.Errorf(fsm.Invalid, "a join token is not for a hunt")
		}
		t, text, err = n.newJoinToken(n.conf.Now(), orDefault(ttl, joinTTL), uses)
	case rolePrefix[role] == "":
		return t, "", fsm.Errorf(fsm.Invalid, "role %q is not one of admin, organizer, join", role)
	case hunt != "" && role != "organizer":
		return t, "", fsm.Errorf(fsm.Invalid, "only an organizer's token can be for one hunt")
	case uses != 0:
		return t, "", fsm.Errorf(fsm.Invalid, "only a join token counts its uses")
	default:
		t, text = newToken(role, hunt, n.conf.Now(), ttl, 0)
	}
	if err != nil {
		return t, "", err
	}
	if hunt != "" {
		if _, err := n.hunt(ctx, hunt, 0); err != nil {
			return t, "", err
		}
	}
	if _, err := n.control.propose(ctx, &controller.CreateToken{Now: n.now(), Token: t}); err != nil {
		// A first try whose answer was lost may have stored it.
		if have, ok := n.control.state().Token(t.ID); !ok || have.Hash != t.Hash {
			return t, "", err
		}
	}
	return t, text, nil
}

// tokenLease is how old a node's copy of the tokens may be and still open doors.
// A revocation is answered when every member has applied it, or when that long
// has passed: whoever has not applied it by then no longer trusts its copy.
const tokenLease = 5 * time.Second

// RevokeToken removes a token. Once it returns nil, nobody honours the token.
func (n *Node) RevokeToken(ctx context.Context, id string) error {
	if err := n.control.catchUp(ctx); err != nil {
		return err
	}
	_, had := n.control.state().Token(id)
	// NotFound of a token that was there is a retry whose first answer was lost.
	if _, err := n.control.propose(ctx, &controller.RevokeToken{Now: n.now(), ID: id}); err != nil && !(had && fsm.KindOf(err) == fsm.NotFound) {
		return err
	}
	committed := time.Now()
	var w wire.Writer
	n.control.here(n.control.group.Applied()).append(&w)
	ctx, cancel := context.WithTimeout(ctx, tokenLease)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range n.control.state().Members() {
		if m.State == controller.Left || m.ID == n.id.Node {
			continue
		}
		all.Go(func() {
			for attempt := 0; ; attempt++ {
				if _, err := n.link.Call(ctx, m.ID, kindApplied, controllerGroup, w.B); err == nil || !pause(ctx, attempt) {
					return
				}
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil && time.Since(committed) < tokenLease {
		return fsm.Errorf(fsm.OutcomeUnknown, "the token is revoked, but not every member could confirm it in time; it stops working everywhere within %v", tokenLease)
	}
	return nil
}

// serveApplied returns once this node has applied the controller's log up to a
// place that another member has.
func (n *Node) serveApplied(ctx context.Context, body []byte) ([]byte, error) {
	r := wire.NewReader(body)
	at := readPosition(r)
	if err := r.Done(); err != nil {
		return nil, err
	}
	if err := n.control.group.Wait(ctx, at.index); err != nil {
		return nil, err
	}
	if err := n.control.sameHistory(at); err != nil {
		return nil, fsm.Errorf(fsm.Unavailable, "this node's copy of the controller is of another history than %s", at.by)
	}
	return nil, nil
}

// ListTokens lists the stored tokens, as of now.
func (n *Node) ListTokens(ctx context.Context) ([]controller.Token, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return nil, err
	}
	return n.control.state().Tokens(), nil
}

// token finds a presented token, asking the controller before it says no, and
// before it says yes from a copy that is too old.
func (n *Node) token(ctx context.Context, presented string) (controller.Token, error) {
	hash := link.HashToken(presented)
	age, bounded := n.control.group.Staleness(maxClockSkew)
	for synced := false; ; synced = true {
		t, ok := n.control.state().TokenByHash(hash)
		if ok && (synced || bounded && age < tokenLease) {
			return t, nil
		}
		if synced && !ok {
			return controller.Token{}, fsm.Errorf(fsm.Unauthenticated, "the token is not valid: it was revoked, or is of another cluster")
		}
		if err := n.control.catchUp(ctx); err != nil {
			return controller.Token{}, err
		}
	}
}

// Authenticate resolves a bearer token.
func (n *Node) Authenticate(ctx context.Context, presented string) (*Principal, error) {
	if strings.HasPrefix(presented, teamPrefix) {
		return n.authenticateTeam(ctx, presented)
	}
	known := false
	for _, prefix := range rolePrefix {
		known = known || strings.HasPrefix(presented, prefix)
	}
	if !known {
		return nil, fsm.Errorf(fsm.Unauthenticated, "this is not a token of Cairn's: they begin with cairn_")
	}
	t, err := n.token(ctx, presented)
	if err != nil {
		return nil, err
	}
	if t.Expires != 0 && t.Expires <= n.now() {
		return nil, fsm.Errorf(fsm.Unauthenticated, "the token expired at %s", t.Expires)
	}
	p := &Principal{Role: t.Role, Expires: t.Expires}
	if t.Hunt != "" {
		c, err := n.hunt(ctx, t.Hunt, 0)
		if err != nil {
			return nil, fsm.Errorf(fsm.Unauthenticated, "the token is for hunt %s, which does not exist any more", t.Hunt)
		}
		p.Hunt = HuntRef{t.Hunt, c.entry.Incarnation}
	}
	return p, nil
}

// A team's token is teamPrefix and base64url of
//
//	u8       key id
//	uvarint  hunt incarnation
//	uvarint  generation
//	string   team
//	16 bytes HMAC-SHA-256 of all before, with the cluster's team key, cut
const macBytes = 16

// TeamToken makes the token of a team's generation: always the same one.
func (n *Node) TeamToken(h HuntRef, team fsm.TeamID, generation uint32) (string, error) {
	keys, err := n.secrets(context.Background()) // opened before a hunt was known here
	if err != nil {
		return "", err
	}
	kid := len(keys.TeamKeys) - 1
	var w wire.Writer
	w.U8(uint8(kid))
	w.Uvarint(uint64(h.Incarnation))
	w.Uvarint(uint64(generation))
	w.String(string(team))
	w.Raw(mac(keys.TeamKeys[kid], w.B))
	return teamPrefix + base64.RawURLEncoding.EncodeToString(w.B), nil
}

func mac(key [32]byte, message []byte) []byte {
	m := hmac.New(sha256.New, key[:])
	m.Write(message)
	return m.Sum(nil)[:macBytes]
}

var errForged = fsm.Errorf(fsm.Unauthenticated, "the team token is not valid; ask the organiser for a new one")

func (n *Node) authenticateTeam(ctx context.Context, presented string) (*Principal, error) {
	keys, err := n.secrets(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(presented, teamPrefix))
	if err != nil || len(raw) < macBytes {
		return nil, errForged
	}
	signed, sum := raw[:len(raw)-macBytes], raw[len(raw)-macBytes:]
	r := wire.NewReader(signed)
	kid, inc, generation, team := int(r.U8()), fsm.Incarnation(r.Uvarint()), r.Int(1<<31), r.String(fsm.MaxID)
	if r.Done() != nil || kid >= len(keys.TeamKeys) || subtle.ConstantTimeCompare(sum, mac(keys.TeamKeys[kid], signed)) != 1 {
		return nil, errForged
	}
	for synced := false; ; synced = true {
		if h, ok := n.control.state().HuntByIncarnation(inc); ok {
			return &Principal{
				Role: "team", Hunt: HuntRef{h.ID, inc}, Team: fsm.TeamID(team), Generation: uint32(generation),
			}, nil
		}
		if synced {
			return nil, fsm.Errorf(fsm.Unauthenticated, "the token's hunt does not exist any more")
		}
		if err := n.control.catchUp(ctx); err != nil {
			return nil, err
		}
	}
}

// newID makes the id of a token: a ULID in lower case, as the API writes ids.
func newID() string { return strings.ToLower(ulid.Make().String()) }
