package controller

import "cairn/fsm"

func (t *tx) createToken(c *CreateToken) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	k := c.Token
	if err := k.validate(); err != nil {
		return rejected(err)
	}
	if old := t.tokens.get(k.ID); old != nil {
		if old.Hash == k.Hash {
			return Result{}
		}
		return reject(fsm.Conflict, "token id %s is in use: choose another", k.ID)
	}
	if t.byHash.get(string(k.Hash[:])) != nil {
		return reject(fsm.Conflict, "another token has the same secret: make a new one")
	}
	if t.tokens.len() >= MaxTokens {
		return reject(fsm.TooLarge, "the cluster has %d tokens, the most it can: revoke one first", MaxTokens)
	}
	k.Created = c.Now
	t.putToken(&k)
	return Result{Changed: true}
}

func (t *tx) revokeToken(c *RevokeToken) Result {
	old := t.tokens.get(c.ID)
	if old == nil {
		return reject(fsm.NotFound, "there is no token %.80q", c.ID)
	}
	if old.keepsAdmin() && !t.otherAdmin(old.ID) {
		return reject(fsm.Conflict, "this is the last admin token that does not expire: create another before you revoke it")
	}
	t.dropToken(old)
	return Result{Changed: true}
}

func (t *tx) dropToken(k *Token) {
	t.tokens = t.tokens.without(k.ID)
	t.byHash = t.byHash.without(string(k.Hash[:]))
}

// dropTokens drops the organizers' tokens of one hunt.
func (t *tx) dropTokens(h fsm.HuntID) {
	for _, k := range t.tokens.values() {
		if k.Hunt == h {
			t.dropToken(&k)
		}
	}
}

// keepsAdmin reports whether the token lets somebody in for ever.
func (k *Token) keepsAdmin() bool { return k.Role == "admin" && k.Expires == 0 }

func (t *tx) otherAdmin(id string) bool {
	for other, k := range t.tokens.all() {
		if other != id && k.keepsAdmin() {
			return true
		}
	}
	return false
}

func (t *tx) putToken(k *Token) {
	t.tokens = t.tokens.with(k.ID, k)
	t.byHash = t.byHash.with(string(k.Hash[:]), k)
}
