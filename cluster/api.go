package cluster

import (
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// Consistency of a read.
type Consistency uint8

const (
	// Default reads are linearizable; boards are at most 1 s old.
	Default Consistency = iota
	// Strong boards and stats include everything acknowledged before.
	Strong
	// Stale reads come from any replica; Freshness says how old at most.
	Stale
)

// Freshness bounds the age of a read's state: zero for a linearizable read.
type Freshness time.Duration

// HuntRef is a hunt of one incarnation.
type HuntRef struct {
	ID          fsm.HuntID
	Incarnation fsm.Incarnation
}

// Submission is an answer to be judged.
type Submission struct {
	Hunt       HuntRef
	Team       fsm.TeamID
	Generation uint32 // of the team's token; 0 for an organizer
	Clue       fsm.ClueID
	Answer     string
	Key        string
	Player     string
	At         fsm.Time // of an import; 0: now
}

// BoardQuery asks for Limit rows after a place (nil: from the top).
type BoardQuery struct {
	Division    string // empty: everybody
	After       *partition.Place
	Limit       int
	Consistency Consistency
}

// BoardPage is a merged page with exact ranks.
type BoardPage struct {
	Rows  []partition.Row
	Ranks []int // of each row
	AsOf  fsm.Time
	More  bool // there are rows after the last
}

// HuntInfo is a catalogue entry with its document (JSON).
type HuntInfo struct {
	controller.Hunt
	Document []byte
}

// Principal is who a token speaks for.
type Principal struct {
	Role       string // admin, organizer, team
	Hunt       HuntRef
	Team       fsm.TeamID
	Generation uint32
	Expires    fsm.Time
}
