//go:build linux

package faulttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"cairn/cluster/faulttest"
	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// pageSize is the largest page: a board of more teams would be several answers.
const pageSize = 1000

// known is what a client of the cluster needs to know of it.
type known struct {
	URLs   []string              `json:"urls"` // of all nodes that there may be
	Admin  string                `json:"admin"`
	Tokens map[fsm.TeamID]string `json:"tokens"`
	Hunt   fsm.Incarnation       `json:"hunt"`  // the hunt's, which its ETags name
	Lives  string                `json:"lives"` // the directory with a file for each node that counts its starts
}

// remote is a cluster of processes, as faulttest asks it: one node, once.
type remote struct {
	known
	http  *http.Client
	asked time.Duration // what a node is given for a request; its answer has until the caller's deadline

	replicas []int // nodes that Hashes compares
	old      bool  // they have no checkpoints, because one of them is of an older program
}

var _ faulttest.Cluster = (*remote)(nil)

// at is the client of one node with a token.
func (r *remote) at(node int, token string) *client.Client {
	return &client.Client{Addrs: r.URLs[node : node+1], Token: token, HTTP: r.http, Timeout: r.asked, Attempts: 1}
}

func (r *remote) Nodes() int { return len(r.URLs) }

func (r *remote) Submit(ctx context.Context, node int, team fsm.TeamID, clue fsm.ClueID, answer, key string) (faulttest.Result, error) {
	s, err := r.at(node, r.Tokens[team]).Submit(ctx, faulttest.HuntID, team, rest.NewSubmission{Clue: clue, Answer: answer}, key)
	if err != nil {
		return faulttest.Result{}, err
	}
	return resultOf(s)
}

// resultOf is a submission as the history has it. An answer that is not what it
// should be is nobody's idea of "unavailable".
func resultOf(s *rest.Submission) (faulttest.Result, error) {
	n, err := strconv.Atoi(s.Submission)
	if err != nil {
		return faulttest.Result{}, fsm.Errorf(fsm.Invalid, "a submission is called %q", s.Submission)
	}
	return faulttest.Result{
		Number: n, Key: s.Key, Clue: s.Clue, Answer: s.Answer, Verdict: s.Verdict, At: s.At, Version: s.HuntVersion,
		Points: s.Points, Score: s.Score, Solves: int(s.Solves), Attempts: int(s.Attempts), Replayed: s.Replayed,
	}, nil
}

func (r *remote) Team(ctx context.Context, node int, team fsm.TeamID) (faulttest.State, error) {
	return r.team(ctx, node, team, client.Default)
}

func (r *remote) team(ctx context.Context, node int, team fsm.TeamID, c client.Consistency) (out faulttest.State, err error) {
	t, err := r.at(node, r.Tokens[team]).Team(ctx, faulttest.HuntID, team, false, c)
	if err != nil {
		return out, err
	}
	out = faulttest.State{Score: t.Score, Solves: int(t.Solves)}
	for _, c := range t.Clues {
		out.Clues = append(out.Clues, faulttest.ClueState{ID: c.ID, Attempts: int(c.Attempts), Solved: c.State == "solved"})
	}
	return out, nil
}

func (r *remote) Board(ctx context.Context, node int) ([]faulttest.Row, error) {
	b, err := r.at(node, r.Admin).Leaderboard(ctx, faulttest.HuntID, "", client.Page{Size: pageSize, Consistency: client.Strong})
	if err != nil {
		return nil, err
	}
	if b.NextPageToken != "" {
		return nil, fsm.Errorf(fsm.Invalid, "the board has more than %d teams, and no strong board is two answers", pageSize)
	}
	rows := make([]faulttest.Row, len(b.Leaderboard))
	for i, row := range b.Leaderboard {
		rows[i] = faulttest.Row{Rank: row.Rank, Team: row.Team, Score: row.Score, Solves: int(row.Solves)}
		if row.LastSolve != nil {
			rows[i].LastSolve = *row.LastSolve
		}
	}
	return rows, nil
}

func (r *remote) Hunt(ctx context.Context, node int) (version uint64, number int, err error) {
	h, _, err := r.at(node, r.Admin).Hunt(ctx, faulttest.HuntID)
	if err != nil {
		return 0, 0, err
	}
	return h.Version, faulttest.NumberOf(h.Title), nil
}

func (r *remote) Edit(ctx context.Context, node, number int, onto uint64) (version uint64, err error) {
	etag := fmt.Sprintf(`"v%d-%d"`, onto, r.known.Hunt)
	h, _, err := r.at(node, r.Admin).PutHunt(ctx, faulttest.HuntID, etag, faulttest.Document(number))
	if err != nil {
		return 0, err
	}
	return h.Version, nil
}

// Table asks for the node's copy of the routing table. The answer is of the life in
// which the node was before and is after: who starts it counts first.
func (r *remote) Table(ctx context.Context, node int) (faulttest.Table, error) {
	before := r.life(node)
	t, err := r.at(node, r.Admin).Routing(ctx)
	if err != nil {
		return faulttest.Table{}, err
	}
	if after := r.life(node); after != before {
		return faulttest.Table{}, fsm.Errorf(fsm.Unavailable, "the node was started meanwhile")
	}
	return faulttest.Table{Life: before, Version: t.Version}, nil
}

