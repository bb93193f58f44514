package httpapi

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

// batchSubmissions judges the lines of a stream, each team's in their order.
func (a *api) batchSubmissions(c *call) error {
	return a.stream(c, func(_ int, line []byte, err error) task {
		t := &submissionTask{api: a, err: err}
		if err == nil {
			t.parse(c.hunt, line)
		}
		return t
	})
}

// submissionTask is one line of submissions:batch.
type submissionTask struct {
	api *api
	in  Submission
	out *partition.Submission
	err error
}

func (t *submissionTask) parse(h HuntRef, line []byte) {
	in, err := decodeBatchLine(line)
	t.in = Submission{Hunt: h, Team: in.Team, Clue: in.Clue, Answer: in.Answer, Key: in.Key}
	if in.At != nil {
		t.in.At = *in.At
	}
	if t.err = err; err == nil {
		t.err = t.check()
	}
}

func (t *submissionTask) check() error {
	if err := checkKey("key", t.in.Key); err != nil {
		return err
	}
	if !fsm.ValidID(string(t.in.Team)) {
		return invalid("team", "must be the id of a team")
	}
	return checkSubmission(t.in.Clue, t.in.Answer, "")
}

func (t *submissionTask) chain() (fsm.TeamID, bool) { return t.in.Team, t.err == nil }

func (t *submissionTask) run(ctx context.Context) {
	begin := time.Now()
	t.out, t.err = t.api.Cluster.Submit(ctx, t.in)
	t.api.metrics.submitted(t.out, t.err, time.Since(begin))
}

func (t *submissionTask) append(b []byte) []byte {
	if t.err != nil {
		return appendJSON(b, rest.BatchError{Key: t.in.Key, Error: *t.api.lineProblem(t.err)})
	}
	out := restSubmission(t.out)
	return rest.AppendSubmission(b, &out)
}

// batchTeams registers the lines of a stream. An import does not know the keys
// of an earlier one, so a team's key is made from its id: importing a team again
// answers with the team and the token it got then.
func (a *api) batchTeams(c *call) error {
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	return a.stream(c, func(number int, line []byte, err error) task {
		t := &teamTask{api: a, err: err}
		if err == nil {
			t.parse(c.hunt, line, key+"#"+strconv.Itoa(number))
		}
		return t
	})
}

// teamTask is one line of teams:batch.
type teamTask struct {
	api     *api
	hunt    HuntRef
	cmd     *partition.CreateTeam
	out     *rest.TeamCreated
	created bool
	err     error
}

// parse reads a line; key stands for the id of a team that has none.
func (t *teamTask) parse(h HuntRef, line []byte, key string) {
	var in rest.NewTeam
	if t.err = decodeStrict(line, &in); t.err != nil {
		return
	}
	if in.ID != "" {
		key = string(in.ID)
	}
	t.hunt = h
	t.cmd, t.err = newTeam(h, byImport, key, &in)
}

func (t *teamTask) chain() (team fsm.TeamID, run bool) {
	if t.err != nil {
		return "", false
	}
	return t.cmd.Team, true
}

func (t *teamTask) run(ctx context.Context) {
	t.out, t.created, t.err = t.api.createTeam(ctx, t.hunt, t.cmd)
}

func (t *teamTask) append(b []byte) []byte {
	if t.err != nil {
		return appendJSON(b, rest.TeamLine{Error: t.api.lineProblem(t.err)})
	}
	status := "exists"
	if t.created {
		status = "created"
	}
	return appendJSON(b, rest.TeamLine{Team: &t.out.Team, Token: t.out.Token, Status: status})
}

// lineProblem is writeError for a line.
func (a *api) lineProblem(err error) *rest.Problem {
	if fsm.KindOf(err) == fsm.Internal {
		a.Logger.Error("line of a stream failed", "error", err)
	}
	return problem(err)
}

func appendJSON(b []byte, v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of package rest always encode
	}
	return append(b, out...)
}
