// Command cairn is one program for everything: it runs a node of a treasure
// hunt cluster, and it is the client of a running one. "cairn help" is the way
// in, "cairn demo" the quickest look.
package main

import (
	"context"
	_ "embed" // the sample hunt
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"cairn/cluster"
	"cairn/httpapi"
	"cairn/httpapi/cli"
	"cairn/httpapi/debug"
	"cairn/store"
)

// sample is the hunt that "cairn demo" plays.
//
//go:embed testdata/hunts/sample.yaml
var sample []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains and stops; a second one kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the process's exit code. Nothing
// below it exits the process by itself.
//
//	person ---> cli ---> httpapi/client ---> HTTP ----+
//	                                                  v
//	             serve --------------------------> httpapi
//	               |                                  |
//	               +--> cluster.Node <----------------+
//	                      |       \
//	peers <--- TLS -------+        +--> store (identity, logs, snapshots)
//	                      |
//	                      +--> Raft groups --> fsm/controller, fsm/partition
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.New(cli.Config{
		Stdin:   stdin,
		Stdout:  stdout,
		Stderr:  stderr,
		Getenv:  os.Getenv,
		Sample:  sample,
		Serve:   serveOn,
		Inherit: inherit,
	}).Run(ctx, args)
}

// grace bounds a clean stop; a second signal cuts it short.
const grace = 15 * time.Second

// serveOn runs a node, and runs it anew when it asks for that.
func serveOn(ctx context.Context, conf cli.ServeConfig) error {
	for {
		if err := serve(ctx, conf); !errors.Is(err, errAnew) {
			return err
		}
	}
}

// errAnew ends a node that is to start again with what is on its disk by then.
var errAnew = errors.New("this node starts again")

// serve runs a node until ctx ends or a part of it fails. Parts are started in
// the order of the graph above, from the disk up, and stopped in reverse.
func serve(ctx context.Context, conf cli.ServeConfig) error {
	logs, recent, log := logging(conf.Stderr)
	defer logs.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	fatal := func(err error) {
		log.Error("this node cannot go on", "err", err)
		logs.Close()
		os.Exit(exitFatal)
	}
	registry := prometheus.NewRegistry()
	metrics := httpapi.NewNodeMetrics(registry, conf.Version)

	dir, err := store.Open(conf.Data, store.Options{Logger: log, OnFatal: fatal, Metrics: metrics.Store})
	if err != nil {
		return err
	}
	defer dir.Close()
	web, err := net.Listen("tcp", conf.HTTP)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	defer web.Close()
	peers, err := net.Listen("tcp", conf.Cluster)
	if err != nil {
		return fmt.Errorf("listen for other nodes: %w", err)
	}
	nodeConf := nodeConfig(conf, dir, web, peers)
	nodeConf.Logger, nodeConf.Fatal, nodeConf.Events = log, fatal, metrics.Events
	nodeConf.Left = func() { fail(context.Canceled) } // a clean stop
	nodeConf.Again = func() { fail(errAnew) }
	node, err := cluster.Open(ctx, nodeConf, func(f cluster.Founded) error {
		return conf.Founding(f.Cluster, f.AdminToken, f.JoinToken)
	})
	if err != nil {
		return err
	}
	defer node.Close()
	metrics.Watch(node)

	api := apiServer(conf, httpapi.Config{
		Cluster: httpapi.Node{Node: node}, Logger: log, Registry: registry, Refused: metrics.Events.Refused,
	})
	go func() {
		if err := api.Serve(web); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("serve clients: %w", err))
		}
	}()
	debugAddr, stopDebug, err := serveDebug(conf.Debug, recent)
	if err != nil {
		return err
	}
	defer stopDebug()
	log.Info("serving", "cluster", node.Cluster(), "node", node.ID(), "name", nodeConf.Name, "http", web.Addr(), "peers", peers.Addr())
	if err := conf.Ready(web.Addr().String(), peers.Addr().String(), debugAddr); err != nil {
		return err
	}
	<-ctx.Done()
	log.Info("stopping")
	stop, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := api.Shutdown(stop); err != nil {
		api.Close()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// logging returns a logger, where its lines go to, and who remembers the newest.
func logging(w io.Writer) (*cluster.LogSink, *debug.Log, *slog.Logger) {
	sink := cluster.NewLogSink(w) // raft must never wait for a terminal
	recent := debug.NewLog()
	return sink, recent, slog.New(recent.Handler(slog.NewTextHandler(sink, nil)))
}

// apiServer is the server for clients, with the limits that the flags set.
func apiServer(conf cli.ServeConfig, api httpapi.Config) *http.Server {
	api.Version = conf.Version
	api.Limits = httpapi.Limits{Team: conf.TeamRate, Staff: conf.StaffRate, Address: conf.AddressRate, Proxies: conf.Proxies}
	s := httpapi.Server(conf.HTTP, httpapi.New(api))
	httpapi.NewConns(api.Registry, connections(conf.Connections)).Bound(s)
	return s
}

// connections is how many connections of clients a node keeps open: what was asked
// for, and no more than three quarters of the files that the system lets it open.
func connections(asked int) int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return asked
	}
	return max(1, int(min(uint64(asked), uint64(files.Cur)/4*3)))
}

