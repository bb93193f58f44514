package faulttest

import "fmt"

// checkTable: to whoever looks at one node, within one life of it, neither the
// table's version nor the epoch of a partition goes back.
func checkTable(e *evidence) (findings []string) {
	type eye struct{ node, life, client int }
	last := map[eye]*Op{}
	// In the order of their ends: two looks of one client do not overlap.
	for _, op := range e.looks() {
		at := eye{op.Node, op.Table.Life, op.Client}
		before := last[at]
		last[at] = op
		if before == nil {
			continue
		}
		if op.Table.Version < before.Table.Version {
			findings = append(findings, fmt.Sprintf("node %d went from version %d of the table back to %d at %v", op.Node, before.Table.Version, op.Table.Version, op.Return))
		}
		for p := range min(len(op.Table.Epochs), len(before.Table.Epochs)) {
			if op.Table.Epochs[p] < before.Table.Epochs[p] {
				findings = append(findings, fmt.Sprintf("on node %d partition %d went from epoch %d back to %d at %v", op.Node, p, before.Table.Epochs[p], op.Table.Epochs[p], op.Return))
			}
		}
	}
	return findings
}

func (e *evidence) looks() (out []*Op) {
	for i := range e.ops {
		if op := &e.ops[i]; op.Kind == ReadTable && op.Outcome == OK && op.Table != nil {
			out = append(out, op)
		}
	}
	return out
}

// checkHashes: the replicas of a partition have one state at the end.
func checkHashes(e *evidence) (findings []string) {
	for i := range e.ops {
		op := &e.ops[i]
		if op.Kind != Hashes {
			continue
		}
		if op.Outcome != OK {
			findings = append(findings, "nobody could tell the replicas' hashes at the end: "+op.Text)
		}
		sums := map[int]string{}
		for _, h := range op.Hashes {
			first, known := sums[h.Partition]
			switch {
			case h.Sum == "":
				findings = append(findings, fmt.Sprintf("%s did not tell its hash of partition %d", h.Node, h.Partition))
			case !known:
				sums[h.Partition] = h.Sum
			case first != h.Sum:
				findings = append(findings, fmt.Sprintf("partition %d: %s has another state than the replica that was asked first", h.Partition, h.Node))
			}
		}
	}
	return findings
}

// checkSense: no answer was one that nobody should ever get.
func checkSense(e *evidence) (findings []string) {
	for i := range e.ops {
		op := &e.ops[i]
		if op.Outcome == Wrong {
			findings = append(findings, fmt.Sprintf("node %d answered a %s at %v with %s: %s", op.Node, op.Kind, op.Return, op.Code, op.Text))
		}
		if op.Outcome == Refused && op.Kind == Submit && op.Code == "precondition_failed" {
			findings = append(findings, fmt.Sprintf("node %d answered a submission with %s", op.Node, op.Code))
		}
	}
	return findings
}
