package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cairn/httpapi/cli/local"
	"cairn/httpapi/debug"
)

// Defaults of the settings that a cluster is founded with.
const (
	DefaultPartitions    = 16
	DefaultNodeTimeout   = 5 * time.Second
	DefaultReassignAfter = 30 * time.Second
)

// Limits of what a cluster may be founded with.
const (
	maxPartitions  = 1024
	maxReplicas    = 64 // see replicasFlag
	minNodeTimeout = 500 * time.Millisecond
	maxNodeName    = 64 // bytes
)

// Defaults of how many requests a second a node takes from one client. They are
// far beyond what people do, a team on many phones included.
const (
	DefaultTeamRate    = 50
	DefaultStaffRate   = 1000
	DefaultAddressRate = 200
	maxRate            = 1_000_000
	// DefaultConnections is how many connections of clients may be open.
	DefaultConnections = 16_384
)

// Hidden flags.
const (
	replicasFlag = "--bench-replicas"
	admitAllFlag = "--bench-admit-all"
	entryFlag    = "--bench-entry"
)

// ServeConfig is what "serve" and "join" read from their flags: all that a node
// needs to know at its start. It is valid when Config.Serve gets it.
type ServeConfig struct {
	// Data is the node's directory: empty at its first start, its own after.
	Data string
	// HTTP and Cluster are the listen addresses, host:port; port 0 lets the
	// system choose. An empty host listens on every interface.
	HTTP, Cluster string
	// Advertise is the host:port at which other nodes reach Cluster. Empty: the
	// address it listens on, which must then name a host.
	Advertise string
	// Debug is the loopback host:port of the debug port, for profiles. Empty: none.
	Debug string
	// Name is the node's name. Empty: the host's.
	Name string
	// Zone is where the node stands; replicas spread over zones. May be empty.
	Zone string
	// Join lists the cluster addresses of members to join through. Empty: found
	// a cluster if Data is empty, else run as the member that Data belongs to.
	Join []string
	// JoinToken admits the node. Empty only if Join is, or if Data already
	// belongs to a cluster.
	JoinToken string
	// ExpectCluster is the id that Data must belong to; an empty or a foreign
	// directory is then refused. Empty: anything goes.
	ExpectCluster string

	// Partitions, NodeTimeout and ReassignAfter are settings of the cluster,
	// replicated at its founding. Zero: not asked for, so the default at the
	// founding and whatever the cluster has later. Anything else that differs
	// from what the cluster has is worth a warning.
	Partitions    int
	NodeTimeout   time.Duration
	ReassignAfter time.Duration

	// TeamRate, StaffRate and AddressRate are how many requests a second this node
	// takes from a team's token, another token, and an address without a valid
	// one. Zero: any number.
	TeamRate, StaffRate, AddressRate int
	// Proxies are the networks whose X-Forwarded-For is believed.
	Proxies []netip.Prefix

	// Connections is how many connections of clients may be open.
	Connections int

	// Replicas is how many voters a partition gets; 0 means three. It is for "bench
	// scale --baseline", and hidden.
	Replicas int
	// EntryCommands is how many commands a log entry holds; 0 means what fits. It
	// is for "bench mission", hidden.
	EntryCommands int
	// AdmitAll refuses nobody for want of room. It is for "bench overload
	// --baseline", hidden.
	AdmitAll bool

	// AdminTokenFile and JoinTokenFile are new files, mode 0600, for the tokens
	// of a founding. Empty: the tokens are told on Stderr only.
	AdminTokenFile, JoinTokenFile string
	// ReadyFile is for Ready. Empty: nobody waits for it.
	ReadyFile string

	Version string    // of this program
	Stderr  io.Writer // where the node logs and tells its tokens
}

