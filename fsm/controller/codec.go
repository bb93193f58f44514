package controller

import (
	"math"
	"time"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// codec walks the fields of a value in their order on the wire, and either
// writes or reads each. Every layout is so written down once, for both
// directions. Exactly one of w and r is set.
//
// Writing changes nothing behind the pointers, for a State is written while
// others read it. Reading accepts whatever writing can produce, within the entry or record that
// holds it: limits of the domain are rules, checked where they can be answered.
type codec struct {
	w *wire.Writer
	r *wire.Reader
}

// maxField bounds a string, byte string or list inside an entry or record; the
// entry or record itself is the tighter bound.
const maxField = MaxDocument + 1<<10

func (c *codec) string(v *string) {
	if c.w != nil {
		c.w.String(*v)
	} else {
		*v = c.r.String(maxField)
	}
}

// bytes reads nil for an empty string, and aliases what it reads from.
func (c *codec) bytes(v *[]byte) {
	if c.w != nil {
		c.w.Bytes(*v)
	} else if *v = c.r.Bytes(maxField); len(*v) == 0 {
		*v = nil
	}
}

func (c *codec) hash(v *[32]byte) {
	if c.w != nil {
		c.w.Raw(v[:])
		return
	}
	for i := range v {
		v[i] = c.r.U8()
	}
}

func (c *codec) bool(v *bool) {
	if c.w != nil {
		c.w.Bool(*v)
	} else {
		*v = c.r.Bool()
	}
}

func (c *codec) u8(v *uint8) {
	if c.w != nil {
		c.w.U8(*v)
	} else {
		*v = c.r.U8()
	}
}

func (c *codec) uint64(v *uint64) {
	if c.w != nil {
		c.w.Uvarint(*v)
	} else {
		*v = c.r.Uvarint()
	}
}

func (c *codec) uint32(v *uint32) {
	if c.w != nil {
		c.w.Uvarint(uint64(*v))
	} else {
		*v = uint32(c.r.Int(math.MaxUint32))
	}
}

func (c *codec) uint16(v *uint16) {
	if c.w != nil {
		c.w.Uvarint(uint64(*v))
	} else {
		*v = uint16(c.r.Int(math.MaxUint16))
	}
}

func (c *codec) int64(v *int64) {
	if c.w != nil {
		c.w.Varint(*v)
	} else {
		*v = c.r.Varint()
	}
}

func (c *codec) int(v *int) {
	if c.w != nil {
		c.w.Varint(int64(*v))
	} else {
		*v = int(c.r.Varint())
	}
}

func (c *codec) node(v *fsm.NodeID)              { c.string((*string)(v)) }
func (c *codec) hunt(v *fsm.HuntID)              { c.string((*string)(v)) }
func (c *codec) time(v *fsm.Time)                { c.int64((*int64)(v)) }
func (c *codec) duration(v *time.Duration)       { c.int64((*int64)(v)) }
func (c *codec) partition(v *fsm.PartitionID)    { c.uint16((*uint16)(v)) }
func (c *codec) incarnation(v *fsm.Incarnation)  { c.uint64((*uint64)(v)) }
func (c *codec) replica(v *fsm.Replica)          { c.node(&v.Node); c.uint64(&v.Incarnation) }
func (c *codec) nodes(v *[]fsm.NodeID)           { list(c, v, (*codec).node) }
func (c *codec) partitions(v *[]fsm.PartitionID) { list(c, v, (*codec).partition) }
func (c *codec) member(v *Member)                { v.fields(c) }
func (c *codec) token(v *Token)                  { v.fields(c) }
func (c *codec) snapshot(v *Snapshot)            { v.fields(c) }
func (c *codec) targetReplica(v *TargetReplica)  { c.replica(&v.Replica); c.bool(&v.Voter) }
func (c *codec) wish(v *Wish)                    { c.node(&v.Node); c.bool(&v.Voter) }
func (c *codec) settings(v *Settings)            { c.int64(&v.NodeTimeout); c.int64(&v.ReassignAfter) }

func (c *codec) slots(v *fsm.Range) { c.uint16((*uint16)(&v.First)); c.uint16((*uint16)(&v.Last)) }

// list is a count and the elements. It grows with what is really there, so a
// false count costs nothing.
func list[T any](c *codec, v *[]T, element func(*codec, *T)) {
	if c.w != nil {
		c.w.Uvarint(uint64(len(*v)))
		for i := range *v {
			element(c, &(*v)[i])
		}
		return
	}
	*v = nil
	for range c.r.Count(maxField) {
		var e T
		if element(c, &e); c.r.Err() != nil {
			return
		}
		*v = append(*v, e)
	}
}

// optional is a bool, and the value when it is true.
func optional[T any](c *codec, v **T, fields func(*codec, *T)) {
	present := *v != nil
	if c.bool(&present); !present {
		*v = nil
		return
	}
	if c.r != nil {
		*v = new(T)
	}
	fields(c, *v)
}

func (m *Member) fields(c *codec) {
	c.node(&m.ID)
	c.string(&m.Name)
	c.string(&m.Address)
	c.string(&m.HTTP)
	c.string(&m.Zone)
	c.string(&m.Version)
	c.uint32(&m.Level)
	c.u8((*uint8)(&m.State))
	c.u8((*uint8)(&m.Duty))
	c.time(&m.Since)
	c.uint64(&m.Incarnation)
	c.time(&m.Joined)
}

func (p *Partition) fields(c *codec) {
	c.partition(&p.ID)
	c.slots(&p.Range)
	c.uint64(&p.Epoch)
	list(c, &p.Target, (*codec).targetReplica)
	c.node(&p.Preferred)
	c.bool(&p.Founded)
	c.uint64(&p.Base)
	c.replica(&p.Adopt)
}

func (h *Hunt) fields(c *codec) {
	c.hunt(&h.ID)
	c.incarnation(&h.Incarnation)
	c.uint64(&h.Version)
	c.uint64(&h.Document)
	c.string(&h.State)
	c.string(&h.Reason)
	c.hash(&h.Hash)
	c.time(&h.Created)
	c.time(&h.Changed)
}

func (k *Token) fields(c *codec) {
	c.string(&k.ID)
	c.string(&k.Role)
	c.hunt(&k.Hunt)
	c.hash(&k.Hash)
	c.time(&k.Created)
	c.time(&k.Expires)
	c.uint32(&k.Uses)
	c.bool(&k.Limited)
}

func (s *Snapshot) fields(c *codec) {
	c.partition(&s.Partition)
	c.replica(&s.Replica)
	c.uint64(&s.Index)
	c.uint64(&s.Term)
	c.int64(&s.Size)
	c.time(&s.Taken)
}