// life reads how often a node was started; one that never was has none.
func (r *remote) life(node int) int {
	text, err := os.ReadFile(lifeFile(r.Lives, node))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(text)) // written whole, see rig.count
	return n
}

func lifeFile(dir string, node int) string { return filepath.Join(dir, strconv.Itoa(node)) }

func (r *remote) History(ctx context.Context, node int, team fsm.TeamID) ([]faulttest.Result, error) {
	return r.history(ctx, node, team, client.Default)
}

func (r *remote) history(ctx context.Context, node int, team fsm.TeamID, c client.Consistency) (out []faulttest.Result, err error) {
	for p := (client.Page{Size: pageSize, Consistency: c}); ; {
		list, err := r.at(node, r.Admin).Submissions(ctx, faulttest.HuntID, team, p)
		if err != nil {
			return nil, err
		}
		for i := range list.Submissions {
			result, err := resultOf(&list.Submissions[i])
			if err != nil {
				return nil, err
			}
			out = append(out, result)
		}
		if p.Token = list.NextPageToken; p.Token == "" {
			slices.Reverse(out)
			return out, nil
		}
	}
}

// Hashes are those of all replicas' states at a checkpoint; without checkpoints,
// those of everything that stale reads tell of each partition's teams, through each of
// the nodes: one that has a replica answers from it. Replicas that are behind get time
// to catch up; those that stay different, or do not tell, are told.
func (r *remote) Hashes(ctx context.Context, node int) ([]faulttest.Hash, error) {
	look := r.checkpoint
	if r.old {
		look = r.hashes
	}
	for {
		hashes, same, err := look(ctx, node)
		if err != nil || same {
			return hashes, err
		}
		until, bounded := ctx.Deadline()
		if bounded && time.Until(until) < auditTimeout/2 || !wait(ctx, pollEvery) {
			return hashes, nil
		}
	}
}

// checkpoint has all replicas hash their states once, and says whether all told the
// same.
func (r *remote) checkpoint(ctx context.Context, node int) (out []faulttest.Hash, same bool, err error) {
	list, err := r.at(node, r.Admin).Checkpoint(ctx, nil)
	if err != nil {
		return nil, false, err
	}
	same = true
	for _, p := range list.Partitions {
		if len(p.Replicas) == 0 {
			out, same = append(out, faulttest.Hash{Partition: int(p.ID), Node: "no replica: " + p.Detail}), false
		}
		for _, replica := range p.Replicas {
			out = append(out, faulttest.Hash{Partition: int(p.ID), Node: string(replica.Node), Sum: replica.Hash})
			same = same && replica.Hash != "" && p.Agree
		}
	}
	return out, same, nil
}

// hashes reads all once, and says whether all are the same.
func (r *remote) hashes(ctx context.Context, node int) (out []faulttest.Hash, same bool, err error) {
	table, err := r.at(node, r.Admin).Routing(ctx)
	if err != nil {
		return nil, false, err
	}
	sums, errs := make([]map[fsm.PartitionID]string, len(r.replicas)), make([]error, len(r.replicas))
	var all sync.WaitGroup
	for n, i := range r.replicas {
		all.Go(func() { sums[n], errs[n] = r.sums(ctx, i, table) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, false, err
	}
	same = true
	for n, i := range r.replicas {
		for _, p := range table.Partitions {
			same = same && sums[n][p.ID] == sums[0][p.ID]
			out = append(out, faulttest.Hash{Partition: int(p.ID), Node: r.URLs[i], Sum: sums[n][p.ID]})
		}
	}
	return out, same, nil
}

// sums are the hashes of the partitions as one node tells their teams.
func (r *remote) sums(ctx context.Context, node int, table *rest.Routing) (map[fsm.PartitionID]string, error) {
	texts := map[fsm.PartitionID][]byte{}
	for _, team := range sorted(r.Tokens) {
		state, err := r.team(ctx, node, team, client.Stale)
		if err != nil {
			return nil, err
		}
		history, err := r.history(ctx, node, team, client.Stale)
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(struct {
			faulttest.State
			H []faulttest.Result
		}{state, history})
		if err != nil {
			return nil, err
		}
		p := partitionOf(table, team)
		texts[p] = append(texts[p], raw...)
	}
	sums := map[fsm.PartitionID]string{}
	for _, p := range table.Partitions {
		sum := sha256.Sum256(texts[p.ID])
		sums[p.ID] = hex.EncodeToString(sum[:8])
	}
	return sums, nil
}

// partitionOf is the partition of a team of the hunt.
func partitionOf(table *rest.Routing, team fsm.TeamID) fsm.PartitionID {
	slot := fsm.SlotOf(faulttest.HuntID, team)
	for _, p := range table.Partitions {
		if p.Slots[0] <= slot && slot <= p.Slots[1] {
			return p.ID
		}
	}
	return fsm.PartitionID(len(table.Partitions)) // of no partition
}

func sorted(tokens map[fsm.TeamID]string) []fsm.TeamID {
	teams := make([]fsm.TeamID, 0, len(tokens))
	for t := range tokens {
		teams = append(teams, t)
	}
	slices.Sort(teams)
	return teams
}
