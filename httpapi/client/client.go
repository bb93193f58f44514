// Package client speaks to a Cairn cluster over its REST API.
//
// A Client knows several nodes and uses whichever answers: any node serves any
// request. There is one method per route, with the bodies of package rest.
//
// # Errors
//
// What the cluster refused comes back as the *fsm.Error it was, with its Kind
// and its advice when to try again. What never reached a node wraps
// ErrUnreachable: nothing was done. A write whose connection broke after it may
// have been sent wraps ErrLost: it may or may not have happened. fsm.KindOf
// tells all of them apart (ErrUnreachable is Unavailable, ErrLost is
// OutcomeUnknown).
//
// # Retries
//
// A request is sent again, on the next node, when nothing was done, or when
// doing it twice is the same as doing it once: reads, and writes that carry an
// idempotency key or set an absolute state. Everything else is tried once.
// Pauses are jittered, grow, and honour Retry-After and the context.
package client

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of a client.
const (
	// DefaultAttempts is how often a request that may be repeated is sent.
	DefaultAttempts = 6
	// DefaultTimeout is what the cluster takes for one request by default.
	DefaultTimeout = 10 * time.Second
	// grace is how much longer than the cluster's own deadline the client waits
	// for its answer before it takes the connection for dead.
	grace = 5 * time.Second
	// maxBody bounds an answer, in bytes: the largest is a hunt's document.
	maxBody = 32 << 20
	// firstPause and maxPause bound the pauses between attempts.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	// idlePerNode is how many idle connections to one node are kept.
	idlePerNode = 1024
	dialTimeout = 3 * time.Second
)

// Client is safe for concurrent use. Set the fields before the first call.
type Client struct {
	// Addrs are the base URLs of nodes, at least one, in order of preference.
	Addrs []string
	// Token is sent as a bearer token; empty for public routes.
	Token string
	// HTTP carries the requests; nil means http.DefaultClient. It must not set
	// a Timeout when SubmitBatch or CreateTeams is used.
	HTTP *http.Client
	// Timeout is asked for each request (Cairn-Timeout, at most 60 s); 0 means
	// the cluster's default of 10 s.
	Timeout time.Duration
	// Attempts bounds how often a repeatable request is sent; 0 means
	// DefaultAttempts.
	Attempts int
	// Direct sends a submission to the node that leads its team's partition,
	// as GET /v1/routing tells, which saves the hop between nodes; if that one
	// does not serve it, to Addrs. Leave it off where the nodes' own addresses
	// cannot be reached, behind a balancer for example.
	Direct bool

	routes    routes
	preferred atomic.Uint32 // index into Addrs of the node that answered last
}

// New returns a client of the nodes at addrs: base URLs, or HOST:PORT for plain
// HTTP. It keeps enough idle connections for many concurrent calls; release
// them with c.HTTP.CloseIdleConnections.
func New(addrs []string, token string) (*Client, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("client: no address of a node was given")
	}
	base := make([]string, len(addrs))
	for i, a := range addrs {
		a = strings.TrimSpace(a)
		if !strings.Contains(a, "://") {
			a = "http://" + a
		}
		u, err := url.Parse(a)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
			return nil, fmt.Errorf("client: %q is not an address of a node; write http://HOST:PORT", addrs[i])
		}
		base[i] = strings.TrimRight(a, "/")
	}
	return &Client{
		Addrs: base,
		Token: token,
		HTTP: &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConnsPerHost: idlePerNode,
			IdleConnTimeout:     50 * time.Second, // below the server's, so that it never closes first
			TLSHandshakeTimeout: dialTimeout,
			DisableCompression:  true,
		}},
	}, nil
}

func (c *Client) http() *http.Client {
	if c.HTTP == nil {
		return http.DefaultClient
	}
	return c.HTTP
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}
