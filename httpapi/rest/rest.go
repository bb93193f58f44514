// Package rest holds the bodies of the REST API as Go types. The server, the
// Go client, the CLI and the OpenAPI document are all made from them, so they
// cannot disagree. Absent values are absent, never null; an empty list is [].
package rest

import (
	"encoding/json"

	"cairn/fsm"
)

// Problem is an RFC 9457 problem+json body.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Code   string       `json:"code"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
	// RetryAfterMS says, in milliseconds, when to try again.
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`
}

// FieldError points at one part of a bad request.
type FieldError struct {
	Path   string `json:"path,omitempty"`
	Detail string `json:"detail"`
}

// Hunt is a hunt's public view. Document is added for organizers.
type Hunt struct {
	ID          fsm.HuntID      `json:"id"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	State       string          `json:"state"`
	Reason      string          `json:"reason,omitempty"`
	Version     uint64          `json:"version"`
	Public      bool            `json:"public"`
	StartsAt    *fsm.Time       `json:"starts_at,omitempty"`
	EndsAt      *fsm.Time       `json:"ends_at,omitempty"`
	Ranking     []string        `json:"ranking"`
	Rounds      []Round         `json:"rounds"`
	Document    json.RawMessage `json:"document,omitempty"`
}

// Round is a round's public view.
type Round struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Hunts is a page of hunts.
type Hunts struct {
	Hunts         []Hunt `json:"hunts"`
	NextPageToken string `json:"next_page_token,omitempty"`
}

// HuntState asks for a change of state.
type HuntState struct {
	State  string `json:"state" enum:"draft,open,paused,closed"`
	Reason string `json:"reason,omitempty"`
}

// NewTeam registers a team.
type NewTeam struct {
	ID       fsm.TeamID `json:"id,omitempty"`
	Name     string     `json:"name"`
	Kind     string     `json:"kind,omitempty" enum:"normal,test"`
	Division string     `json:"division,omitempty"`
}

// TeamCreated answers NewTeam and a rotation of the token.
type TeamCreated struct {
	Team  Team   `json:"team"`
	Token string `json:"token"`
}

// TeamLine is one line of teams:batch's answer, in the order of the request.
type TeamLine struct {
	Team   *Team    `json:"team,omitempty"`
	Token  string   `json:"token,omitempty"`
	Status string   `json:"status,omitempty" enum:"created,exists"`
	Error  *Problem `json:"error,omitempty"`
}

// Team is a team. Clues is filled only where one team is asked for.
type Team struct {
	ID         fsm.TeamID      `json:"id"`
	Name       string          `json:"name"`
	Kind       string          `json:"kind"`
	Status     string          `json:"status"`
	Division   string          `json:"division,omitempty"`
	Meta       json.RawMessage `json:"meta,omitempty"`
	Created    fsm.Time        `json:"created_at"`
	Score      int64           `json:"score"`
	Solves     uint32          `json:"solves"`
	FinishedAt *fsm.Time       `json:"finished_at,omitempty"`
	LastSolve  *fsm.Time       `json:"last_solve_at,omitempty"`
	Rank       int             `json:"rank,omitempty"`
	Clues      []TeamClue      `json:"clues,omitzero"`
}

// TeamClue is a team's state of one unlocked clue.
type TeamClue struct {
	ID            fsm.ClueID `json:"id"`
	State         string     `json:"state" enum:"unlocked,solved"`
	Attempts      uint32     `json:"attempts"`
	AttemptsLeft  *uint32    `json:"attempts_left,omitempty"`
	SolvedAt      *fsm.Time  `json:"solved_at,omitempty"`
	HintsTaken    []string   `json:"hints_taken"`
	NextAttemptAt *fsm.Time  `json:"next_attempt_at,omitempty"`
}

// Teams is a page of teams.
type Teams struct {
	Teams         []Team `json:"teams"`
	NextPageToken string `json:"next_page_token,omitempty"`
}

// TeamPatch changes the fields that are present.
type TeamPatch struct {
	Name     *string          `json:"name,omitempty"`
	Kind     *string          `json:"kind,omitempty" enum:"normal,test"`
	Status   *string          `json:"status,omitempty" enum:"active,hidden,disqualified"`
	Division *string          `json:"division,omitempty"`
	Meta     *json.RawMessage `json:"meta,omitempty"`
	Reason   string           `json:"reason,omitempty"`
}

// Clue is an unlocked clue as a team sees it.
type Clue struct {
	ID           fsm.ClueID `json:"id"`
	Round        string     `json:"round,omitempty"`
	Title        string     `json:"title"`
	Prompt       string     `json:"prompt,omitempty"`
	Solution     string     `json:"solution,omitempty"`
	Points       int64      `json:"points"`
	Attempts     uint32     `json:"attempts"`
	AttemptsLeft *uint32    `json:"attempts_left,omitempty"`
	SolvedAt     *fsm.Time  `json:"solved_at,omitempty"`
	Hints        []Hint     `json:"hints"`
}

// Hint is a hint without its text until it is taken.
type Hint struct {
	ID          string    `json:"id"`
	Cost        int64     `json:"cost"`
	AvailableAt *fsm.Time `json:"available_at,omitempty"`
	Text        string    `json:"text,omitempty"`
}