// serveDebug opens the debug port, if one is asked for, and returns its address.
func serveDebug(addr string, log *debug.Log) (bound string, stop func(), err error) {
	if addr == "" {
		return "", func() {}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("listen for profiles: %w", err)
	}
	server := &http.Server{Handler: debug.Handler(log), ReadHeaderTimeout: time.Second}
	go server.Serve(l)
	return l.Addr().String(), func() { server.Close() }, nil
}

// inherit reads a stopped node's copy of the controller, and with accept makes it
// the controller.
func inherit(ctx context.Context, data string, accept bool) (*cli.ControllerCopy, error) {
	dir, err := store.Open(data, store.Options{Existing: true, OnFatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	var c cluster.ControllerCopy
	if accept {
		c, err = cluster.RecoverController(ctx, dir, dial, time.Now())
	} else {
		c, err = cluster.ReadController(ctx, dir, dial)
	}
	if err != nil {
		return nil, err
	}
	out := &cli.ControllerCopy{
		Cluster: c.Cluster, Node: string(c.Node), Index: c.Index, Term: c.Term,
		Members: c.Members, Partitions: c.Partitions, Hunts: c.Hunts, Begun: c.Begun && !accept, Aside: c.Aside, Done: accept,
	}
	for _, v := range c.Voters {
		state := "silent"
		switch {
		case v.Self:
			state = "this one"
		case v.Answers:
			state = "answers"
		}
		out.Voters = append(out.Voters, cli.ControllerVoter{Node: string(v.Node), Name: v.Name, Address: v.Address, State: state})
	}
	return out, nil
}

// exitFatal is the exit code of a node that its disk or its log failed.
const exitFatal = 70

// nodeConfig fills in what the flags leave open: the host's name, and addresses
// with the ports that were really bound.
func nodeConfig(conf cli.ServeConfig, dir *store.Dir, web, peers net.Listener) cluster.Config {
	advertise := reachable(conf.Advertise, peers.Addr(), outbound())
	host, _, _ := net.SplitHostPort(advertise)
	name := conf.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	return cluster.Config{
		Dir: dir, Listener: peers, Advertise: advertise, HTTP: reachable("", web.Addr(), host),
		Name: name, Zone: conf.Zone, Version: conf.Version,
		Join: conf.Join, JoinToken: conf.JoinToken, ExpectCluster: conf.ExpectCluster,
		Partitions: conf.Partitions, NodeTimeout: conf.NodeTimeout, ReassignAfter: conf.ReassignAfter,
		Replicas: conf.Replicas, AdmitAll: conf.AdmitAll, EntryCommands: conf.EntryCommands,
	}
}

// reachable is the address others are to use: the one asked for, else the bound
// one, with host where that is bound on every interface.
func reachable(asked string, bound net.Addr, host string) string {
	h, port, _ := net.SplitHostPort(bound.String())
	if asked != "" {
		var p string
		if h, p, _ = net.SplitHostPort(asked); p != "0" {
			port = p
		}
	}
	if ip := net.ParseIP(h); h == "" || ip != nil && ip.IsUnspecified() {
		h = host
	}
	return net.JoinHostPort(h, port)
}

// outbound is this host's first address that is not its own loopback.
func outbound() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}
