package httpapi

import (
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/rest"
)

// answers holds buffers for the results of submissions.
var answers = sync.Pool{New: func() any { return new([]byte) }}

// checkSubmission says what is wrong with an answer before anybody judges it.
func checkSubmission(clue fsm.ClueID, answer, player string) error {
	if !fsm.ValidID(string(clue)) {
		return invalid("clue", "must be the id of a clue")
	}
	if err := hunt.CheckAnswer(answer); err != nil {
		return invalid("answer", err.Error())
	}
	if player == "" {
		return nil
	}
	if utf8.RuneCountInString(player) > MaxPlayer {
		return invalid("player", "has more than 200 characters")
	}
	return checkText("player", player)
}

func (a *api) postSubmission(c *call) error {
	begin := time.Now()
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	in := Submission{Hunt: c.hunt, Team: c.team, Key: key}
	if c.who.Role == roleTeam {
		in.Generation = c.who.Generation
	}
	err = c.withBody(MaxBody, func(b []byte) error {
		body, err := decodeSubmission(b)
		if err != nil {
			return err
		}
		in.Clue, in.Answer, in.Player = body.Clue, body.Answer, body.Player
		return checkSubmission(in.Clue, in.Answer, in.Player)
	})
	if err != nil {
		return err
	}
	if !fsm.ValidID(string(c.team)) {
		return fsm.Errorf(fsm.NotFound, "there is no team %q", c.team)
	}
	s, err := a.Cluster.Submit(c.ctx, in)
	a.metrics.submitted(s, err, time.Since(begin))
	if err != nil {
		return err
	}
	out := restSubmission(s)
	buf := answers.Get().(*[]byte)
	defer answers.Put(buf)
	*buf = append(rest.AppendSubmission((*buf)[:0], &out), '\n')
	return c.writeBody(http.StatusOK, *buf)
}

func (a *api) getSubmissions(c *call) error {
	q := c.r.URL.Query()
	p, err := pageOf(q)
	if err != nil {
		return err
	}
	cons, err := consistencyOf(q)
	if err != nil {
		return err
	}
	l := listing{route: c.route.path, hunt: c.hunt, filter: string(c.team)}
	below, err := l.numberPosition(p.token)
	if err != nil {
		return err
	}
	if !fsm.ValidID(string(c.team)) {
		return fsm.Errorf(fsm.NotFound, "there is no team %q", c.team)
	}
	rows, age, err := a.Cluster.Submissions(c.ctx, c.hunt, c.team, below, p.size, cons)
	if err != nil {
		return err
	}
	out := rest.Submissions{Submissions: make([]rest.Submission, len(rows))}
	for i := range rows {
		s := restSubmission(&rows[i])
		s.Answer, s.Player = rows[i].Answer, rows[i].Player
		out.Submissions[i] = s
	}
	// Numbers have no gaps: below 1 there is nothing.
	if n := len(rows); n == p.size && rows[n-1].Number > 1 {
		out.NextPageToken = l.numberToken(rows[n-1].Number)
	}
	c.setStaleness(cons, age)
	return c.write(http.StatusOK, &out)
}
