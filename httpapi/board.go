package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

const (
	// boardLife is how old a default board may be.
	boardLife = time.Second
	// maxBoards and maxBoardBytes bound the pages that are kept; beyond either
	// the page that was used longest ago goes.
	maxBoards     = 1024
	maxBoardBytes = 64 << 20
)

// Results of looking for a board page, the label of their metric.
const (
	boardHit  = "hit"  // at hand, or already being made for another request
	boardMiss = "miss" // asked of the cluster
)

// boards keeps the pages of boards that were answered within the last second,
// encoded, and makes a page that many ask for at once only once.
type boards struct {
	pages *lru[boardKey, boardEntry]

	mu      sync.Mutex
	flights map[boardKey]*flight
}

// boardKey is a question about a board; the id of the hunt is in its life.
type boardKey struct {
	life     fsm.Incarnation
	division string
	from     string // page token; empty: the top
	limit    int
}

type boardEntry struct {
	body  []byte
	asked time.Time
}

// flight is a page that is being made.
type flight struct {
	asked time.Time
	done  chan struct{} // closed when body and err are set
	body  []byte
	err   error
}

func newBoards() *boards {
	return &boards{
		pages:   newLRU[boardKey, boardEntry](maxBoards, maxBoardBytes),
		flights: map[boardKey]*flight{},
	}
}

// get returns a page whose making began at most boardLife before the call, and
// whether it was at hand or under way. The making goes on, within its own
// deadline, when the request that began it is given up: others may wait for it.
func (b *boards) get(ctx context.Context, key boardKey, fetch func(context.Context) ([]byte, error)) (body []byte, hit bool, err error) {
	if e, ok := b.pages.get(key); ok && time.Since(e.asked) < boardLife {
		return e.body, true, nil
	}
	b.mu.Lock()
	f := b.flights[key]
	if hit = f != nil && time.Since(f.asked) < boardLife; !hit {
		f = &flight{asked: time.Now(), done: make(chan struct{})}
		b.flights[key] = f
		go b.fly(context.WithoutCancel(ctx), key, f, fetch)
	}
	b.mu.Unlock()
	select {
	case <-f.done:
		return f.body, hit, f.err
	case <-ctx.Done():
		return nil, hit, ctx.Err()
	}
}

func (b *boards) fly(ctx context.Context, key boardKey, f *flight, fetch func(context.Context) ([]byte, error)) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	f.body, f.err = fetch(ctx)
	if f.err == nil {
		b.pages.put(key, boardEntry{f.body, f.asked}, int64(len(f.body)))
	}
	b.mu.Lock()
	if b.flights[key] == f {
		delete(b.flights, key)
	}
	b.mu.Unlock()
	close(f.done)
}

// boardRequest is a request for a page, checked.
type boardRequest struct {
	query BoardQuery
	list  listing
	token string
}

func boardRequestOf(c *call, q url.Values) (*boardRequest, error) {
	p, err := pageOf(q)
	if err != nil {
		return nil, err
	}
	out := &boardRequest{query: BoardQuery{Division: q.Get("division"), Limit: p.size}, token: p.token}
	if out.query.Division != "" {
		if err := checkDivision(out.query.Division); err != nil {
			return nil, err
		}
	}
	if out.query.Consistency, err = consistencyOf(q); err != nil {
		return nil, err
	}
	out.list = listing{route: c.route.path, hunt: c.hunt, filter: out.query.Division}
	out.query.After, err = out.list.placePosition(p.token)
	return out, err
}

func (a *api) getLeaderboard(c *call) error {
	req, err := boardRequestOf(c, c.r.URL.Query())
	if err != nil {
		return err
	}
	if req.query.Consistency != Default {
		body, age, err := a.board(c.ctx, c.hunt, req)
		if err != nil {
			return err
		}
		c.setStaleness(req.query.Consistency, age)
		return c.writeBody(http.StatusOK, body)
	}
	key := boardKey{c.hunt.Incarnation, req.query.Division, req.token, req.query.Limit}
	hunt := c.hunt // the flight may outlive the call
	body, hit, err := a.boards.get(c.ctx, key, func(ctx context.Context) ([]byte, error) {
		body, _, err := a.board(ctx, hunt, req)
		return body, err
	})
	result := boardMiss
	if hit {
		result = boardHit
	}
	a.metrics.boards.WithLabelValues(result).Inc()
	if err != nil {
		return err
	}
	return c.writeBody(http.StatusOK, body)
}

// board asks the cluster for a page and encodes it.
func (a *api) board(ctx context.Context, h HuntRef, req *boardRequest) ([]byte, Freshness, error) {
	page, age, err := a.Cluster.Board(ctx, h, req.query)
	if err != nil {
		return nil, 0, err
	}
	out := rest.Leaderboard{AsOf: optionalTime(page.AsOf), Leaderboard: make([]rest.Row, len(page.Rows))}
	for i := range page.Rows {
		out.Leaderboard[i] = restRow(&page.Rows[i], page.Ranks[i])
	}
	if n := len(page.Rows); page.More && n > 0 {
		out.NextPageToken = req.list.placeToken(partition.Place{Key: page.Rows[n-1].Key, Team: page.Rows[n-1].Team})
	}
	body, err := json.Marshal(&out)
	if err != nil {
		return nil, 0, fmt.Errorf("encode the board: %w", err)
	}
	return append(body, '\n'), age, nil
}
