package store

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// GroupInfo says which replica of a partition's group this node runs, or ran.
type GroupInfo struct {
	Group   uint32
	Replica string // node.incarnation
	// Quarantined: its data was damaged and thrown away. The name must not be
	// used again: it has voted, and acknowledged, what it no longer knows.
	Quarantined bool
	// Err is what was found wrong when the log was opened (ErrDamaged), or nil.
	Err error
	// was is the replica's name before a Rename that may not have reached the log.
	was string
}

// maxReplicas is how many replicas a node can have.
const maxReplicas = 1 << 16

// register is what this node has promised to be: replicas by group. It is kept
// apart from the log, so that a node whose log is lost still knows whom to
// report. It never names a live replica whose data was not written before, and
// it stops naming one before its data goes.
type register map[uint32]GroupInfo

func (r register) sorted() []GroupInfo {
	return slices.SortedFunc(maps.Values(r), func(a, b GroupInfo) int {
		return int(int64(a.Group) - int64(b.Group))
	})
}

func (r register) live() (n int) {
	for _, g := range r {
		if !g.Quarantined {
			n++
		}
	}
	return n
}

// with returns a copy in which info replaces what stood for its group.
func (r register) with(info GroupInfo) register {
	r = maps.Clone(r)
	r[info.Group] = info
	return r
}

// without returns a copy without group.
func (r register) without(group uint32) register {
	r = maps.Clone(r)
	delete(r, group)
	return r
}

// encode writes a line "group replica live|quarantined|was NAME" for each, by
// group.
func (r register) encode() []byte {
	var b bytes.Buffer
	for _, g := range r.sorted() {
		status := "live"
		if g.Quarantined {
			status = "quarantined"
		} else if g.was != "" {
			status = "was " + g.was
		}
		fmt.Fprintln(&b, g.Group, g.Replica, status)
	}
	return b.Bytes()
}

func decodeRegister(b []byte) (register, error) {
	r := register{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		field := strings.Split(lines.Text(), " ")
		renamed := len(field) == 4 && field[2] == "was" && checkReplica(field[3]) == nil
		if !renamed && (len(field) != 3 || (field[2] != "live" && field[2] != "quarantined")) {
			return nil, fmt.Errorf("the register has a line %q", lines.Text())
		}
		group, err := strconv.ParseUint(field[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the register has a group %q", field[0])
		}
		if err := checkReplica(field[1]); err != nil {
			return nil, err
		}
		info := GroupInfo{Group: uint32(group), Replica: field[1], Quarantined: field[2] == "quarantined"}
		if renamed {
			info.was = field[3]
		}
		r[uint32(group)] = info
	}
	return r, lines.Err()
}

// checkReplica accepts what can stand in the register.
func checkReplica(replica string) error {
	if replica == "" || len(replica) > maxReplica {
		return fmt.Errorf("store: %q is no name for a replica (1 to %d characters)", replica, maxReplica)
	}
	for _, c := range []byte(replica) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("store: %q is no name for a replica (visible ASCII)", replica)
		}
	}
	return nil
}

// Replicas returns the register, by group, also when the log itself is damaged;
// ErrDamaged if the register is.
func (d *Dir) Replicas() ([]GroupInfo, error) {
	r, err := d.readRegister()
	if err != nil {
		return nil, err
	}
	return r.sorted(), nil
}

func (d *Dir) readRegister() (register, error) {
	data, err := readSealed(filepath.Join(d.path, registerFile))
	if err != nil {
		return nil, err
	}
	r, err := decodeRegister(data)
	if err != nil {
		return nil, damagedf("file "+registerFile, "%v", err)
	}
	return r, nil
}

func (d *Dir) writeRegister(r register) error {
	d.filesMu.Lock()
	defer d.filesMu.Unlock()
	defer d.watch.end(d.watch.begin(opFileWrite))
	return d.disk.writeSealed(filepath.Join(d.path, registerFile), r.encode())
}
