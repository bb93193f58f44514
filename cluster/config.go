package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"cairn/cluster/group"
	"cairn/cluster/link"
	"cairn/store"
)

// Config is what a node is started with.
type Config struct {
	// Dir is the open data directory. The node does not close it.
	Dir *store.Dir
	// Listener accepts other nodes; the node closes it. Dial opens connections to
	// them; nil is TCP.
	Listener net.Listener
	Dial     link.Dialer
	// Advertise is the host:port under which other nodes reach Listener, HTTP
	// that under which clients reach the API.
	Advertise, HTTP string
	// Name is shown to people; unique in the cluster. Zone is where the node stands.
	Name, Zone string
	// Version is that of the build.
	Version string

	// Join are members' node addresses; empty on an empty directory means that
	// the node founds a cluster. JoinToken admits it.
	Join      []string
	JoinToken string
	// ExpectCluster refuses an empty directory and any cluster but this one.
	ExpectCluster string
	// Partitions, NodeTimeout and ReassignAfter are settings of a cluster that
	// is founded. On an existing one, values that differ are warned about; zero
	// means no opinion.
	Partitions                 int
	NodeTimeout, ReassignAfter time.Duration
	// Replicas is how many voters this node, as the controller's leader, wishes
	// each partition; at most 64. Zero means three. More is for benchmarks.
	Replicas int
	// EntryCommands is how many commands a log entry holds at most; zero means what
	// fits. One is for benchmarks.
	EntryCommands int
	// Level is the newest feature level that this node says it speaks. Zero means
	// controller.FeatureLevel; a lower one is for tests of mixed releases.
	Level uint32
	// AdmitAll works on whatever comes, at once. It is for benchmarks.
	AdmitAll bool

	// Timing of elections; zero means group.DefaultTiming.
	Timing group.Timing
	// Now is the wall clock, for times that are stored, shown or compared between
	// nodes; nil is time.Now. What is measured here goes by time.Now.
	Now func() time.Time
	// Logger must not block.
	Logger *slog.Logger
	// Fatal ends the process: what it is given cannot be survived.
	Fatal func(error)
	// Left is told once that this node is no member any more: nothing is left to
	// do here. Default: nothing happens.
	Left func()
	// Again is told once that this node must be closed and opened again, because
	// its copy of the controller does not count any more. Default: Fatal.
	Again func()
	// Events are told what happens; see Events.
	Events Events
}

// Defaults.
const (
	DefaultPartitions    = 16
	DefaultNodeTimeout   = 5 * time.Second
	DefaultReassignAfter = 30 * time.Second
)

// WithDefaults returns c with the zero values filled in that have defaults and
// are no settings of the cluster.
func (c Config) WithDefaults() Config {
	if c.Timing == (group.Timing{}) {
		c.Timing = group.DefaultTiming
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Left == nil {
		c.Left = func() {}
	}
	if c.Again == nil {
		c.Again = func() { c.Fatal(errors.New("this node must be started again")) }
	}
	c.Events = c.Events.withDefaults()
	return c
}

// Validate reports what is missing or contradicts itself.
func (c Config) Validate() error {
	switch {
	case c.Dir == nil || c.Listener == nil || c.Fatal == nil:
		return errors.New("cluster: Dir, Listener and Fatal must be set")
	case c.Advertise == "" || c.HTTP == "" || c.Name == "":
		return errors.New("cluster: Advertise, HTTP and Name must be set")
	}
	return c.Timing.Validate()
}
