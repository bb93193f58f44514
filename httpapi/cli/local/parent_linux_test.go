package local

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestChildrenDieWithParent: even SIGKILL leaves no node behind.
func TestChildrenDieWithParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	parent := exec.Command(self, "doomed-parent", t.TempDir())
	parent.Stderr = os.Stderr
	pipe, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	for {
		n, err := pipe.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			break
		}
	}
	pids := strings.Fields(out.String())
	if len(pids) != 2 {
		t.Fatalf("pids %q", out.String())
	}
	parent.Process.Kill()
	parent.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		for running(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("child %d outlives its parent", pid)
			}
			time.Sleep(pollEvery)
		}
	}
}

// running reports whether a process exists and is more than a zombie that
// nobody has waited for yet.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}
