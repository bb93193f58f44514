package controller

import (
	"fmt"

	"cairn/fsm/wire"
)

// entryVersion is the first byte of every entry.
const entryVersion = 1

// kind is the second byte of every entry. Values are stored: append only.
type kind uint8

const (
	kindFound kind = iota + 1
	kindAddMember
	kindRemoveMember
	kindRenewMember
	kindNodeDown
	kindSetTargets
	kindMarkFounded
	kindPutChunk
	kindCreateHunt
	kindPutHunt
	kindSetHuntState
	kindDeleteHunt
	kindForgetDeleted
	kindCreateToken
	kindRevokeToken
	kindRegisterSnapshots
	kindSetFeatureLevel
	kindNodeUp
	kindSetDuty
	kindRecover
	kindResume
	kindRefound
	kindRefounded
	kindGiveBack
	kindEnd
)

// blank makes an empty command of each kind.
var blank = [kindEnd]func() Command{
	kindFound:             func() Command { return new(Found) },
	kindAddMember:         func() Command { return new(AddMember) },
	kindRemoveMember:      func() Command { return new(RemoveMember) },
	kindRenewMember:       func() Command { return new(RenewMember) },
	kindNodeDown:          func() Command { return new(NodeDown) },
	kindSetTargets:        func() Command { return new(SetTargets) },
	kindMarkFounded:       func() Command { return new(MarkFounded) },
	kindPutChunk:          func() Command { return new(PutChunk) },
	kindCreateHunt:        func() Command { return new(CreateHunt) },
	kindPutHunt:           func() Command { return new(PutHunt) },
	kindSetHuntState:      func() Command { return new(SetHuntState) },
	kindDeleteHunt:        func() Command { return new(DeleteHunt) },
	kindForgetDeleted:     func() Command { return new(ForgetDeleted) },
	kindCreateToken:       func() Command { return new(CreateToken) },
	kindRevokeToken:       func() Command { return new(RevokeToken) },
	kindRegisterSnapshots: func() Command { return new(RegisterSnapshots) },
	kindSetFeatureLevel:   func() Command { return new(SetFeatureLevel) },
	kindNodeUp:            func() Command { return new(NodeUp) },
	kindSetDuty:           func() Command { return new(SetDuty) },
	kindRecover:           func() Command { return new(Recover) },
	kindResume:            func() Command { return new(Resume) },
	kindRefound:           func() Command { return new(Refound) },
	kindRefounded:         func() Command { return new(Refounded) },
	kindGiveBack:          func() Command { return new(GiveBack) },
}

// Encode returns the log entry of a command: a version byte, a kind byte and
// the fields in the order below. Whoever proposes it should refuse more than
// MaxEntry bytes first; Apply refuses them too.
func Encode(c Command) []byte {
	w := &wire.Writer{B: []byte{entryVersion, uint8(c.kind())}}
	c.fields(&codec{w: w})
	return w.B
}

// Decode is the inverse of Encode and accepts nothing else. The byte slices of
// the command alias entry. An error means that this build is older than the
// entry, or that the entry is damaged.
func Decode(entry []byte) (Command, error) {
	if len(entry) > MaxEntry {
		return nil, fmt.Errorf("decode controller entry: %w: %d bytes, over the limit of %d", wire.ErrMalformed, len(entry), MaxEntry)
	}
	r := wire.NewReader(entry)
	version, k := r.U8(), kind(r.U8())
	if r.Err() == nil && (version != entryVersion || k == 0 || k >= kindEnd) {
		r.Fail("version %d kind %d is unknown to this build, of feature level %d: upgrade this node", version, k, FeatureLevel)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("decode controller entry: %w", err)
	}
	c := blank[k]()
	c.fields(&codec{r: r})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("decode controller entry %T: %w", c, err)
	}
	return c, nil
}

func (*Found) kind() kind             { return kindFound }
func (*AddMember) kind() kind         { return kindAddMember }
func (*RemoveMember) kind() kind      { return kindRemoveMember }
func (*RenewMember) kind() kind       { return kindRenewMember }
func (*NodeDown) kind() kind          { return kindNodeDown }
func (*SetTargets) kind() kind        { return kindSetTargets }
func (*MarkFounded) kind() kind       { return kindMarkFounded }
func (*PutChunk) kind() kind          { return kindPutChunk }
func (*CreateHunt) kind() kind        { return kindCreateHunt }
func (*PutHunt) kind() kind           { return kindPutHunt }
func (*SetHuntState) kind() kind      { return kindSetHuntState }
func (*DeleteHunt) kind() kind        { return kindDeleteHunt }
func (*ForgetDeleted) kind() kind     { return kindForgetDeleted }
func (*CreateToken) kind() kind       { return kindCreateToken }
func (*RevokeToken) kind() kind       { return kindRevokeToken }
func (*RegisterSnapshots) kind() kind { return kindRegisterSnapshots }
func (*SetFeatureLevel) kind() kind   { return kindSetFeatureLevel }
func (*NodeUp) kind() kind            { return kindNodeUp }
func (*SetDuty) kind() kind           { return kindSetDuty }
func (*Recover) kind() kind           { return kindRecover }
func (*Resume) kind() kind            { return kindResume }
func (*Refound) kind() kind           { return kindRefound }
func (*Refounded) kind() kind         { return kindRefounded }
func (*GiveBack) kind() kind          { return kindGiveBack }

