package controller

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// show prints a part of a State for a script.
func show(s *State, what string) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	switch what {
	case "cluster":
		say("%s founded=%t level=%d slots=%d created=%s %+v", s.Cluster(), s.Founded(), s.Level(), s.SlotVersion(), s.Created(), s.Settings())
	case "versions":
		say("%d: table %d, members %d, catalogue %d", s.Version(), s.TableVersion(), s.MembersVersion(), s.CatalogueVersion())
	case "members":
		for _, m := range s.Members() {
			say("%s %s %s%s level=%d %s %s since %s incarnation=%d", m.ID, m.Name, m.Address, m.Zone, m.Level, m.State, m.Duty, m.Since, m.Incarnation)
		}
	case "table":
		for _, p := range s.Partitions() {
			say("%s", describeRow(p))
		}
	case "hunts":
		for _, h := range s.Hunts() {
			say("%s", describeHunt(h))
		}
	case "deleted":
		for _, h := range s.Deleted() {
			say("%s deleted %s", describeHunt(h), h.Changed)
		}
	case "documents":
		names := map[string]string{}
		for c := 'a'; c <= 'z'; c++ {
			hash := sha256.Sum256(scriptDocument(string(c)))
			names[string(hash[:])] = string(c)
		}
		var lines []string
		for hash, d := range s.documents.all() {
			lines = append(lines, fmt.Sprintf("%s %d/%d refs=%d idle=%d\n", names[hash], len(d.data), d.total, d.refs, d.idle))
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
	case "tokens":
		for _, k := range s.Tokens() {
			say("%v", k)
		}
	case "register":
		for _, e := range s.Snapshots() {
			say("partition %d at %d on %s", e.Partition, e.Index, e.Replica)
		}
	default:
		return "nothing is called " + what + "\n"
	}
	if b.Len() == 0 {
		return "none\n"
	}
	return b.String()
}

func describeRow(p Partition) string {
	s := fmt.Sprintf("%d slots %d..%d epoch=%d", p.ID, p.Range.First, p.Range.Last, p.Epoch)
	if p.Founded {
		s += " founded"
	}
	if p.Base > 0 {
		s += fmt.Sprintf(" since %d of %s", p.Base, p.Adopt)
	}
	for _, r := range p.Target {
		s += " " + r.Replica.String()
		if !r.Voter {
			s += "?"
		}
		if r.Replica.Node == p.Preferred {
			s += "*"
		}
	}
	return s
}
