// Package hunt is the hunt document: what an organiser writes, and what a node
// makes of it.
//
// A document comes as JSON ([Parse]) or YAML ([ParseYAML]). Both are read into
// one tree of values, and the tree is read strictly: an unknown field, a field
// given twice or a wrong type is a problem, and so is everything that
// [Document.Validate] finds. A reader of an [*Error] sees all of them at once,
// each with its path and line.
//
// From a valid document a node makes two things, and neither contains the other:
//
//	Document ── Rules ──> partition.Rules   replicated: points, unlocks, limits; no text
//	         └─ NewMatcher ──> Matcher      on the leader: answers, nudges, replies
//
// Matching needs Unicode tables, which change with the Go release, so it happens
// before a submission is proposed and its outcome travels in the command.
package hunt
