package partition

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// rulesVersion stands in front of packed rules, outside the deflated part. A
// new operator or field needs a new version: a replica that reads a version it
// does not know stops, while rules of a known version that are wrong are
// refused by every replica alike, for ever.
const rulesVersion = 1

// errRulesVersion is wrapped when rules were packed by a later release.
var errRulesVersion = errors.New("rules of an unknown version")

// Encode packs r for InstallHunt: version u8, then deflated
//
//	state u8, starts varint, ends varint, unranked bool, registration bool,
//	ranking (count, then u8 each), finish string,
//	clues (count, then each: id string, round string, points uvarint, limit uvarint, cond)
//	cond = op u8; Solved: clue uvarint; All, Any: count, conds; AtLeast: k uvarint, count, conds
//
// The deflated bytes may differ between releases of Go and mean the same: they
// are carried and stored as they came, never made twice and compared. Check
// Validate first, and that the result has at most MaxPacked bytes.
func (r *Rules) Encode() []byte {
	var w wire.Writer
	r.append(&w)
	out := bytes.NewBuffer([]byte{rulesVersion})
	z, err := flate.NewWriter(out, flate.BestCompression)
	if err == nil {
		_, err = z.Write(w.B)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil { // a constant level and a buffer in memory cannot fail
		panic(fmt.Sprintf("partition: packing rules: %v", err))
	}
	return out.Bytes()
}

func (r *Rules) append(w *wire.Writer) {
	w.U8(uint8(r.State))
	w.Varint(int64(r.Starts))
	w.Varint(int64(r.Ends))
	w.Bool(r.Unranked)
	w.Bool(r.Registration)
	w.Uvarint(uint64(len(r.Ranking)))
	for _, c := range r.Ranking {
		w.U8(uint8(c))
	}
	w.String(string(r.Finish))
	w.Uvarint(uint64(len(r.Clues)))
	for i := range r.Clues {
		c := &r.Clues[i]
		w.String(string(c.ID))
		w.String(c.Round)
		w.Uvarint(uint64(c.Points))
		w.Uvarint(uint64(c.Limit))
		c.Unlock.append(w)
	}
}

func (c *Cond) append(w *wire.Writer) {
	w.U8(uint8(c.Op))
	switch c.Op {
	case Solved:
		w.Uvarint(uint64(c.Clue))
	case All, Any, AtLeast:
		if c.Op == AtLeast {
			w.Uvarint(uint64(c.K))
		}
		w.Uvarint(uint64(len(c.Of)))
		for i := range c.Of {
			c.Of[i].append(w)
		}
	}
}

// DecodeRules unpacks what Encode packed and validates it. It inflates at most
// MaxRules bytes, whatever it is given.
func DecodeRules(packed []byte) (*Rules, error) {
	if len(packed) > MaxPacked {
		return nil, fmt.Errorf("%w: packed rules of %d bytes, over the limit of %d", wire.ErrMalformed, len(packed), MaxPacked)
	}
	if len(packed) == 0 || packed[0] != rulesVersion {
		return nil, fmt.Errorf("%w: %x", errRulesVersion, packed[:min(1, len(packed))])
	}
	in := bytes.NewReader(packed[1:]) // an io.ByteReader: inflating stops at its last byte
	flat, err := io.ReadAll(io.LimitReader(flate.NewReader(in), MaxRules+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: inflating rules: %w", wire.ErrMalformed, err)
	case len(flat) > MaxRules:
		return nil, fmt.Errorf("%w: rules inflate to more than %d bytes", wire.ErrMalformed, MaxRules)
	case in.Len() > 0:
		return nil, fmt.Errorf("%w: %d bytes behind the rules", wire.ErrMalformed, in.Len())
	}
	rd := newReader(flat)
	rules := rd.rules()
	if err := rd.Done(); err != nil {
		return nil, err
	}
	if err := rules.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	return rules, nil
}

func (r *reader) rules() *Rules {
	out := &Rules{
		State: State(r.U8()), Starts: fsm.Time(r.Varint()), Ends: fsm.Time(r.Varint()),
		Unranked: r.Bool(), Registration: r.Bool(),
	}
	for range r.Count(MaxCriteria) {
		out.Ranking = append(out.Ranking, Criterion(r.U8()))
	}
	out.Finish = fsm.ClueID(r.str())
	conds := 0
	for range r.Count(MaxClues) {
		c := ClueRule{ID: fsm.ClueID(r.str()), Round: r.str(), Points: int64(r.Int(MaxPoints)), Limit: r.uint32()}
		c.Unlock = r.cond(MaxDepth, &conds)
		out.Clues = append(out.Clues, c)
	}
	return out
}

func (r *reader) cond(depth int, conds *int) Cond {
	if *conds++; depth == 0 || *conds > MaxConds {
		r.Fail("conditions nested deeper than %d, or more than %d of them", MaxDepth, MaxConds)
		return Cond{}
	}
	c := Cond{Op: CondOp(r.U8())}
	switch c.Op {
	case Always:
	case Solved:
		c.Clue = uint16(r.Int(MaxClues - 1))
	case All, Any, AtLeast:
		if c.Op == AtLeast {
			c.K = r.Int(MaxConds)
		}
		for range r.Count(MaxConds - *conds) { // grown as they come: a count alone allocates nothing
			c.Of = append(c.Of, r.cond(depth-1, conds))
		}
	default:
		r.Fail("unknown condition %d", c.Op)
	}
	return c
}

// Validate reports what would break Apply or never mean anything: an *fsm.Error
// of kind Invalid that names the clue. Cycles are the document's business.
func (r *Rules) Validate() error {
	switch {
	case r.State > Closed:
		return fsm.Errorf(fsm.Invalid, "unknown state %d", r.State)
	case len(r.Clues) > MaxClues:
		return fsm.Errorf(fsm.Invalid, "%d clues, over the limit of %d", len(r.Clues), MaxClues)
	case len(r.Ranking) > MaxCriteria:
		return fsm.Errorf(fsm.Invalid, "%d ranking criteria, over the limit of %d", len(r.Ranking), MaxCriteria)
	case r.Finish != "" && !fsm.ValidID(string(r.Finish)):
		return fsm.Errorf(fsm.Invalid, "finish_clue is not a valid id")
	}
	for i, c := range r.Ranking {
		if c > ByLastSolve || slices.Contains(r.Ranking[:i], c) {
			return fsm.Errorf(fsm.Invalid, "ranking criterion %d is unknown or there twice", i+1)
		}
	}
	seen, conds := make(map[fsm.ClueID]bool, len(r.Clues)), 0
	for i := range r.Clues {
		c := &r.Clues[i]
		switch {
		case !fsm.ValidID(string(c.ID)):
			return fsm.Errorf(fsm.Invalid, "clue %d has no valid id", i+1)
		case seen[c.ID]:
			return fsm.Errorf(fsm.Invalid, "clue %s is there twice", c.ID)
		case c.Round != "" && !fsm.ValidID(c.Round):
			return fsm.Errorf(fsm.Invalid, "clue %s: round is not a valid id", c.ID)
		case c.Points < 0 || c.Points > MaxPoints:
			return fsm.Errorf(fsm.Invalid, "clue %s: points are outside 0..%d", c.ID, MaxPoints)
		}
		seen[c.ID] = true
		if err := c.Unlock.validate(len(r.Clues), MaxDepth, &conds); err != nil {
			return fsm.Errorf(fsm.Invalid, "clue %s: %s", c.ID, err)
		}
	}
	return nil
}

func (c *Cond) validate(clues, depth int, conds *int) error {
	*conds++
	switch {
	case depth == 0:
		return fmt.Errorf("unlock conditions nested deeper than %d", MaxDepth)
	case *conds > MaxConds:
		return fmt.Errorf("the hunt has more than %d unlock conditions", MaxConds)
	case c.Op > AtLeast:
		return fmt.Errorf("unknown condition %d", c.Op)
	case c.Op == Solved && int(c.Clue) >= clues:
		return fmt.Errorf("an unlock condition names clue number %d of %d", c.Clue, clues)
	case c.Op == AtLeast && (c.K < 0 || c.K > len(c.Of)):
		return fmt.Errorf("at_least %d of %d", c.K, len(c.Of))
	}
	for i := range c.Of {
		if err := c.Of[i].validate(clues, depth-1, conds); err != nil {
			return err
		}
	}
	return nil
}
