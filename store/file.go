package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// castagnoli is the polynomial of every checksum here: processors have an
// instruction for it, and it finds every burst of up to 32 wrong bits.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	// MaxFile is the size of the largest small file, in bytes.
	MaxFile = 4 << 20
	// maxName is the length of the longest name of a small file or a group.
	maxName = 64

	sealMagic = "cairn f1"
	sealSize  = len(sealMagic) + 8 // magic, length of the data, checksum

	tempSuffix = ".tmp"
)

// seal appends the trailer that makes a small file's damage visible. It comes
// last so that a certificate is still readable with cat. The name is under the
// checksum: a file that was renamed is not what it claims to be.
func seal(name string, data []byte) []byte {
	out := make([]byte, 0, len(data)+sealSize)
	out = append(out, data...)
	out = append(out, sealMagic...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	return binary.BigEndian.AppendUint32(out, sealSum(name, out))
}

// unseal returns the data of a sealed file, or ErrDamaged.
func unseal(name string, sealed []byte) ([]byte, error) {
	end := len(sealed) - sealSize
	switch {
	case end < 0:
		return nil, damagedf("file "+name, "it is cut off after %d bytes", len(sealed))
	case string(sealed[end:end+len(sealMagic)]) != sealMagic:
		return nil, damagedf("file "+name, "its trailer is missing")
	case binary.BigEndian.Uint32(sealed[len(sealed)-8:]) != uint32(end):
		return nil, damagedf("file "+name, "its length is wrong")
	case binary.BigEndian.Uint32(sealed[len(sealed)-4:]) != sealSum(name, sealed[:len(sealed)-4]):
		return nil, damagedf("file "+name, "its checksum is wrong")
	}
	return sealed[:end:end], nil
}

func sealSum(name string, sealed []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, sealed)
}

// readSealed reads a sealed file. An error that is not fs.ErrNotExist or
// ErrDamaged is the disk's.
func readSealed(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFile+int64(sealSize) {
		return nil, damagedf("file "+filepath.Base(path), "it has %d bytes", info.Size())
	}
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return unseal(filepath.Base(path), sealed)
}

// checkName accepts the names of small files and of groups: they become names
// in the file system.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.HasSuffix(name, tempSuffix) {
		return fmt.Errorf("store: %q is no name for a file (1 to %d characters, not ending in %s)", name, maxName, tempSuffix)
	}
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return fmt.Errorf("store: %q is no name for a file (a to z, 0 to 9, and after the first - _ .)", name)
		}
	}
	return nil
}

// ReadFile returns the content of a small file: fs.ErrNotExist if there is
// none, ErrDamaged if it is not what WriteFile wrote.
func (d *Dir) ReadFile(name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	data, err := readSealed(filepath.Join(d.path, filesDir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged) {
		d.fail(fmt.Errorf("read %s: %w", name, err))
	}
	return data, err
}

// WriteFile replaces a small file of at most MaxFile bytes. When it returns, the
// content lasts; after a crash within it, the file has its old content or the new.
func (d *Dir) WriteFile(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(data) > MaxFile {
		return fmt.Errorf("store: file %s would have %d bytes, more than %d", name, len(data), MaxFile)
	}
	d.filesMu.Lock() // two writers of one name share its temporary file
	defer d.filesMu.Unlock()
	defer d.watch.end(d.watch.begin(opFileWrite))
	if err := d.disk.writeSealed(filepath.Join(d.path, filesDir, name), data); err != nil {
		d.fail(fmt.Errorf("write %s: %w", name, err))
	}
	return nil
}
