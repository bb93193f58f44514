//go:build linux

package blackbox

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"cairn/httpapi/client"
	"cairn/store/lazyfs"
)

// slowSync is how much longer every sync of the slow disk takes: far beyond what
// counts as slow, far below what ends a node.
const slowSync = 250 * time.Millisecond

// TestSlowDisk gives one node of three a disk whose syncs become slow while teams
// play. The node answers every heartbeat check. It must lose its leaderships, the
// others must not wait for it once it has, and it leads again when its disk has
// been well for a while. Its times are printed.
func TestSlowDisk(t *testing.T) {
	if !longForm {
		t.Skip("takes a minute: CAIRN_LONG=1 (make sim) runs it")
	}
	for _, leader := range []bool{false, true} {
		name := "a follower of the controller"
		if leader {
			name = "the leader of the controller"
		}
		t.Run(name, func(t *testing.T) { slowDisk(t, leader) })
	}
}

func slowDisk(t *testing.T, leader bool) {
	c := start(t, 3)
	var disks []*lazyfs.FS
	for i := range c.Nodes() {
		disks = append(disks, c.diskOf(i))
	}
	victim := c.controller(leader)
	disk := disks[victim]
	doc := quiz("slowdisk", 1)
	teams, tokens := c.open(doc, 64)
	eventually(t, settleWithin, "it leads something", func() error { return c.slowAndLeads(victim, false, true) })

	p := &crowd{c: c, books: newBooks(doc.id()), tokens: tokens, hunt: doc.id()}
	stop := p.play(teams)
	defer stop()
	wait(t.Context(), 5*time.Second)
	p.lap("before")
	disk.DelaySyncs(slowSync)
	began := time.Now()
	eventually(t, settleWithin, "it is slow and leads nothing", func() error { return c.slowAndLeads(victim, true, false) })
	t.Logf("with syncs of %v it leads nothing after %v", slowSync, time.Since(began).Round(100*time.Millisecond))
	if c.controller(true) == victim {
		t.Error("it leads the controller")
	}
	p.lap("while it led with a slow disk")
	wait(t.Context(), 5*time.Second)
	p.lap("while it followed with a slow disk")
	if err := c.slowAndLeads(victim, true, false); err != nil {
		t.Errorf("its disk is still slow: %v", err)
	}
	disk.DelaySyncs(0)
	well := time.Now()
	eventually(t, settleWithin, "it is well and leads again", func() error { return c.slowAndLeads(victim, false, true) })
	t.Logf("it leads again %v after its disk was well", time.Since(well).Round(100*time.Millisecond))
	p.lap("until it led again")

	stop()
	if n := p.failed.Load(); n > 0 {
		t.Errorf("%d of %d submissions failed, the first: %v", n, p.done.Load(), *p.first.Load())
	}
	p.books.audit(t, c.admin(), client.Default)
}

// diskOf moves a node's data to a file system whose syncs can be made slow.
func (c *cluster) diskOf(i int) *lazyfs.FS {
	c.t.Helper()
	c.Kill(i)
	data := c.Data(i)
	backing := filepath.Join(filepath.Dir(data), filepath.Base(data)+".disk")
	if err := os.Rename(data, backing); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		c.t.Fatal(err)
	}
	disk, err := lazyfs.Mount(backing, data, 1)
	if err != nil {
		c.t.Skipf("NO SLOW DISK: it needs /dev/fuse and the right to mount: %v", err)
	}
	c.t.Cleanup(func() {
		c.Kill(i)
		if err := disk.Unmount(); err != nil {
			c.t.Error(err)
		}
	})
	c.revive(i)
	c.settle()
	return disk
}
