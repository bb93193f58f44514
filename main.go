// Command cairn is one program for everything: it runs a node of a treasure
// hunt cluster, and it is the client of a running one. "cairn help" is the way
// in, "cairn demo" the quickest look.
package main

import (
	"context"
	_ "embed" // the sample hunt
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"cairn/httpapi/cli"
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
		Stdin:  stdin,
		Stdout: stdout,
		Stderr: stderr,
		Getenv: os.Getenv,
		Sample: sample,
		Serve:  serve,
	}).Run(ctx, args)
}

// serve runs a node until ctx ends or the node fails: it wires store,
// cluster.Node and httpapi together and stops them in reverse order.
func serve(context.Context, cli.ServeConfig) error {
	return errors.New("node not wired yet")
}
