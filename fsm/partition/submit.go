package partition

import (
	"cairn/fsm"
	"cairn/fsm/wire"
)

// submit judges one answer. The checks stand in the order of what a caller must
// hear first; the first that fails refuses the command, leaves no trace and
// leaves the key free:
//
//  1. the team is of this partition, the hunt installed here (see enter);
//  2. the command is well-formed: Invalid, TooLarge;
//  3. the team exists, its token holds: NotFound, Unauthenticated;
//  4. the key is unknown; a known one answers what it answered before, whatever
//     has changed since, or KeyReused;
//  5. it was matched under the installed version: Stale;
//  6. the team is not disqualified: Forbidden;
//  7. the hunt's switch and schedule allow it (see eventTime and schedule);
//  8. the clue exists and is open to the team: NotFound, ClueLocked;
//  9. there is room for a record, and an attempt left: AttemptsExhausted.
//
// Then a verdict is given, recorded, and answered.
func (m *Machine) submit(c *Submit) (*Submission, *fsm.Error) {
	g, err := m.enter(c.Hunt, c.Incarnation, c.Team)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return nil, err
	}
	t, err := g.team(c.Team, c.Generation)
	if err != nil {
		return nil, err
	}
	if i := t.history.find(c.Key); i >= 0 {
		return g.replay(t, i, c)
	}
	at, err := m.eventTime(g, t, c)
	if err != nil {
		return nil, err
	}
	i, err := g.playable(t, c.Clue)
	if err != nil {
		return nil, err
	}
	rec, err := g.judge(t, i, at, c)
	if err != nil {
		return nil, err
	}
	return m.record(g, t, &rec)
}

func (c *Submit) validate() *fsm.Error {
	if err := validKey(c.Key); err != nil {
		return err
	}
	if c.Match > Nudged {
		return fsm.Errorf(fsm.Invalid, "unknown match %d", c.Match)
	}
	return within(limited{"answer", c.Answer, MaxAnswer}, limited{"reply", c.Reply, MaxReply},
		limited{"player", c.Player, MaxName})
}

// replay answers a known key from its record.
func (g *game) replay(t *team, i int, c *Submit) (*Submission, *fsm.Error) {
	rec := t.history.at(i)
	if g.dict[rec.clue] != c.Clue || rec.answer != c.Answer {
		return nil, fsm.Errorf(fsm.KeyReused, "the key was used for another answer or clue; choose a new one")
	}
	s := g.submission(&rec, i+1)
	s.Replayed = true
	return s, nil
}

// eventTime checks steps 5 to 7 and returns the event's time: the import's At,
// else the log time, which is never before the team's last event.
func (m *Machine) eventTime(g *game, t *team, c *Submit) (fsm.Time, *fsm.Error) {
	switch {
	case c.Version != g.version:
		return 0, fsm.Errorf(fsm.Stale, "matched under version %d, %d is installed", c.Version, g.version)
	case t.status == Disqualified:
		return 0, fsm.Errorf(fsm.Forbidden, "team %s is disqualified; ask the organisers", t.id)
	}
	switch g.rules.State {
	case Open: // the schedule decides
	case Draft:
		return 0, fsm.Errorf(fsm.HuntNotOpen, "the hunt is not open yet")
	case Paused:
		return 0, fsm.Errorf(fsm.HuntPaused, "the hunt is paused; try again when it goes on")
	case Closed:
		return 0, fsm.Errorf(fsm.HuntOver, "the hunt is closed")
	}
	at := m.now
	if c.At != 0 {
		at = c.At
	}
	switch {
	case at > m.now:
		return 0, fsm.Errorf(fsm.Invalid, "at is in the future: %v; it is %v", at, m.now)
	case at < t.lastEvent:
		return 0, fsm.Errorf(fsm.Invalid, "at is %v, before the team's last event at %v", at, t.lastEvent)
	}
	return at, g.schedule(t, at)
}

