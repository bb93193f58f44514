package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCPUs: children begin on the CPUs that they are to run on, and this process
// stays on its own.
func TestCPUs(t *testing.T) {
	all, err := CPUs()
	if err != nil || len(all) == 0 {
		t.Fatalf("%v, %v", all, err)
	}
	last := all[len(all)-1]
	s, err := newSpawner([]int{last}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	log := filepath.Join(t.TempDir(), "log")
	p, err := s.start("/bin/cat", []string{"/proc/self/status"}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	status, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Cpus_allowed_list:\t" + strconv.Itoa(last) + "\n"; !strings.Contains(string(status), want) {
		t.Errorf("the child may run on other CPUs than %d:\n%s", last, status)
	}
	if now, err := CPUs(); err != nil || len(now) != len(all) {
		t.Errorf("this process may run on %v, and could on %v", now, all)
	}
	if _, err := newSpawner([]int{100_000}, nil); err == nil {
		t.Error("a CPU that does not exist was taken")
	}
}