// Clues lists a team's unlocked clues.
type Clues struct {
	Clues []Clue `json:"clues"`
}

// NewSubmission is an answer to a clue.
type NewSubmission struct {
	Clue   fsm.ClueID `json:"clue"`
	Answer string     `json:"answer"`
	Player string     `json:"player,omitempty"`
}

// Submission is the result of a submission. Answer and Player appear in the
// history only.
type Submission struct {
	Submission    string       `json:"submission"`
	Key           string       `json:"key"`
	Verdict       string       `json:"verdict" enum:"correct,incorrect,nudge,duplicate,already_solved"`
	Clue          fsm.ClueID   `json:"clue"`
	At            fsm.Time     `json:"at"`
	HuntVersion   uint64       `json:"hunt_version"`
	Points        int64        `json:"points"`
	Score         int64        `json:"score"`
	Solves        uint32       `json:"solves"`
	Attempts      uint32       `json:"attempts"`
	AttemptsLeft  *uint32      `json:"attempts_left,omitempty"`
	NextAttemptAt *fsm.Time    `json:"next_attempt_at,omitempty"`
	Reply         string       `json:"reply,omitempty"`
	Unlocked      []fsm.ClueID `json:"unlocked"`
	Ranked        bool         `json:"ranked"`
	Replayed      bool         `json:"replayed"`
	Answer        string       `json:"answer,omitempty"`
	Player        string       `json:"player,omitempty"`
}

// Submissions is a page of a team's history, newest first.
type Submissions struct {
	Submissions   []Submission `json:"submissions"`
	NextPageToken string       `json:"next_page_token,omitempty"`
}

// BatchLine is one line of submissions:batch.
type BatchLine struct {
	Key    string     `json:"key"`
	Team   fsm.TeamID `json:"team"`
	Clue   fsm.ClueID `json:"clue"`
	Answer string     `json:"answer"`
	At     *fsm.Time  `json:"at,omitempty"`
}

// BatchResult is one line of its answer: a Submission, or an error with the
// line's key.
type BatchResult struct {
	*Submission
	LineKey string   `json:"-"`
	Error   *Problem `json:"-"`
}

// Stats are a hunt's counts.
type Stats struct {
	Teams       int            `json:"teams"`
	Submissions map[string]int `json:"submissions"`
	Clues       []ClueStats    `json:"clues"`
}

// ClueStats are the counts of one clue.
type ClueStats struct {
	ID         fsm.ClueID  `json:"id"`
	Solved     int         `json:"solved"`
	Attempts   int         `json:"attempts"`
	FirstSolve *FirstSolve `json:"first_solve,omitempty"`
}

// FirstSolve is the earliest ranked solve of a clue.
type FirstSolve struct {
	Team fsm.TeamID `json:"team"`
	At   fsm.Time   `json:"at"`
}

// Leaderboard is a page of a hunt's board.
type Leaderboard struct {
	AsOf          *fsm.Time `json:"as_of,omitempty"`
	Frozen        bool      `json:"frozen"`
	Leaderboard   []Row     `json:"leaderboard"`
	NextPageToken string    `json:"next_page_token,omitempty"`
}

// Row is one team on a board.
type Row struct {
	Rank       int        `json:"rank"`
	Team       fsm.TeamID `json:"team"`
	Name       string     `json:"name"`
	Score      int64      `json:"score"`
	Solves     uint32     `json:"solves"`
	FinishedAt *fsm.Time  `json:"finished_at,omitempty"`
	LastSolve  *fsm.Time  `json:"last_solve_at,omitempty"`
}

// WhoAmI describes the token of the request.
type WhoAmI struct {
	Role      string     `json:"role" enum:"admin,organizer,team"`
	Hunt      fsm.HuntID `json:"hunt,omitempty"`
	Team      fsm.TeamID `json:"team,omitempty"`
	ExpiresAt *fsm.Time  `json:"expires_at,omitempty"`
}

// NewToken asks for a token. TTL is a Go duration; absent means no expiry for
// admin and organizer, 24h for join.
type NewToken struct {
	Role string     `json:"role" enum:"admin,organizer,join"`
	Hunt fsm.HuntID `json:"hunt,omitempty"`
	TTL  string     `json:"ttl,omitempty"`
	Uses uint32     `json:"uses,omitempty"`
}

// Token is a token without its secret, which only TokenCreated carries.
type Token struct {
	ID        string     `json:"id"`
	Role      string     `json:"role"`
	Hunt      fsm.HuntID `json:"hunt,omitempty"`
	Created   fsm.Time   `json:"created_at"`
	ExpiresAt *fsm.Time  `json:"expires_at,omitempty"`
	UsesLeft  *uint32    `json:"uses_left,omitempty"`
}

// TokenCreated answers NewToken: the only time the secret is told.
type TokenCreated struct {
	Token
	Secret string `json:"token"`
}

// Tokens is a page of tokens.
type Tokens struct {
	Tokens        []Token `json:"tokens"`
	NextPageToken string  `json:"next_page_token,omitempty"`
}
