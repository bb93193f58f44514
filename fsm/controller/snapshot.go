package controller

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// A snapshot is the header and then records: a tag byte, the length of the
// body as four little-endian bytes, and the body. Tags never fall, and within
// one tag the keys rise strictly; exactly one record is of the first tag and
// one, empty, of the last. So a State has one encoding, and Restore refuses
// every other. Whether a disk has damaged it is for the store's checksum.
const (
	snapshotHeader = "cairn controller snapshot 1\n"
	recordHeader   = 5        // bytes of tag and length
	maxRecord      = maxField // bytes of a body: a document and its row
	snapshotBuffer = 64 << 10
)

// Tags of records. Values are stored: append only, before bumping the version.
const (
	tagCluster uint8 = iota + 1
	tagMember
	tagPartition
	tagHunt
	tagDeleted
	tagDocument
	tagToken
	tagSnapshot
	tagEnd
)

// WriteTo writes the snapshot of s, documents included, and returns how many
// bytes w took. It needs memory for one document at a time.
func (s *State) WriteTo(w io.Writer) (int64, error) {
	count := &countingWriter{w: w}
	buf := bufio.NewWriterSize(count, snapshotBuffer)
	buf.WriteString(snapshotHeader)
	r := &recorder{w: buf}
	r.record(tagCluster, s.fields)
	for _, m := range s.members.all() {
		r.record(tagMember, m.fields)
	}
	for i := range s.partitions {
		r.record(tagPartition, s.partitions[i].fields)
	}
	for _, h := range s.hunts.all() {
		r.record(tagHunt, h.fields)
	}
	for _, h := range s.deleted.all() {
		r.record(tagDeleted, h.fields)
	}
	for hash, d := range s.documents.all() {
		r.record(tagDocument, func(c *codec) {
			c.w.Raw([]byte(hash))
			d.fields(c)
		})
	}
	for _, k := range s.tokens.all() {
		r.record(tagToken, k.fields)
	}
	for _, e := range s.snapshots.all() {
		r.record(tagSnapshot, e.fields)
	}
	r.record(tagEnd, func(*codec) {})
	if err := buf.Flush(); err != nil {
		return count.n, fmt.Errorf("write controller snapshot: %w", err)
	}
	return count.n, nil
}

// Hash returns the SHA-256 of the snapshot of s: equal on replicas that have
// applied the same entries.
func (s *State) Hash() [32]byte {
	h := sha256.New()
	if _, err := s.WriteTo(h); err != nil {
		panic(err) // a hash takes everything
	}
	return [32]byte(h.Sum(nil))
}

// recorder frames records. Errors stick in w.
type recorder struct {
	w   *bufio.Writer
	buf wire.Writer
}

func (r *recorder) record(tag uint8, fields func(*codec)) {
	r.buf.B = append(r.buf.B[:0], tag, 0, 0, 0, 0)
	fields(&codec{w: &r.buf})
	binary.LittleEndian.PutUint32(r.buf.B[1:], uint32(len(r.buf.B)-recordHeader))
	r.w.Write(r.buf.B)
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// fields walks what is not in a table.
func (s *State) fields(c *codec) {
	c.uint64(&s.version)
	c.uint64(&s.tableVersion)
	c.uint64(&s.membersVersion)
	c.uint64(&s.catalogueVersion)
	c.string(&s.cluster)
	c.time(&s.created)
	c.uint32(&s.slotVersion)
	c.uint32(&s.level)
	c.settings(&s.settings)
	c.bytes(&s.ca)
	c.bytes(&s.secrets)
	c.uint64(&s.nextReplica)
	c.incarnation(&s.nextHunt)
}

// fields walks what is stored of a document: refs follows from the hunts.
func (d *document) fields(c *codec) {
	c.int(&d.total)
	c.uint64(&d.idle)
	c.bytes(&d.data)
}

// Restore reads a snapshot to its end and returns the machine it was taken of.
// It refuses what WriteTo does not write, a state that breaks an invariant, and
// a feature level above FeatureLevel.
func Restore(r io.Reader) (*Machine, error) {
	s, err := readState(bufio.NewReaderSize(r, snapshotBuffer))
	if err != nil {
		return nil, fmt.Errorf("restore controller snapshot: %w", err)
	}
	m := &Machine{}
	m.state.Store(s)
	return m, nil
}

func readState(r *bufio.Reader) (*State, error) {
	header := make([]byte, len(snapshotHeader))
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	if string(header) != snapshotHeader {
		return nil, errors.New("this is no snapshot of a controller, or one of a version unknown to this build")
	}
	s := &State{}
	for last := uint8(0); last != tagEnd; {
		tag, body, err := readRecord(r)
		if err != nil {
			return nil, err
		}
		if tag < last || tag > tagEnd || (tag == tagCluster) != (last == 0) {
			return nil, fmt.Errorf("%w: record of tag %d after one of tag %d", wire.ErrMalformed, tag, last)
		}
		if err := s.readBody(tag, wire.NewReader(body)); err != nil {
			return nil, fmt.Errorf("record of tag %d: %w", tag, err)
		}
		last = tag
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return nil, errors.Join(err, fmt.Errorf("%w: bytes after the last record", wire.ErrMalformed))
	}
	if s.level > FeatureLevel {
		return nil, errLevel(s.level)
	}
	s.derive()
	return s, s.check()
}

func readRecord(r *bufio.Reader) (tag uint8, body []byte, err error) {
	var head [recordHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read the head of a record: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, fmt.Errorf("%w: a record of %d bytes, over the limit of %d", wire.ErrMalformed, n, maxRecord)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, fmt.Errorf("read a record of %d bytes: %w", n, err)
	}
	return head[0], body, nil
}

// readBody adds one record to s.
func (s *State) readBody(tag uint8, r *wire.Reader) error {
	c := &codec{r: r}
	rising := true
	switch tag {
	case tagCluster:
		s.fields(c)
	case tagMember:
		rising = pushRecord(c, &s.members, (*Member).fields, func(m *Member) fsm.NodeID { return m.ID })
	case tagPartition:
		var p Partition
		p.fields(c)
		s.partitions = append(s.partitions, p)
	case tagHunt:
		rising = pushRecord(c, &s.hunts, (*Hunt).fields, func(h *Hunt) fsm.HuntID { return h.ID })
	case tagDeleted:
		rising = pushRecord(c, &s.deleted, (*Hunt).fields, func(h *Hunt) fsm.Incarnation { return h.Incarnation })
	case tagDocument:
		var hash [32]byte
		d := &document{}
		c.hash(&hash)
		d.fields(c)
		rising = s.documents.push(string(hash[:]), d)
		if d.complete() && sha256.Sum256(d.data) != hash {
			r.Fail("document %x has another hash", hash)
		}
	case tagToken:
		rising = pushRecord(c, &s.tokens, (*Token).fields, func(k *Token) string { return k.ID })
	case tagSnapshot:
		rising = pushRecord(c, &s.snapshots, (*Snapshot).fields, func(e *Snapshot) fsm.PartitionID { return e.Partition })
	}
	if !rising {
		r.Fail("its key does not lie behind the last one")
	}
	return r.Done()
}

// pushRecord reads one row of a table.
func pushRecord[K cmp.Ordered, V any](c *codec, to *sorted[K, V], fields func(*V, *codec), key func(*V) K) bool {
	v := new(V)
	fields(v, c)
	return to.push(key(v), v)
}
