package cli

import "testing"

// TestCleanName: a node's name, which its operator chose, leads no file of a
// bundle out of its folder.
func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"n1": "n1", "Rack-3_b": "Rack-3_b", "../../etc/passwd": "______etc_passwd",
		`a\b:c`: "a_b_c", "ä n\x00": "__n_", ".": "_", "": "",
	} {
		if got := clean(name); got != want {
			t.Errorf("clean(%q) = %q, want %q", name, got, want)
		}
	}
}
