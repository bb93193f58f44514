package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
)

const (
	snapshotMagic  = "cairn s1"
	snapshotSuffix = ".snap"

	// maxSnapshotHeader limits the header, which names a group's members.
	maxSnapshotHeader = 64 << 10
	maxServers        = 1024
	maxServerField    = 255

	snapshotFixed   = len(snapshotMagic) + 4 // before the header
	snapshotTrailer = 12
)

// A snapshot is one file, INDEX-TERM-NUMBER.snap in hexadecimal:
//
//	"cairn s1", length of the header uint32
//	header: index, term, index of the configuration, each uint64;
//	        members uint16; each: suffrage uint8, id, address (length uint8)
//	sum of the header uint32: CRC32C over the name and all of the above
//	content
//	length of the content uint64
//	sum uint32: CRC32C over the name and all of the above
//
// The name is under both sums: a renamed snapshot is damaged.

// snapshotID names a snapshot. number tells two of the same index apart.
func snapshotID(index, term uint64, number uint32) string {
	return fmt.Sprintf("%016x-%016x-%08x", index, term, number)
}

// parseSnapshotID is the inverse of snapshotID for a file's name.
func parseSnapshotID(file string) (id string, number uint32, ok bool) {
	id, ok = strings.CutSuffix(file, snapshotSuffix)
	var index, term uint64
	if ok {
		_, err := fmt.Sscanf(id, "%16x-%16x-%8x", &index, &term, &number)
		ok = err == nil && id == snapshotID(index, term, number)
	}
	return id, number, ok
}

// encodeSnapshotHeader returns all that comes before the content.
func encodeSnapshotHeader(meta *raft.SnapshotMeta) ([]byte, error) {
	if n := len(meta.Configuration.Servers); n > maxServers {
		return nil, fmt.Errorf("store: a snapshot with %d members, more than %d", n, maxServers)
	}
	b := append([]byte(snapshotMagic), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, meta.Index)
	b = binary.BigEndian.AppendUint64(b, meta.Term)
	b = binary.BigEndian.AppendUint64(b, meta.ConfigurationIndex)
	b = binary.BigEndian.AppendUint16(b, uint16(len(meta.Configuration.Servers)))
	for _, s := range meta.Configuration.Servers {
		if len(s.ID) > maxServerField || len(s.Address) > maxServerField {
			return nil, fmt.Errorf("store: a member's id %q or address %q is too long", s.ID, s.Address)
		}
		b = append(b, byte(s.Suffrage), byte(len(s.ID)))
		b = append(b, s.ID...)
		b = append(b, byte(len(s.Address)))
		b = append(b, s.Address...)
	}
	n := len(b) - snapshotFixed
	if n > maxSnapshotHeader {
		return nil, fmt.Errorf("store: a snapshot's header of %d bytes, more than %d", n, maxSnapshotHeader)
	}
	binary.BigEndian.PutUint32(b[len(snapshotMagic):], uint32(n))
	return binary.BigEndian.AppendUint32(b, snapshotSum(meta.ID, b)), nil
}

func snapshotSum(id string, b []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(id), castagnoli), castagnoli, b)
}

// decodeSnapshotHeader reads what comes before the content of a snapshot file of
// size bytes, and returns it with its own length.
func decodeSnapshotHeader(r io.Reader, id string, size int64) (*raft.SnapshotMeta, int64, error) {
	b := make([]byte, snapshotFixed, 256)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, 0, err
	}
	n := binary.BigEndian.Uint32(b[len(snapshotMagic):])
	if string(b[:len(snapshotMagic)]) != snapshotMagic || n > maxSnapshotHeader {
		return nil, 0, damagedf("snapshot "+id, "its first bytes are wrong")
	}
	b = append(b, make([]byte, n+4)...)
	if _, err := io.ReadFull(r, b[snapshotFixed:]); err != nil {
		return nil, 0, err
	}
	end := len(b) - 4
	content := size - int64(len(b)) - int64(snapshotTrailer)
	if content < 0 || binary.BigEndian.Uint32(b[end:]) != snapshotSum(id, b[:end]) {
		return nil, 0, damagedf("snapshot "+id, "its header's checksum or its size is wrong")
	}
	f := reader{b: b[snapshotFixed:end]}
	meta := &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: id, Size: content,
		Index: f.uint64(), Term: f.uint64(), ConfigurationIndex: f.uint64(),
	}
	for n := f.uint16(); n > 0 && !f.short; n-- {
		meta.Configuration.Servers = append(meta.Configuration.Servers, raft.Server{
			Suffrage: raft.ServerSuffrage(f.uint8()),
			ID:       raft.ServerID(f.take(int(f.uint8()))),
			Address:  raft.ServerAddress(f.take(int(f.uint8()))),
		})
	}
	if f.short || len(f.b) > 0 {
		return nil, 0, damagedf("snapshot "+id, "its header does not end where it should")
	}
	return meta, int64(len(b)), nil
}

// openSnapshot opens a snapshot file and reads its header. The file stands at the
// first byte of the content, which is at the offset returned.
func openSnapshot(dir, id string) (f *os.File, meta *raft.SnapshotMeta, content int64, err error) {
	if _, _, ok := parseSnapshotID(id + snapshotSuffix); !ok {
		return nil, nil, 0, fmt.Errorf("store: %q names no snapshot: %w", id, fs.ErrNotExist)
	}
	f, err = os.Open(filepath.Join(dir, id+snapshotSuffix))
	if err != nil {
		return nil, nil, 0, err
	}
	info, err := f.Stat()
	if err == nil {
		meta, content, err = decodeSnapshotHeader(f, id, info.Size())
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = damagedf("snapshot "+id, "it is cut off")
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, nil, 0, err
	}
	return f, meta, content, nil
}

// contentReader reads a snapshot's content and gives ErrDamaged instead of io.EOF
// if it is not what was written.
type contentReader struct {
	watch *watchdog
	f     *os.File
	id    string
	left  int64  // of the content
	size  int64  // of the content
	sum   uint32 // of everything so far
	end   error  // what Read says once nothing is left
}

func (c *contentReader) Read(b []byte) (int, error) {
	defer c.watch.end(c.watch.begin(opSnapshotRead))
	if c.left == 0 {
		if c.end == nil {
			c.end = c.finish()
		}
		return 0, c.end
	}
	n, err := c.f.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	c.sum = crc32.Update(c.sum, castagnoli, b[:n])
	if err == io.EOF {
		err = damagedf("snapshot "+c.id, "it is cut off")
	}
	return n, err
}

// finish checks the trailer, where the file stands now.
func (c *contentReader) finish() error {
	var trailer [snapshotTrailer]byte
	if _, err := io.ReadFull(c.f, trailer[:]); err != nil {
		return damagedf("snapshot "+c.id, "it is cut off")
	}
	sum := crc32.Update(c.sum, castagnoli, trailer[:8])
	if binary.BigEndian.Uint64(trailer[:]) != uint64(c.size) || binary.BigEndian.Uint32(trailer[8:]) != sum {
		return damagedf("snapshot "+c.id, "its checksum is wrong")
	}
	return io.EOF
}

func (c *contentReader) Close() error { return c.f.Close() }
