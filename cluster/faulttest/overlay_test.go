package faulttest

import (
	"os"
	"testing"
)

// TestOverlay: every place that a mutant changes is in the source, once.
func TestOverlay(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Mutants {
		if names[m.Name] || m.Name == "" || m.Does == "" {
			t.Errorf("mutant %q has no name of its own, or does nothing", m.Name)
		}
		names[m.Name] = true
	}
	path, err := Overlay("../..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
