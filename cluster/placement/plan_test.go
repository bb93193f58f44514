package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// nodesOf reads "a b/x c! d- e~" as nodes: /x is in zone x, ! is dead, - leaves, ~
// is shunned.
func nodesOf(spec string) []Node {
	var out []Node
	for _, s := range strings.Fields(spec) {
		n := Node{ID: fsm.NodeID(s[:1])}
		for i, c := range s[1:] {
			switch c {
			case '!':
				n.Dead = true
			case '-':
				n.Leaving = true
			case '~':
				n.Shun = true
			case '/':
				n.Zone = s[i+2 : i+3]
			}
		}
		out = append(out, n)
	}
	return out
}

// rowsOf reads "A*b*c* b*c*D*" as rows: * votes, the capital is preferred.
func rowsOf(spec string) []controller.Partition {
	var out []controller.Partition
	for i, s := range strings.Fields(spec) {
		row := controller.Partition{ID: fsm.PartitionID(i), Epoch: 7}
		for k, c := range s {
			if c == '*' {
				continue
			}
			id := fsm.NodeID(strings.ToLower(string(c)))
			if c < 'a' {
				row.Preferred = id
			}
			row.Target = append(row.Target, controller.TargetReplica{Replica: fsm.Replica{Node: id, Incarnation: 1}, Voter: strings.HasPrefix(s[k+1:], "*")})
		}
		out = append(out, row)
	}
	return out
}

// planned writes changes as "0:A*b*c* join", in the notation of rowsOf.
func planned(changes []Change) string {
	var out []string
	for _, c := range changes {
		s := ""
		for _, w := range c.Target {
			id := string(w.Node)
			if w.Node == c.Preferred {
				id = strings.ToUpper(id)
			}
			if s += id; w.Voter {
				s += "*"
			}
		}
		out = append(out, fmt.Sprintf("%d:%s %s", c.Partition, s, c.Reason))
	}
	return strings.Join(out, ", ")
}