// Validate checks what can be checked without touching the machine.
func (c ServeConfig) Validate() error {
	if c.Data == "" {
		return errors.New("--data DIR is missing: a node keeps everything it must not forget there")
	}
	for _, a := range []struct{ flag, addr string }{{"--http", c.HTTP}, {"--cluster", c.Cluster}, {"--advertise", c.Advertise}, {"--debug", c.Debug}} {
		if a.addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			return fmt.Errorf("%s %q is not HOST:PORT", a.flag, a.addr)
		}
	}
	if c.Debug != "" && !debug.Loopback(c.Debug) {
		return fmt.Errorf("--debug %q must be a loopback address, such as 127.0.0.1:6060: whoever reaches it can read this process's memory and slow it down", c.Debug)
	}
	for _, addr := range c.Join {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not the HOST:PORT of a member's --cluster address", addr)
		}
	}
	for _, r := range []struct {
		flag string
		rate int
	}{{"--team-rate", c.TeamRate}, {"--staff-rate", c.StaffRate}, {"--address-rate", c.AddressRate}} {
		if r.rate < 0 || r.rate > maxRate {
			return fmt.Errorf("%s must be 0 (no limit) to %d requests a second", r.flag, maxRate)
		}
	}
	switch {
	case len(c.Name) > maxNodeName || strings.ContainsFunc(c.Name, notGraphic):
		return fmt.Errorf("--name must be at most %d bytes without blanks or control characters", maxNodeName)
	case c.Partitions < 0 || c.Partitions > maxPartitions:
		return fmt.Errorf("--partitions must be 1 to %d; 2 to 4 for each node you expect is a good number", maxPartitions)
	case c.Replicas < 0 || c.Replicas > maxReplicas:
		return fmt.Errorf("--bench-replicas must be 1 to %d", maxReplicas)
	case c.Connections < 1:
		return errors.New("--connections must be at least 1")
	case c.EntryCommands < 0:
		return errors.New("--bench-entry must not be negative")
	case c.NodeTimeout != 0 && c.NodeTimeout < minNodeTimeout:
		return fmt.Errorf("--node-timeout must be at least %v, or every pause declares a node down", minNodeTimeout)
	case c.ReassignAfter < 0:
		return errors.New("--reassign-after must not be negative")
	case len(c.Join) == 0 && c.JoinToken != "":
		return errors.New("--token is for joining: name a member with --join, or use \"cairn join\"")
	}
	return nil
}

// Ready tells whoever started the node that it serves, and where: it writes
// ReadyFile whole, or not at all. httpAddr and clusterAddr are the addresses
// that were really bound, so a port of 0 can be learned; debugAddr may be empty.
func (c ServeConfig) Ready(httpAddr, clusterAddr, debugAddr string) error {
	if c.ReadyFile == "" {
		return nil
	}
	r := local.Ready{HTTP: "http://" + httpAddr, Cluster: clusterAddr}
	if debugAddr != "" {
		r.Debug = "http://" + debugAddr
	}
	return local.WriteReady(c.ReadyFile, r)
}

func (a *app) serveCommand() *cobra.Command {
	var cfg ServeConfig
	cmd := &cobra.Command{
		Use:     "serve --data DIR",
		Short:   "Run a node; on an empty directory, found a cluster",
		GroupID: groupNode,
		Long: `Run a node until it is stopped. On an empty directory it founds a cluster of one
node and tells, once, on stderr, the admin token and a join token (many uses,
24 hours). On a directory that belongs to a cluster it takes its place there.

The first SIGTERM or Ctrl-C hands leaderships over and stops; a second one
kills, which loses nothing either.`,
		Example: `  cairn serve --data ./n1
  cairn serve --data /var/lib/cairn --advertise cairn-1.example.com:7400 --partitions 32
  cairn serve --data ./n2 --join cairn-1.example.com:7400 --token cairn_j_...`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, cfg) },
	}
	nodeFlags(cmd.Flags(), &cfg)
	cmd.Flags().StringSliceVar(&cfg.Join, "join", nil, "cluster `ADDR[,ADDR...]` of members to join through")
	return cmd
}

func (a *app) joinCommand() *cobra.Command {
	var cfg ServeConfig
	cmd := &cobra.Command{
		Use:     "join ADDR[,ADDR…] --token T --data DIR",
		Short:   "Join a cluster and run a node of it",
		GroupID: groupNode,
		Long: `Join the cluster that a member at ADDR (its --cluster address) belongs to, and
run. Joining is retried with backoff. On a directory that already belongs to
that cluster the node just runs; one of another cluster is refused.`,
		Example: `  cairn join cairn-1.example.com:7400 --token cairn_j_... --data ./n2
  CAIRN_JOIN_TOKEN=cairn_j_... cairn join 10.0.0.1:7400,10.0.0.2:7400 --data /var/lib/cairn`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Join = strings.Split(args[0], ",")
			return a.serve(cmd, cfg)
		},
	}
	nodeFlags(cmd.Flags(), &cfg)
	return cmd
}