func (g *game) schedule(t *team, at fsm.Time) *fsm.Error {
	switch r := g.rules; {
	case r.Starts != 0 && at < r.Starts && t.kind != Test:
		return fsm.Errorf(fsm.HuntNotOpen, "the hunt starts at %v", r.Starts)
	case r.ended(at) && !r.Unranked:
		return fsm.Errorf(fsm.HuntOver, "the hunt ended at %v", r.Ends)
	}
	return nil
}

func (r *Rules) ended(at fsm.Time) bool { return r.Ends != 0 && at >= r.Ends }

// playable finds a clue in the rules, open to the team.
func (g *game) playable(t *team, id fsm.ClueID) (i int, err *fsm.Error) {
	i, ok := g.index[id]
	switch {
	case !ok:
		return 0, fsm.Errorf(fsm.NotFound, "the hunt has no clue %.64q", id)
	case !g.accessible(t.solved, i):
		return 0, fsm.Errorf(fsm.ClueLocked, "clue %s is locked; solve others first", id)
	}
	return i, nil
}

// judge gives the verdict on an answer to clue i of the rules.
func (g *game) judge(t *team, i int, at fsm.Time, c *Submit) (record, *fsm.Error) {
	rule := &g.rules.Clues[i]
	n := g.clues[i]
	p := t.progress(n)
	rec := record{
		key: c.Key, ranked: t.kind == Normal && !g.rules.ended(at), clue: n, at: at, version: g.version,
		digest: c.Digest, score: t.score, solves: t.solves, attempts: p.attempts, limit: rule.Limit,
		answer: c.Answer, player: c.Player,
	}
	switch {
	case t.history.len() >= MaxSubmissions:
		return rec, fsm.Errorf(fsm.AttemptsExhausted, "the team has made %d submissions, all that a team may", MaxSubmissions)
	case p.solved:
		rec.verdict = VerdictAlreadySolved
	case rule.Limit > 0 && p.attempts >= rule.Limit:
		return rec, fsm.Errorf(fsm.AttemptsExhausted, "all %d attempts on clue %s are spent", rule.Limit, rule.ID)
	case c.Match == Nudged:
		rec.verdict, rec.reply = VerdictNudge, c.Reply
	case c.Match == Correct:
		rec.verdict, rec.reply = VerdictCorrect, c.Reply
		rec.unlocked = g.opened(t.solved, i)
		if rec.ranked {
			rec.points = rule.Points
			rec.score += rule.Points
			rec.solves++
		}
	case t.history.wasWrong(n, c.Digest):
		rec.verdict = VerdictDuplicate
	default:
		rec.verdict = VerdictIncorrect
		rec.attempts++
	}
	return rec, nil
}

// record keeps rec, moves the team on the boards, and answers.
func (m *Machine) record(g *game, t *team, rec *record) (*Submission, *fsm.Error) {
	w := wire.Writer{B: m.scratch[:0]}
	rec.append(&w)
	m.scratch = w.B
	if len(t.history.log)+len(w.B) > MaxHistory {
		return nil, fsm.Errorf(fsm.AttemptsExhausted, "the team's submissions fill the %d MiB that a team may", MaxHistory>>20)
	}
	t = m.own(g, t)
	if rec.verdict == VerdictCorrect {
		before := g.standing(t)
		t.fold(rec, w.B)
		g.boards.move(before, g.standing(t))
	} else {
		t.fold(rec, w.B)
	}
	g.count(t, rec)
	return g.submission(rec, t.history.len()), nil
}

// submission is a record as the API shows it; number counts the team's from 1.
func (g *game) submission(rec *record, number int) *Submission {
	s := &Submission{
		Number: uint32(number), Key: rec.key, Verdict: rec.verdict, Clue: g.dict[rec.clue], At: rec.at,
		Version: rec.version, Points: rec.points, Score: rec.score, Solves: rec.solves, Attempts: rec.attempts,
		Limit: rec.limit, Reply: rec.reply, Ranked: rec.ranked, Answer: rec.answer, Player: rec.player,
	}
	for _, n := range rec.unlocked {
		s.Unlocked = append(s.Unlocked, g.dict[n])
	}
	return s
}