func TestPlanExamples(t *testing.T) {
	yes := []bool{true, true, true, true, true, true, true, true, true}
	for _, tt := range []struct {
		why, nodes, table string
		lost, moving      []bool
		rate              []float64
		want              string
	}{
		{"nothing to do", "a", "A*", nil, nil, nil, ""},
		{"no members", "", "A*", nil, nil, nil, ""},
		{"a second node gets a copy that does not vote", "a b", "A*", nil, nil, nil, "0:A*b join"},
		{"which stays so", "a b", "A*b", nil, nil, nil, ""},
		{"a third makes three voters", "a b c", "A*b A*b A*b", nil, nil, nil, "0:a*b*C* join, 1:a*B*c* join, 2:A*b*c* join"},
		{"even where the second is on its way", "a b c", "A*b", nil, yes, nil, "0:A*b*c* join"},
		{"a fourth takes its share", "a b c d", "A*b*c* a*B*c* a*b*C* A*b*c*", nil, nil, nil, "0:A*b*d* balance, 1:B*c*d* balance, 3:a*c*D* balance"},

		{"death is repaired at once", "a b c! d", "A*b*c* a*B*c* a*b*C*", nil, nil, nil, "0:A*b*d* repair, 1:a*B*d* repair, 2:a*b*D* repair"},
		{"on the move or not", "a b c! d", "A*b*c*", nil, yes, nil, "0:A*b*d* repair"},
		{"with nowhere to go the dead one stays, and leads nothing", "a b c!", "A*b*c* a*b*C*", nil, nil, nil, "1:a*B*c* repair"},
		{"not if the majority is lost", "a! b c! d", "A*b*c*", yes, nil, nil, ""},
		{"a dead one of two", "a b! c", "A*b", nil, nil, nil, "0:A*c repair"},
		{"a dead one of two, alone", "a b!", "A*b", nil, nil, nil, ""},
		{"who is no member is replaced", "a b d", "A*b*c*", nil, nil, nil, "0:A*b*d* repair"},
		{"or dropped", "a b", "A*b*c*", nil, nil, nil, "0:A*b repair"},
		{"unless nobody is left to name", "a", "b*C*d*", nil, nil, nil, "0:A* repair"},

		{"a node leaves", "a b c- d", "A*b*c* b*C*d*", nil, nil, nil, "0:A*b*d* leave, 1:a*B*d* leave"},
		{"one at a time in a row", "a b- c- d e", "A*b*c*", nil, nil, nil, "0:A*c*e* leave"},
		{"not while the row is on the move", "a b c- d", "A*b*c*", nil, yes, nil, ""},
		{"three become two", "a b c-", "A*b*c* a*b*C*", nil, nil, nil, "0:A*b leave, 1:aB* leave"},
		{"two become one", "a- b", "A*b", nil, nil, nil, "0:B* leave"},
		{"never nobody", "a- b-", "A*b", nil, nil, nil, ""},
		{"nor the last that lives", "a- b!", "A*b", nil, nil, nil, ""},
		{"a dead one is removed by force", "a b c-! d", "A*b*c*", nil, nil, nil, "0:A*b*d* leave"},
		{"and three become two", "a b c-!", "A*b*c*", nil, nil, nil, "0:A*b leave"},

		{"a shunned node leads nothing", "a~ b c", "A*b*c*", nil, nil, nil, "0:a*B*c* leader"},
		{"unless nobody else can", "a~ b", "A*b", nil, nil, nil, ""},
		{"it leads again", "a b c", "a*B*c* a*B*c* a*b*C*", nil, nil, nil, "0:A*b*c* leader"},
		{"not while the row is on the move", "a~ b c", "A*b*c*", nil, yes, nil, ""},
		{"but a dead one goes", "a! b c", "A*b*c*", nil, yes, nil, "0:a*B*c* repair"},

		{"zones are covered from the start", "a/x b/x c/y d/z", "A*", nil, nil, nil, "0:A*c*d* join"},
		{"or later", "a/x b/x c/x d/y e/z", "A*b*c*", nil, nil, nil, "0:A*c*e* zone"},
		{"one replica at a time", "a/x b/x c/x d/y e/z", "A*b*d*", nil, nil, nil, "0:A*d*e* zone"},
		{"as far as there are zones", "a/x b/x c/y", "A*b*c*", nil, nil, nil, ""},
		{"a repair stays in the zones", "a/x b/y c/z! d/x e/z", "A*b*c*", nil, nil, nil, "0:A*b*e* repair"},

		{"a busy leader gives", "a b c", "A*b*c* A*b*c* a*B*c* a*B*c* a*b*C* a*b*C*", nil, nil, []float64{90, 90, 20, 20, 20, 20}, "0:a*B*c* leader, 2:A*b*c* leader"},
		{"not while anything is on the move", "a b c", "A*b*c* A*b*c* a*B*c* a*B*c* a*b*C* a*b*C*", nil, yes[:1], []float64{90, 90, 20, 20, 20, 20}, ""},
		{"busy nodes give replicas for quiet ones", "a b c d e f", "A*b*c* d*E*f* a*B*c* D*e*f* a*b*C* d*e*F*", nil, nil, []float64{90, 10, 90, 10, 90, 10}, "0:a*B*d* balance, 1:c*E*f* balance, 2:A*c*e* balance, 3:b*D*f* balance"},
		{"again not while anything is on the move", "a b c d e f", "A*b*c* d*E*f* a*B*c* D*e*f* a*b*C* d*e*F*", nil, yes[:1], []float64{90, 10, 90, 10, 90, 10}, ""},
		{"not for a trifle", "a b c", "A*b*c* A*b*c* a*B*c* a*B*c* a*b*C* a*b*C*", nil, nil, []float64{30, 30, 24, 24, 24, 24}, ""},
		{"nor in an idle cluster", "a b c", "A*b*c* A*b*c* a*B*c* a*B*c* a*b*C* a*b*C*", nil, nil, []float64{4, 4, 0, 0, 0, 0}, ""},
	} {
		t.Run(tt.why, func(t *testing.T) {
			v := View{Nodes: nodesOf(tt.nodes), Table: rowsOf(tt.table), Lost: tt.lost, Moving: tt.moving, Rate: tt.rate}
			if got := planned(Plan(v)); got != tt.want {
				t.Errorf("nodes %s, table %s:\n got %s\nwant %s", tt.nodes, tt.table, got, tt.want)
			}
			slices.Reverse(v.Nodes)
			if got := planned(Plan(v)); got != tt.want {
				t.Errorf("with the nodes in another order: %s", got)
			}
		})
	}
}
