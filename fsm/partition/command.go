package partition

import "cairn/fsm"

// Limits. Beyond each of them a command is refused; none is ever silently cut.
const (
	MaxEntry       = 256 << 10 // bytes of one log entry (a batch of commands)
	MaxBatch       = 4096      // commands in one entry
	MaxRules       = 8 << 20   // bytes of a hunt's rules, inflated
	MaxSubmissions = 10_000    // recorded submissions (and so keys) of one team
	MaxKey         = 64        // bytes of an idempotency key
	MaxAnswer      = 4_000     // bytes of a raw answer (1,000 characters)
	MaxReply       = 2_000     // bytes of a nudge's or an answer's reply
	MaxName        = 800       // bytes of a name (200 characters)
	MaxMeta        = 4 << 10   // bytes of a team's meta, a JSON object
	MaxTeams       = 1 << 20   // teams of one hunt in one partition
	MaxHistory     = 8 << 20   // bytes of one team's recorded submissions
	MaxClueIDs     = 1 << 16   // clue ids that all versions of one incarnation ever used
	MaxPacked      = 255 << 10 // bytes of a hunt's rules as InstallHunt carries them, so that it fits an entry
)

// Match is what the leader found when it compared an answer with the hunt.
type Match uint8

const (
	Wrong Match = iota
	Correct
	Nudged
)

// Command is one of the command structs below.
type Command interface{ command() }

// Init is the first command of every partition's log. It gives the machine its
// range and epoch; before it everything else is refused with Unavailable, and
// a second Init is a Conflict.
type Init struct {
	Partition fsm.PartitionID
	Range     fsm.Range
	Epoch     uint64
}

// InstallHunt brings a version of a hunt's rules into the partition.
// One of these happens:
//   - the version is newer than the installed one: it is installed;
//   - it is the installed one: nothing changes, no error;
//   - it is older, or of an incarnation that is older or deleted: Stale.
type InstallHunt struct {
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation
	Version     uint64
	Rules       []byte // Rules.Encode
}

// DeleteHunt removes a hunt with all its teams. The incarnation, and every
// older one, is refused from then on. Repeating it changes nothing.
type DeleteHunt struct {
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation
}

// CreateTeam registers a team. With the Key it was created with it answers the
// team as it was created (Created false); with another key, Conflict.
type CreateTeam struct {
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation
	Public      bool // by a player, not an organiser: only where registration is open
	Team        fsm.TeamID
	Name        string
	Kind        TeamKind
	Division    string
	Key         string
}

// PatchTeam changes the fields whose pointers are set.
type PatchTeam struct {
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation
	Team        fsm.TeamID
	Name        *string
	Kind        *TeamKind
	Status      *TeamStatus
	Division    *string
	Meta        *string // a JSON object, opaque here
	Reason      string
}

// RotateToken makes a team's older tokens void by raising its generation. With
// the Key of the last rotation nothing changes and the same generation is
// answered; an empty Key always rotates.
type RotateToken struct {
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation
	Team        fsm.TeamID
	Key         string
}

// Submit judges one answer. The leader matched it under Version of the hunt;
// Apply refuses any other version with Stale, and the leader matches again.
type Submit struct {
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation
	Version     uint64
	Team        fsm.TeamID
	Generation  uint32 // of the team's token; 0 when an organiser submits
	Clue        fsm.ClueID
	Match       Match
	Digest      uint64 // first 8 bytes of SHA-256 of the normalised answer
	Answer      string // raw
	Reply       string // of the answer or nudge that matched
	Key         string
	Player      string
	At          fsm.Time // of an import; 0 for log time
}

// Checkpoint changes nothing but the log time, as every command does. Its Result
// says that the state behind its entry is to be hashed: replicas that have the
// same state there have the same hash. Who applies entries freezes the machine
// then and hashes the copy, so that Apply waits for no hash. It needs
// controller.LevelCheckpoint.
type Checkpoint struct{}

func (*Init) command()        {}
func (*InstallHunt) command() {}
func (*DeleteHunt) command()  {}
func (*CreateTeam) command()  {}
func (*PatchTeam) command()   {}
func (*RotateToken) command() {}
func (*Submit) command()      {}
func (*Checkpoint) command()  {}

// TeamKind: a test team plays before the start and is never ranked.
type TeamKind uint8

const (
	Normal TeamKind = iota
	Test
)

// TeamStatus: only active teams are listed; a disqualified one cannot submit.
type TeamStatus uint8

const (
	Active TeamStatus = iota
	Hidden
	Disqualified
)
