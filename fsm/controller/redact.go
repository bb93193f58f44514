package controller

import "fmt"

// The Format methods below keep secrets, hashes of secrets and documents (which
// hold the answers) out of logs, whatever verb prints them. They are not
// String methods, for %d and %#v would go round those.

// Format prints who founded what, and no secret.
func (f Found) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "found cluster %q at %s by node %q with %d partitions and %d tokens",
		f.Cluster, f.Now, f.Member.ID, f.Partitions, len(f.Tokens))
}

// Format prints what the token allows, and not its hash.
func (k Token) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%s token %q", k.Role, k.ID)
	if k.Hunt != "" {
		fmt.Fprintf(s, " of hunt %q", k.Hunt)
	}
	if k.Expires != 0 {
		fmt.Fprintf(s, " until %s", k.Expires)
	}
	if k.Limited {
		fmt.Fprintf(s, " with %d uses", k.Uses)
	}
}

// Format prints which part of which document this is, and not its bytes.
func (p PutChunk) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%d bytes at %d of %d of document %x", len(p.Data), p.Off, p.Total, p.Hash[:4])
}

// Format prints the size of a State.
func (s State) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "controller state %d of cluster %q: %d members, %d partitions, %d hunts, %d tokens",
		s.version, s.cluster, s.members.len(), len(s.partitions), s.hunts.len(), s.tokens.len())
}
