package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// QuarantineLogs gives up the log of all partition groups, after Logs has said
// that it is damaged. It marks every replica in the register as quarantined,
// moves the log to quarantine/ in place of the one that is there, and returns
// the replicas that were lost. The next Logs begins with an empty one.
//
// If the register is damaged too, it is moved as well, and nil is returned:
// then only the controller knows which replicas this node had.
func (d *Dir) QuarantineLogs() ([]GroupInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, errClosed
	case d.logs != nil:
		return nil, errors.New("store: the partitions' log is open, so it is not damaged")
	}
	lost, err := d.quarantineLogs()
	if err != nil {
		return nil, fmt.Errorf("quarantine the partitions' log: %w", err)
	}
	d.opts.Logger.Warn("the partitions' log was quarantined", "replicas", len(lost), "directory", quarantineDir)
	return lost, nil
}

// quarantineLogs can be cut off anywhere and repeated: the register, which comes
// first, already says that nothing in the file counts.
func (d *Dir) quarantineLogs() ([]GroupInfo, error) {
	n, err := d.nextQuarantine()
	if err != nil {
		return nil, err
	}
	r, err := d.readRegister()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r = register{}
	case errors.Is(err, ErrDamaged):
		if err := d.moveAside(registerFile, n); err != nil {
			return nil, err
		}
		r = register{}
	case err != nil:
		return nil, err
	}
	for group, info := range r {
		info.Quarantined = true
		r[group] = info
	}
	if err := d.writeRegister(r); err != nil {
		return nil, err
	}
	if err := d.moveAside(logsDir, n); err != nil {
		return nil, err
	}
	if len(r) == 0 {
		return nil, nil
	}
	return r.sorted(), nil
}

// nextQuarantine removes what lies in quarantine and returns the next number.
func (d *Dir) nextQuarantine() (int, error) {
	dir := filepath.Join(d.path, quarantineDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	next := 1
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.Atoi(number); err == nil {
			next = max(next, n+1)
		}
		if err := d.disk.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// moveAside moves a file or a directory, if it is there, to quarantine/N.name.
func (d *Dir) moveAside(name string, n int) error {
	to := filepath.Join(d.path, quarantineDir, strconv.Itoa(n)+"."+name)
	err := d.disk.Rename(filepath.Join(d.path, name), to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, d.disk.SyncDir(filepath.Dir(to)), d.disk.SyncDir(d.path))
}
