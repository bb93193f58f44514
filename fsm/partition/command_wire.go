package partition

import (
	"fmt"
	"math"
	"strings"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// Kinds of commands in the log: append only. A kind is proposed only once the
// cluster's feature level has reached it; a replica that does not know it stops.
const (
	kindInit uint8 = iota + 1
	kindInstallHunt
	kindDeleteHunt
	kindCreateTeam
	kindPatchTeam
	kindRotateToken
	kindSubmit
	kindCheckpoint // controller.LevelCheckpoint
)

// The fields of a PatchTeam that are present.
const (
	patchName uint8 = 1 << iota
	patchKind
	patchStatus
	patchDivision
	patchMeta
	patchEnd
)

// anyLength is the limit of a text where the bytes around it are the limit.
const anyLength = math.MaxInt32

// reader reads texts as substrings of one copy of its input, so that a batch
// costs one allocation for all its texts. A text that outlives the batch must
// be cloned, or it keeps the whole batch.
type reader struct {
	wire.Reader
	text string
}

func newReader(b []byte) *reader {
	return &reader{Reader: wire.Reader{B: b}, text: string(b)}
}

func (r *reader) str() string {
	b := r.Bytes(anyLength)
	end := len(r.text) - len(r.B)
	return r.text[end-len(b) : end]
}

func (r *reader) uint32() uint32 { return uint32FromWire(&r.Reader) }

func uint32FromWire(r *wire.Reader) uint32 {
	v := r.Uvarint()
	if v > math.MaxUint32 {
		r.Fail("%d does not fit 32 bits", v)
		return 0
	}
	return uint32(v)
}

func (r *reader) version(want uint8) {
	if v := r.U8(); v != want {
		r.Fail("version %d is not known to this release", v)
	}
}

func appendCommand(w *wire.Writer, c Command) {
	switch c := c.(type) {
	case *Init:
		w.U8(kindInit)
		w.Uvarint(uint64(c.Partition))
		w.Uvarint(uint64(c.Range.First))
		w.Uvarint(uint64(c.Range.Last))
		w.Uvarint(c.Epoch)
	case *InstallHunt:
		appendTarget(w, kindInstallHunt, c.Hunt, c.Incarnation)
		w.Uvarint(c.Version)
		w.Bytes(c.Rules)
	case *DeleteHunt:
		appendTarget(w, kindDeleteHunt, c.Hunt, c.Incarnation)
	case *CreateTeam:
		appendTarget(w, kindCreateTeam, c.Hunt, c.Incarnation)
		w.Bool(c.Public)
		w.String(string(c.Team))
		w.String(c.Name)
		w.U8(uint8(c.Kind))
		w.String(c.Division)
		w.String(c.Key)
	case *PatchTeam:
		appendTarget(w, kindPatchTeam, c.Hunt, c.Incarnation)
		appendPatch(w, c)
	case *RotateToken:
		appendTarget(w, kindRotateToken, c.Hunt, c.Incarnation)
		w.String(string(c.Team))
		w.String(c.Key)
	case *Submit:
		appendTarget(w, kindSubmit, c.Hunt, c.Incarnation)
		appendSubmit(w, c)
	case *Checkpoint:
		w.U8(kindCheckpoint)
	default:
		panic(fmt.Sprintf("partition: no encoding for %T", c))
	}
}

func appendTarget(w *wire.Writer, kind uint8, hunt fsm.HuntID, inc fsm.Incarnation) {
	w.U8(kind)
	w.String(string(hunt))
	w.Uvarint(uint64(inc))
}

func appendPatch(w *wire.Writer, c *PatchTeam) {
	w.String(string(c.Team))
	w.U8(bitIf(c.Name != nil, patchName) | bitIf(c.Kind != nil, patchKind) | bitIf(c.Status != nil, patchStatus) |
		bitIf(c.Division != nil, patchDivision) | bitIf(c.Meta != nil, patchMeta))
	if c.Name != nil {
		w.String(*c.Name)
	}
	if c.Kind != nil {
		w.U8(uint8(*c.Kind))
	}
	if c.Status != nil {
		w.U8(uint8(*c.Status))
	}
	if c.Division != nil {
		w.String(*c.Division)
	}
	if c.Meta != nil {
		w.String(*c.Meta)
	}
	w.String(c.Reason)
}

func bitIf(set bool, bit uint8) uint8 {
	if set {
		return bit
	}
	return 0
}

func appendSubmit(w *wire.Writer, c *Submit) {
	w.Uvarint(c.Version)
	w.String(string(c.Team))
	w.Uvarint(uint64(c.Generation))
	w.String(string(c.Clue))
	w.U8(uint8(c.Match))
	w.U64(c.Digest)
	w.String(c.Answer)
	w.String(c.Reply)
	w.String(c.Key)
	w.String(c.Player)
	w.Varint(int64(c.At))
}

// command reads one command; nil after an error.
func (r *reader) command() Command {
	kind := r.U8()
	switch kind {
	case kindInit:
		return &Init{
			Partition: fsm.PartitionID(r.Int(math.MaxUint16)),
			Range:     fsm.Range{First: fsm.Slot(r.Int(fsm.Slots - 1)), Last: fsm.Slot(r.Int(fsm.Slots - 1))},
			Epoch:     r.Uvarint(),
		}
	case kindCheckpoint:
		return &Checkpoint{}
	}
	hunt, inc := fsm.HuntID(r.str()), fsm.Incarnation(r.Uvarint())
	switch kind {
	case kindInstallHunt:
		return &InstallHunt{Hunt: hunt, Incarnation: inc, Version: r.Uvarint(), Rules: r.Bytes(anyLength)}
	case kindDeleteHunt:
		return &DeleteHunt{Hunt: hunt, Incarnation: inc}
	case kindCreateTeam:
		return &CreateTeam{
			Hunt: hunt, Incarnation: inc, Public: r.Bool(), Team: fsm.TeamID(r.str()), Name: r.str(),
			Kind: TeamKind(r.U8()), Division: r.str(), Key: r.str(),
		}
	case kindPatchTeam:
		return r.patch(hunt, inc)
	case kindRotateToken:
		return &RotateToken{Hunt: hunt, Incarnation: inc, Team: fsm.TeamID(r.str()), Key: r.str()}
	case kindSubmit:
		return &Submit{
			Hunt: hunt, Incarnation: inc, Version: r.Uvarint(), Team: fsm.TeamID(r.str()),
			Generation: r.uint32(), Clue: fsm.ClueID(r.str()), Match: Match(r.U8()),
			Digest: r.U64(), Answer: r.str(), Reply: r.str(), Key: r.str(), Player: r.str(),
			At: fsm.Time(r.Varint()),
		}
	}
	r.Fail("kind of command %d is not known to this release", kind)
	return nil
}

func (r *reader) patch(hunt fsm.HuntID, inc fsm.Incarnation) *PatchTeam {
	c := &PatchTeam{Hunt: hunt, Incarnation: inc, Team: fsm.TeamID(r.str())}
	set := r.U8()
	if set >= patchEnd {
		r.Fail("unknown fields in patch %#x", set)
	}
	if set&patchName != 0 {
		c.Name = new(r.str())
	}
	if set&patchKind != 0 {
		c.Kind = new(TeamKind(r.U8()))
	}
	if set&patchStatus != 0 {
		c.Status = new(TeamStatus(r.U8()))
	}
	if set&patchDivision != 0 {
		c.Division = new(r.str())
	}
	if set&patchMeta != 0 {
		c.Meta = new(r.str())
	}
	c.Reason = r.str()
	return c
}

// own reads a text that is kept.
func (r *reader) own() string { return strings.Clone(r.str()) }
