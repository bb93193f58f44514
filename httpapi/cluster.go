package httpapi

import (
	"context"
	"time"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

// Cluster is what the handlers need of the node they run in. Every method
// honours ctx's deadline, and every error is an *fsm.Error or wraps one: what
// has no definite answer by the deadline is OutcomeUnknown if something was
// sent, Unavailable if nothing was.
type Cluster interface {
	Play
	Catalogue
	Tokens
	Operator
}

// The types that pass between the handlers and the node are the node's.
type (
	Consistency = cluster.Consistency
	Freshness   = cluster.Freshness
	HuntRef     = cluster.HuntRef
	Submission  = cluster.Submission
	BoardQuery  = cluster.BoardQuery
	BoardPage   = cluster.BoardPage
	HuntInfo    = cluster.HuntInfo
	Principal   = cluster.Principal
)

const (
	Default = cluster.Default
	Strong  = cluster.Strong
	Stale   = cluster.Stale
)

// Play is the game: operations on one team go to the team's partition, those
// on a hunt to all partitions. hunt is the id and incarnation that the caller
// was authorised for.
type Play interface {
	// Overloaded returns the Overloaded with which a request of a team of the hunt
	// would be refused later, so that nothing needs to be spent on it.
	Overloaded(hunt fsm.HuntID) error
	// Submit judges and records one answer. The key makes it exactly-once.
	Submit(ctx context.Context, in Submission) (*partition.Submission, error)
	CreateTeam(ctx context.Context, cmd *partition.CreateTeam) (team *partition.Team, created bool, err error)
	PatchTeam(ctx context.Context, cmd *partition.PatchTeam) (*partition.Team, error)
	RotateToken(ctx context.Context, cmd *partition.RotateToken) (*partition.Team, error)

	Team(ctx context.Context, h HuntRef, team fsm.TeamID, c Consistency) (*partition.Team, Freshness, error)
	// Rank is the team's rank on its hunt's board given its place; 1 is best.
	Rank(ctx context.Context, h HuntRef, key partition.RankKey) (int, error)
	// Teams lists after a team id, in order of id, over all partitions; limit is
	// at most MaxPage+1, where the last row only tells that there are more.
	Teams(ctx context.Context, h HuntRef, after fsm.TeamID, limit int, c Consistency) ([]partition.Team, Freshness, error)
	// Submissions lists a team's history below a submission number (0: from the newest).
	Submissions(ctx context.Context, h HuntRef, team fsm.TeamID, below uint32, limit int, c Consistency) ([]partition.Submission, Freshness, error)
	Board(ctx context.Context, h HuntRef, q BoardQuery) (*BoardPage, Freshness, error)
	Stats(ctx context.Context, h HuntRef, c Consistency) (*partition.Stats, Freshness, error)
}

// Catalogue is the controller's catalogue of hunts. A hunt that the local copy
// lacks is asked of the controller before NotFound is answered. Put, SetState
// and Delete return when every partition has applied the change; if one cannot
// confirm in time, OutcomeUnknown, and the change completes by itself.
type Catalogue interface {
	CreateHunt(ctx context.Context, document []byte) (info *HuntInfo, created bool, err error)
	Hunt(ctx context.Context, id fsm.HuntID) (*HuntInfo, error)
	// FreshHunt is Hunt with every change that was acknowledged before the call.
	FreshHunt(ctx context.Context, id fsm.HuntID) (*HuntInfo, error)
	Hunts(ctx context.Context) ([]HuntInfo, error)
	PutHunt(ctx context.Context, id fsm.HuntID, ifVersion uint64, document []byte) (*HuntInfo, error)
	SetHuntState(ctx context.Context, id fsm.HuntID, state, reason string) (*HuntInfo, error)
	DeleteHunt(ctx context.Context, id fsm.HuntID) error
}

// Tokens verifies and manages tokens.
type Tokens interface {
	// Authenticate resolves a bearer token: Unauthenticated if it is unknown,
	// expired or forged. A team token's signature and incarnation are checked
	// here; its generation by the partition, in Submit, or by CheckTeam.
	Authenticate(ctx context.Context, token string) (*Principal, error)
	// CheckTeam asks the partition whether a team principal's generation holds.
	CheckTeam(ctx context.Context, p *Principal) error
	// TeamToken makes the token of a team's generation.
	TeamToken(h HuntRef, team fsm.TeamID, generation uint32) (string, error)
	CreateToken(ctx context.Context, role string, hunt fsm.HuntID, ttl time.Duration, uses uint32) (controller.Token, string, error)
	RevokeToken(ctx context.Context, id string) error
	ListTokens(ctx context.Context) ([]controller.Token, error)
}

// Operator is the view of the cluster.
type Operator interface {
	Routing(ctx context.Context) (*rest.Routing, error)
	Cluster(ctx context.Context) (*rest.Cluster, error)
	Partitions(ctx context.Context) (*rest.Partitions, error)
	Snapshots(ctx context.Context) (*rest.Snapshots, error)
	// Drain, Undrain, Leave and Remove change what is wanted of a node, named by
	// its id, its name or the beginning of its id, and return it as it is then.
	// What they begin goes on by itself.
	Drain(ctx context.Context, node string) (*rest.Node, error)
	Undrain(ctx context.Context, node string) (*rest.Node, error)
	Leave(ctx context.Context, node string) (*rest.Node, error)
	Remove(ctx context.Context, node string) (*rest.Node, error)
	// Transfer hands a partition to a voter and returns it once that one leads.
	Transfer(ctx context.Context, p fsm.PartitionID, to string) (*rest.Partition, error)
	// Recover has partitions without a majority, those named or all, go on from
	// what a survivor has; unless accept is set it only says what that means.
	Recover(ctx context.Context, partitions []fsm.PartitionID, accept bool) (*rest.Recoveries, error)
	// Checkpoint compares the states of the replicas of partitions, those named or
	// all, at one entry of each partition's log. Conflict: a node is of a release
	// that cannot.
	Checkpoint(ctx context.Context, partitions []fsm.PartitionID) (*rest.Checkpoints, error)
	// Live and Ready return all checks.
	Live() []rest.Check
	Ready() []rest.Check
}
