package httpapi

import (
	"net/http"

	"cairn/httpapi/rest"
)

// access says who may use a route. An admin may use all of them.
type access uint8

const (
	// open routes look at no token.
	open access = iota
	// anyToken wants a valid token of any role.
	anyToken
	// listHunts takes anybody; the handler shows what the token may see.
	listHunts
	// readHunt is for everybody if the hunt is public, else for its teams and
	// organizers.
	readHunt
	// register is for the hunt's organizers, and for everybody if its
	// registration is open.
	register
	// ownTeam is for the team itself and for the hunt's organizers.
	ownTeam
	// submit is ownTeam, but the team's generation is left to Cluster.Submit,
	// which checks it in the same log entry.
	submit
	// organize is for the hunt's organizers.
	organize
	// createHunt is for organizers; the handler checks the id in the body.
	createHunt
	// admin is for admins alone.
	admin
)

// route is one row of the API.
type route struct {
	method  string
	path    string
	access  access
	summary string
	query   []string // parameters, described in queryParams
	headers []string // of the request, described in headerParams
	in      any      // the body's type; nil: none
	out     any      // the answer's type; nil: none, or not JSON
	status  []int    // of success, the usual one first
	stream  bool     // NDJSON both ways; in and out are of a line
	plain   string   // media type of an answer that is not JSON
	hidden  bool     // not part of the API: left out of the OpenAPI document
	fresh   bool     // the catalogue's entry must be the present one, not this node's copy
	early   bool     // refused before it is looked at if there is no room for its hunt
	exempt  bool     // served beyond MaxRequests too: who asks must know
	handle  func(*api, *call) error
}

var (
	ok200     = []int{http.StatusOK}
	ok201     = []int{http.StatusCreated, http.StatusOK}
	deleted   = []int{http.StatusNoContent}
	paged     = []string{"page_size", "page_token"}
	read      = []string{"consistency"}
	pagedRead = []string{"page_size", "page_token", "consistency"}
	keyed     = []string{"Idempotency-Key"}
)

// routes is the whole API.
func routes(cfg Config) []route {
	table := append(huntRoutes(), teamRoutes()...)
	table = append(table, clusterRoutes()...)
	table = append(table, publicRoutes()...)
	if !cfg.HideMetrics {
		table = append(table, route{
			method: "GET", path: "/metrics", access: open, summary: "Metrics of this node",
			status: ok200, plain: "text/plain", exempt: true, handle: (*api).getMetrics,
		})
	}
	return table
}

func huntRoutes() []route {
	return []route{
		{
			method: "POST", path: "/v1/hunts", access: createHunt, summary: "Create a hunt; the same document again changes nothing",
			in: huntDocument{}, out: rest.Hunt{}, status: ok201, handle: (*api).postHunt,
		},
		{
			method: "GET", path: "/v1/hunts", access: listHunts, summary: "The hunts that the token may see",
			query: paged, out: rest.Hunts{}, status: ok200, handle: (*api).getHunts,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}", access: readHunt, summary: "A hunt's public view; with its document for organizers",
			headers: []string{"If-None-Match"}, out: rest.Hunt{}, status: []int{http.StatusOK, http.StatusNotModified}, fresh: true,
			handle: (*api).getHunt,
		},
		{
			method: "PUT", path: "/v1/hunts/{hunt}", access: organize, summary: "Replace a hunt's document",
			headers: []string{"If-Match"}, in: huntDocument{}, out: rest.Hunt{}, status: ok200, handle: (*api).putHunt,
		},
		{
			method: "POST", path: "/v1/hunts/{hunt}/state", access: organize, summary: "Open, pause, close a hunt, or take it back to a draft",
			in: rest.HuntState{}, out: rest.Hunt{}, status: ok200, handle: (*api).postHuntState,
		},
		{
			method: "DELETE", path: "/v1/hunts/{hunt}", access: organize, summary: "Delete a hunt with all state of its teams",
			status: deleted, handle: (*api).deleteHunt,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}/leaderboard", access: readHunt, summary: "The board",
			query: append([]string{"division"}, pagedRead...), out: rest.Leaderboard{}, status: ok200, handle: (*api).getLeaderboard,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}/stats", access: organize, summary: "Counts of teams, verdicts and solves",
			query: read, out: rest.Stats{}, status: ok200, handle: (*api).getStats,
		},
		{
			method: "POST", path: "/v1/hunts/{hunt}/submissions:batch", access: organize, summary: "Import many submissions",
			in: rest.BatchLine{}, out: rest.BatchResult{}, status: ok200, stream: true, handle: (*api).batchSubmissions,
		},
	}
}

func teamRoutes() []route {
	return []route{
		{
			method: "POST", path: "/v1/hunts/{hunt}/teams", access: register, summary: "Register a team",
			headers: keyed, in: rest.NewTeam{}, out: rest.TeamCreated{}, status: ok201, handle: (*api).postTeam,
		},
		{
			method: "POST", path: "/v1/hunts/{hunt}/teams:batch", access: organize, summary: "Import many teams",
			headers: keyed, in: rest.NewTeam{}, out: rest.TeamLine{}, status: ok200, stream: true, handle: (*api).batchTeams,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}/teams", access: organize, summary: "The teams, by id",
			query: pagedRead, out: rest.Teams{}, status: ok200, handle: (*api).getTeams,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}/teams/{team}", access: ownTeam, summary: "A team and its state of every unlocked clue",
			query: []string{"rank", "consistency"}, out: rest.Team{}, status: ok200, handle: (*api).getTeam,
		},
		{
			method: "PATCH", path: "/v1/hunts/{hunt}/teams/{team}", access: organize, summary: "Change a team",
			in: rest.TeamPatch{}, out: rest.Team{}, status: ok200, handle: (*api).patchTeam,
		},
		{
			method: "POST", path: "/v1/hunts/{hunt}/teams/{team}/token", access: organize, summary: "Give a team a new token and void the old ones",
			headers: keyed, out: rest.TeamCreated{}, status: ok200, handle: (*api).postTeamToken,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}/teams/{team}/clues", access: ownTeam, summary: "The clues that the team has unlocked",
			early: true, query: read, out: rest.Clues{}, status: ok200, handle: (*api).getClues,
		},
		{
			method: "POST", path: "/v1/hunts/{hunt}/teams/{team}/submissions", access: submit, summary: "Answer a clue",
			early: true, headers: keyed, in: rest.NewSubmission{}, out: rest.Submission{}, status: ok200, handle: (*api).postSubmission,
		},
		{
			method: "GET", path: "/v1/hunts/{hunt}/teams/{team}/submissions", access: ownTeam, summary: "The team's submissions, newest first",
			early: true, query: pagedRead, out: rest.Submissions{}, status: ok200, handle: (*api).getSubmissions,
		},
	}
}