func (f *Found) fields(c *codec) {
	c.string(&f.Cluster)
	c.time(&f.Now)
	c.member(&f.Member)
	c.int(&f.Partitions)
	c.settings(&f.Settings)
	c.bytes(&f.CA)
	c.bytes(&f.Secrets)
	list(c, &f.Tokens, (*codec).token)
}

func (a *AddMember) fields(c *codec) {
	c.time(&a.Now)
	c.member(&a.Member)
	c.string(&a.Token)
}

func (m *RemoveMember) fields(c *codec) {
	c.time(&m.Now)
	c.node(&m.Node)
}

func (m *RenewMember) fields(c *codec) {
	c.time(&m.Now)
	c.node(&m.Node)
}

func (n *NodeDown) fields(c *codec) {
	c.time(&n.Now)
	c.nodes(&n.Nodes)
}

func (n *NodeUp) fields(c *codec) {
	c.time(&n.Now)
	c.nodes(&n.Nodes)
}

func (d *SetDuty) fields(c *codec) {
	c.time(&d.Now)
	c.node(&d.Node)
	c.u8((*uint8)(&d.Duty))
}

func (s *SetTargets) fields(c *codec) {
	list(c, &s.Changes, func(c *codec, t *TargetChange) { t.fields(c) })
}

func (t *TargetChange) fields(c *codec) {
	c.partition(&t.Partition)
	c.uint64(&t.Epoch)
	list(c, &t.Target, (*codec).wish)
	c.node(&t.Preferred)
	c.nodes(&t.Renew)
}

func (r *Recover) fields(c *codec) {
	list(c, &r.Partitions, func(c *codec, r *Recovery) {
		c.partition(&r.Partition)
		c.uint64(&r.Epoch)
		c.replica(&r.Survivor)
	})
}

func (r *Refound) fields(c *codec) {
	list(c, &r.Partitions, func(c *codec, r *Refounding) {
		c.partition(&r.Partition)
		c.uint64(&r.Epoch)
		c.node(&r.Node)
	})
}

func (r *Refounded) fields(c *codec) {
	c.partition(&r.Partition)
	c.replica(&r.Replica)
}

func (g *GiveBack) fields(c *codec) {
	list(c, &g.Changes, func(c *codec, t *TargetChange) { t.fields(c) })
	list(c, &g.Keep, func(c *codec, k *Kept) {
		c.partition(&k.Partition)
		c.replica(&k.Replica)
	})
}

func (r *Resume) fields(c *codec) {
	c.time(&r.Now)
	c.node(&r.Node)
	c.uint64(&r.Skip)
}

func (m *MarkFounded) fields(c *codec) { c.partitions(&m.Partitions) }

func (p *PutChunk) fields(c *codec) {
	c.hash(&p.Hash)
	c.int(&p.Total)
	c.int(&p.Off)
	c.bytes(&p.Data)
}

func (h *CreateHunt) fields(c *codec) {
	c.time(&h.Now)
	c.hunt(&h.Hunt)
	c.hash(&h.Hash)
	c.string(&h.State)
}

func (h *PutHunt) fields(c *codec) {
	c.time(&h.Now)
	c.hunt(&h.Hunt)
	c.uint64(&h.IfVersion)
	c.hash(&h.Hash)
}

func (h *SetHuntState) fields(c *codec) {
	c.time(&h.Now)
	c.hunt(&h.Hunt)
	c.string(&h.State)
	c.string(&h.Reason)
}

func (h *DeleteHunt) fields(c *codec) {
	c.time(&h.Now)
	c.hunt(&h.Hunt)
	c.incarnation(&h.Incarnation)
}

func (f *ForgetDeleted) fields(c *codec) { c.incarnation(&f.Incarnation) }

func (k *CreateToken) fields(c *codec) {
	c.time(&k.Now)
	c.token(&k.Token)
}

func (k *RevokeToken) fields(c *codec) {
	c.time(&k.Now)
	c.string(&k.ID)
}

func (s *RegisterSnapshots) fields(c *codec) { list(c, &s.Snapshots, (*codec).snapshot) }

func (s *SetFeatureLevel) fields(c *codec) { c.uint32(&s.Level) }