// nodeFlags declares the flags that serve and join share.
func nodeFlags(f *pflag.FlagSet, cfg *ServeConfig) {
	f.StringVar(&cfg.Data, "data", "", "the node's `DIR`; made if it does not exist")
	f.StringVar(&cfg.HTTP, "http", ":8080", "listen `HOST:PORT` for clients")
	f.StringVar(&cfg.Cluster, "cluster", ":7400", "listen `HOST:PORT` for other nodes")
	f.StringVar(&cfg.Advertise, "advertise", "", "`HOST:PORT` at which other nodes reach --cluster")
	f.StringVar(&cfg.Debug, "debug", "", "listen `HOST:PORT` for profiles (pprof); loopback only (default: none)")
	f.StringVar(&cfg.Name, "name", "", "the node's `NAME` (default: the host's)")
	f.StringVar(&cfg.Zone, "zone", "", "the `ZONE` the node stands in; replicas spread over zones")
	f.StringVar(&cfg.JoinToken, "token", "", "join `TOKEN` (CAIRN_JOIN_TOKEN)")
	f.SetAnnotation("token", settingName, []string{"join-token"})
	f.StringVar(&cfg.ExpectCluster, "expect-cluster", "", "refuse a directory that is empty or not of the cluster with this `ID`")
	f.IntVar(&cfg.Partitions, "partitions", DefaultPartitions, "`N` partitions, fixed at the founding")
	f.DurationVar(&cfg.NodeTimeout, "node-timeout", DefaultNodeTimeout, "silence after which a node is down; set at the founding")
	f.DurationVar(&cfg.ReassignAfter, "reassign-after", DefaultReassignAfter, "downtime after which a node's replicas move; set at the founding")
	f.IntVar(&cfg.TeamRate, "team-rate", DefaultTeamRate, "`N` requests a second from a team's token, at most; 0: any number")
	f.IntVar(&cfg.StaffRate, "staff-rate", DefaultStaffRate, "`N` requests a second from an organizer's or admin's token, at most; 0: any number")
	f.IntVar(&cfg.AddressRate, "address-rate", DefaultAddressRate, "`N` requests a second without a token from an address, at most; 0: any number")
	f.IntVar(&cfg.Connections, "connections", DefaultConnections, "`N` connections of clients at most; less if the system permits fewer files")
	f.Var((*prefixes)(&cfg.Proxies), "proxy", "networks `CIDR[,CIDR...]` of proxies whose X-Forwarded-For is believed")
	f.IntVar(&cfg.Replicas, strings.TrimPrefix(replicasFlag, "--"), 0, "`N` voters of each partition instead of three, for benchmarks")
	f.MarkHidden(strings.TrimPrefix(replicasFlag, "--"))
	f.IntVar(&cfg.EntryCommands, strings.TrimPrefix(entryFlag, "--"), 0, "`N` commands in a log entry at most, for benchmarks")
	f.MarkHidden(strings.TrimPrefix(entryFlag, "--"))
	f.BoolVar(&cfg.AdmitAll, strings.TrimPrefix(admitAllFlag, "--"), false, "refuse nobody for want of room, for benchmarks")
	f.MarkHidden(strings.TrimPrefix(admitAllFlag, "--"))
	f.StringVar(&cfg.AdminTokenFile, "admin-token-file", "", "write the founding's admin token to this new `FILE`")
	f.StringVar(&cfg.JoinTokenFile, "join-token-file", "", "write the founding's join token to this new `FILE`")
	f.StringVar(&cfg.ReadyFile, "ready-file", "", "write the bound addresses to this `FILE` (JSON) once the node serves")
}

// prefixes is a flag: networks, or addresses, with commas.
type prefixes []netip.Prefix

func (p *prefixes) Type() string { return "CIDRs" }

func (p *prefixes) String() string {
	out := make([]string, len(*p))
	for i, n := range *p {
		out[i] = n.String()
	}
	return strings.Join(out, ",")
}

// Set adds to what is there.
func (p *prefixes) Set(list string) error {
	for _, s := range strings.Split(list, ",") {
		n, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			n, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return fmt.Errorf("%q is no network, such as 10.0.0.0/8, and no address", s)
		}
		*p = append(*p, n.Masked())
	}
	return nil
}

// serve checks the flags and runs the node. A founding setting that nobody
// asked for is zero, so that a restart with default flags warns of nothing.
func (a *app) serve(cmd *cobra.Command, cfg ServeConfig) error {
	if err := cfg.Validate(); err != nil {
		return &usageError{err}
	}
	f := cmd.Flags()
	if !f.Changed("partitions") {
		cfg.Partitions = 0
	} else if cfg.Partitions == 0 {
		return usagef("--partitions must be 1 to %d", maxPartitions)
	}
	if !f.Changed("node-timeout") {
		cfg.NodeTimeout = 0
	}
	if !f.Changed("reassign-after") {
		cfg.ReassignAfter = 0
	}
	cfg.Version, cfg.Stderr = a.Version, a.Stderr
	return a.Serve(cmd.Context(), cfg)
}
