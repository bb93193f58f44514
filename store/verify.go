package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"cairn/store/boltcheck"
)

// openBolt opens a bbolt file that exists, after checking its structure byte by
// byte: bbolt itself trusts what it maps, falls back to the older of its two
// meta pages without a word, and dies of a bad page in a goroutine of its own.
func openBolt(path string, noSync bool) (*bbolt.DB, error) {
	if err := checkBolt(path); err != nil {
		return nil, err
	}
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, boltOptions(noSync))
		return err
	})
	return db, err
}

// checkBolt verifies the structure of a bbolt file.
func checkBolt(path string) error {
	err := boltcheck.File(path)
	if bad, ok := errors.AsType[*boltcheck.Finding](err); ok {
		return damagedf("file "+path, "%v", bad)
	}
	return err
}

// load verifies the whole log and fills groups. What it returns concerns the
// file; damage of one group is kept with that group.
func (l *Logs) load() error {
	return l.db.View(func(tx *bbolt.Tx) error {
		records := tx.Bucket(stateBucket)
		if records == nil {
			return damagedf("file "+logsFile, "it has no records")
		}
		txid, lines, err := decodeHead(records.Get(headKey))
		switch {
		case err != nil:
			return damagedf("file "+logsFile, "%v", err)
		case txid != uint64(tx.ID()):
			return damagedf("file "+logsFile, "its head is of transaction %d and its last one was %d", txid, tx.ID())
		case records.Stats().KeyN != 1+len(lines):
			return damagedf("file "+logsFile, "it has %d records for %d groups", records.Stats().KeyN-1, len(lines))
		}
		l.lines = lines
		for _, line := range lines {
			g := &GroupLog{logs: l, group: line.group}
			s, err := loadGroup(tx, line)
			if err != nil {
				g.damage = damagedf(fmt.Sprintf("the log of group %d", line.group), "%v", err)
				l.dir.opts.Logger.Error("damage found", "group", line.group, "error", err)
			} else {
				g.state.Store(s)
			}
			l.groups[line.group] = g
		}
		return l.checkRegister()
	})
}

// checkRegister compares the register with the groups of the file.
func (l *Logs) checkRegister() error {
	for group, info := range l.register {
		if info.Quarantined {
			continue
		}
		g := l.groups[group]
		if g == nil {
			return damagedf("file "+logsFile, "group %d is missing", group)
		}
		if s := g.state.Load(); s != nil && s.replica != info.Replica {
			return damagedf("file "+registerFile, "group %d is of replica %s there, and of %s in %s", group, info.Replica, s.replica, logsFile)
		}
	}
	return nil
}

// loadGroup verifies a group's record and entries.
func loadGroup(tx *bbolt.Tx, line line) (*state, error) {
	record := tx.Bucket(stateBucket).Get(recordKey(line.group))
	if len(record) < 4 || crc32.Checksum(record, castagnoli) != line.sum || binary.BigEndian.Uint32(record) != line.group {
		return nil, errors.New("its record is not the one that was written last")
	}
	s, err := decodeState(record[4:])
	if err != nil {
		return nil, err
	}
	bucket := tx.Bucket(bucketName(line.group))
	if bucket == nil {
		return nil, errors.New("its entries are missing")
	}
	next, tail := s.first, uint32(0)
	cursor := bucket.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if next == 0 || next > s.last || !bytes.Equal(k, indexKey(next)) {
			return nil, fmt.Errorf("it has a key %x where entry %d of %d..%d should be", k, next, s.first, s.last)
		}
		sum, prev, err := checkEntry(v, line.group, next)
		if err != nil {
			return nil, err
		}
		if next > s.first && prev != tail {
			return nil, fmt.Errorf("entry %d does not follow entry %d", next, next-1)
		}
		tail = sum
		next++
	}
	if s.last > 0 && next != s.last+1 {
		return nil, fmt.Errorf("it ends before entry %d of %d..%d", next, s.first, s.last)
	}
	if tail != s.tail {
		return nil, fmt.Errorf("entry %d is not the one that was written last", s.last)
	}
	return s, nil
}

// clean removes groups that the register does not have as live, which a crash
// within Create, Drop or Quarantine left, and what damage left under names of no
// group.
func (l *Logs) clean() error {
	for group, g := range l.groups {
		if info, ok := l.register[group]; ok && !info.Quarantined {
			continue
		}
		l.dir.opts.Logger.Info("removing a log that no replica claims", "group", group)
		delete(l.groups, group)
		if err := l.erase(g); err != nil {
			return err
		}
	}
	strays, err := l.strays()
	if err != nil || len(strays) == 0 {
		return err
	}
	l.dir.opts.Logger.Warn("removing buckets of no group", "count", len(strays))
	return l.commit(&request{apply: func(t *txn) error {
		for _, name := range strays {
			t.removeRoot(name)
		}
		return nil
	}})
}

// strays returns the names beside the records and the groups' buckets.
func (l *Logs) strays() (names [][]byte, err error) {
	known := map[string]bool{string(stateBucket): true}
	for group := range l.groups {
		known[string(bucketName(group))] = true
	}
	err = l.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			if !known[string(name)] {
				names = append(names, bytes.Clone(name))
			}
			return nil
		})
	})
	return names, err
}