func clusterRoutes() []route {
	return []route{
		{
			method: "GET", path: "/v1/whoami", access: anyToken, summary: "Whom the token speaks for",
			out: rest.WhoAmI{}, status: ok200, handle: (*api).getWhoAmI,
		},
		{
			method: "GET", path: "/v1/routing", access: anyToken, summary: "Which node leads which partition",
			out: rest.Routing{}, status: ok200, handle: (*api).getRouting,
		},
		{
			method: "GET", path: "/v1/cluster", access: admin, summary: "The cluster at a glance",
			out: rest.Cluster{}, status: ok200, handle: (*api).getCluster,
		},
		{
			method: "GET", path: "/v1/cluster/nodes", access: admin, summary: "The nodes",
			out: rest.Nodes{}, status: ok200, handle: (*api).getNodes,
		},
		{
			method: "POST", path: "/v1/cluster/nodes/{node}/drain", access: admin, summary: "Move leaderships away from a node and keep them away",
			out: rest.Node{}, status: ok200, handle: (*api).postDrain,
		},
		{
			method: "POST", path: "/v1/cluster/nodes/{node}/undrain", access: admin, summary: "End a drain, or keep a node that is leaving",
			out: rest.Node{}, status: ok200, handle: (*api).postUndrain,
		},
		{
			method: "POST", path: "/v1/cluster/nodes/{node}/leave", access: admin, summary: "Move everything away from a node; it then leaves",
			out: rest.Node{}, status: ok200, handle: (*api).postLeave,
		},
		{
			method: "DELETE", path: "/v1/cluster/nodes/{node}", access: admin, summary: "Remove a dead node",
			query: []string{"force"}, out: rest.Node{}, status: ok200, handle: (*api).deleteNode,
		},
		{
			method: "POST", path: "/v1/cluster/partitions/{partition}/transfer", access: admin, summary: "Hand a partition to another leader",
			in: rest.NewLeader{}, out: rest.Partition{}, status: ok200, handle: (*api).postTransfer,
		},
		{
			method: "POST", path: "/v1/cluster/recover", access: admin, summary: "Give up what partitions without a majority lost",
			in: rest.Recover{}, out: rest.Recoveries{}, status: ok200, handle: (*api).postRecover,
		},
		{
			method: "POST", path: "/v1/cluster/checkpoint", access: admin, summary: "Compare the states of partitions' replicas",
			in: rest.NewCheckpoint{}, out: rest.Checkpoints{}, status: ok200, handle: (*api).postCheckpoint,
		},
		{
			method: "GET", path: "/v1/cluster/partitions", access: admin, summary: "The partitions: what is and what is wished",
			out: rest.Partitions{}, status: ok200, handle: (*api).getPartitions,
		},
		{
			method: "GET", path: "/v1/cluster/snapshots", access: admin, summary: "The register of snapshots",
			out: rest.Snapshots{}, status: ok200, handle: (*api).getSnapshots,
		},
		{
			method: "POST", path: "/v1/tokens", access: admin, summary: "Make an admin, organizer or join token",
			in: rest.NewToken{}, out: rest.TokenCreated{}, status: []int{http.StatusCreated}, handle: (*api).postToken,
		},
		{
			method: "GET", path: "/v1/tokens", access: admin, summary: "The tokens, without their secrets",
			query: paged, out: rest.Tokens{}, status: ok200, handle: (*api).getTokens,
		},
		{
			method: "DELETE", path: "/v1/tokens/{id}", access: admin, summary: "Revoke a token",
			status: deleted, handle: (*api).deleteToken,
		},
	}
}

func publicRoutes() []route {
	checked := []int{http.StatusOK, http.StatusServiceUnavailable}
	return []route{
		{
			method: "GET", path: "/livez", access: open, summary: "Whether the process works",
			query: []string{"verbose"}, status: checked, plain: "text/plain", exempt: true, handle: (*api).getLive,
		},
		{
			method: "GET", path: "/readyz", access: open, summary: "Whether the node can serve",
			query: []string{"verbose"}, status: checked, plain: "text/plain", exempt: true, handle: (*api).getReady,
		},
		{
			method: "GET", path: "/openapi.json", access: open, summary: "This document",
			status: ok200, plain: "application/json", handle: (*api).getOpenAPI,
		},
		{
			method: "GET", path: "/docs", access: open, summary: "This document, to be read",
			status: ok200, plain: "text/html", handle: (*api).getDocs,
		},
		{method: "GET", path: "/docs/{file}", access: open, status: ok200, hidden: true, handle: (*api).getDocsFile},
		{method: "GET", path: "/", access: open, status: []int{http.StatusFound}, hidden: true, handle: (*api).getRoot},
	}
}
