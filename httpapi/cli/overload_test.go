package cli

import (
	"slices"
	"testing"
)

// TestShare: the nodes and the load generator share the CPUs, and neither is left
// without.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		cores      int
		all        []int
		nodes, own []int
		refused    bool
	}{
		{cores: halfOfThem, all: []int{0, 1}, nodes: []int{0}, own: []int{1}},
		{cores: halfOfThem, all: []int{2, 3, 5}, nodes: []int{2}, own: []int{3, 5}},
		{cores: halfOfThem, all: []int{4}},
		{cores: 3, all: []int{0, 1, 2, 3}, nodes: []int{0, 1, 2}, own: []int{3}},
		{cores: 0, all: []int{0, 1}},
		{cores: 2, all: []int{0, 1}, refused: true},
		{cores: 1, all: []int{0}, refused: true},
		{cores: -2, all: []int{0, 1}, refused: true},
	} {
		nodes, own, err := overloadPlan{cores: c.cores}.share(c.all)
		if (err != nil) != c.refused || !slices.Equal(nodes, c.nodes) || !slices.Equal(own, c.own) {
			t.Errorf("%d of %v: nodes %v, generator %v, %v; want %v, %v, refused %v", c.cores, c.all, nodes, own, err, c.nodes, c.own, c.refused)
		}
	}
}
