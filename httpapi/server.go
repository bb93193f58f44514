package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// Limits of the API. What happens beyond each stands beside it.
const (
	MaxBody     = 1 << 20  // bytes of a body: TooLarge
	MaxHuntBody = 16 << 20 // bytes of a hunt's document: TooLarge
	MaxLine     = 64 << 10 // bytes of a line of a stream: that line is TooLarge
	MaxHeader   = 16 << 10 // bytes of a request's headers: 431 by net/http
	DefaultPage = 100      // rows of a page when none is asked for
	MaxPage     = 1000     // rows of a page: Invalid
	MaxPlayer   = 200      // characters of a player's name: Invalid

	DefaultTimeout = 10 * time.Second // of a request, and of a line of a stream
	MaxTimeout     = 60 * time.Second // that Cairn-Timeout may ask for: Invalid

	// readTimeout, writeTimeout and idleTimeout are the server's. A request that
	// asks for more time, and a stream, move their own deadlines on.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
)

// Config of a handler. Cluster is required.
type Config struct {
	// Cluster is the node the handler serves.
	Cluster Cluster
	// Logger gets a line for each internal error and, at debug level, for each
	// request. Default: nothing is logged.
	Logger *slog.Logger
	// Registry receives the metrics and is served at /metrics. It takes one
	// handler only. Default: a new one.
	Registry *prometheus.Registry
	// Version of the program, shown in the OpenAPI document.
	Version string
	// MaxRequests is how many requests may be in progress; more are Overloaded.
	// Default 4,096.
	MaxRequests int
	// MaxStreams is how many streams may be in progress; more are Overloaded.
	// Default 64.
	MaxStreams int
	// MaxUploads is how many hunts' documents may be in upload; more are
	// Overloaded. Each may take MaxHuntBody of memory. Default 8.
	MaxUploads int
	// Window is how many lines of a stream may be read and not yet answered;
	// the stream is read no further then. Default 1,024.
	Window int
	// Limits bound how much one client may send. Default: none do.
	Limits Limits
	// Refused is told of each request that Limits refused, with "rate". Default:
	// nobody is.
	Refused func(reason string)
	// HideMetrics leaves /metrics out: it is served at another address.
	HideMetrics bool
}

// WithDefaults returns c with every absent field filled in.
func (c Config) WithDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = 4096
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 64
	}
	if c.MaxUploads == 0 {
		c.MaxUploads = 8
	}
	if c.Window == 0 {
		c.Window = 1024
	}
	if c.Refused == nil {
		c.Refused = func(string) {}
	}
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.Cluster == nil:
		return errors.New("httpapi: a Cluster is required")
	case c.MaxRequests < 1 || c.MaxStreams < 1 || c.MaxUploads < 1 || c.Window < 1:
		return errors.New("httpapi: MaxRequests, MaxStreams, MaxUploads and Window must be positive")
	case max(c.Limits.Team, c.Limits.Staff, c.Limits.Address) > MaxRate:
		return fmt.Errorf("httpapi: a limit is at most %d requests a second", MaxRate)
	}
	return nil
}

// api is what the handlers share.
type api struct {
	Config
	metrics   *metrics
	hunts     *hunts
	boards    *boards
	limits    limits
	slow      slowLog
	requests  gate
	streams   gate
	uploads   gate
	requestID requestIDs
	openAPI   func() []byte // made at the first request for it
}

// New returns the handler of every route. It panics if cfg is not valid, which
// is a mistake of the program and not of its user.
func New(cfg Config) http.Handler {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	table := routes(cfg)
	a := &api{
		Config:    cfg,
		metrics:   newMetrics(cfg.Registry, table),
		hunts:     newHunts(),
		boards:    newBoards(),
		limits:    newLimits(cfg.Limits, cfg.Refused),
		requests:  gate{limit: int64(cfg.MaxRequests)},
		streams:   gate{limit: int64(cfg.MaxStreams)},
		uploads:   gate{limit: int64(cfg.MaxUploads)},
		requestID: newRequestIDs(),
		openAPI:   sync.OnceValue(func() []byte { return openAPI(table, cfg.Version) }),
	}
	r := chi.NewRouter()
	r.Use(middleware.GetHead)
	for i := range table {
		r.Method(table[i].method, table[i].path, a.serve(&table[i]))
	}
	r.NotFound(a.serve(&route{path: "other", access: open, handle: (*api).noRoute}))
	r.MethodNotAllowed(a.serve(&route{path: "other", access: open, handle: (*api).noMethod}))
	return r
}

// Server returns a server of h at addr whose timeouts suit the routes: slow
// clients are cut off, streams keep themselves alive.
func Server(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader,
	}
}
