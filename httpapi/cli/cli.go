// Package cli is the command line of cairn: every command, its flags, what it
// prints and how it exits. Commands that talk to a cluster do so through
// [cairn/httpapi/client] and see nothing that another client could not see;
// "serve" and "join" only read their flags and hand a [ServeConfig] to whoever
// runs nodes.
//
// What every command keeps to:
//
//   - Data goes to stdout; progress, advice and errors go to stderr.
//   - -o json prints the body of the REST answer, pages merged.
//   - A flag beats its CAIRN_ variable, which beats the --config file, which
//     beats the default (settings.go).
//   - The exit code tells a script what kind of failure it was (exit.go).
//   - Colour, bars and redrawing appear on a terminal only (screen.go).
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Config is what a CLI needs of its process. All fields but Version must be
// set.
type Config struct {
	Stdin  io.Reader
	Stdout io.Writer // data
	Stderr io.Writer // everything else
	// Getenv looks an environment variable up; empty means unset.
	Getenv func(string) string
	// Version is what "cairn version" says and what nodes report. Empty: what
	// the build knows.
	Version string
	// Sample is the hunt that "cairn demo" plays, as YAML.
	Sample []byte
	// Serve runs a node until ctx ends (nil: it drained and stopped) or the
	// node fails.
	Serve func(ctx context.Context, cfg ServeConfig) error
	// Inherit reads what the stopped node whose data directory it is has of the
	// controller, and with accept makes that the controller.
	Inherit func(ctx context.Context, data string, accept bool) (*ControllerCopy, error)
}

// CLI runs command lines.
type CLI struct{ cfg Config }

// New returns the command line of a process.
func New(cfg Config) *CLI {
	if cfg.Version == "" {
		cfg.Version = buildVersion()
	}
	return &CLI{cfg}
}

// Run executes one command line (without the program's name) and returns the
// exit code that API.md lists. It prints the error, if any, on stderr.
func (c *CLI) Run(ctx context.Context, args []string) int {
	a := &app{Config: c.cfg}
	root := a.root()
	entered := a.watchEntry(root)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !*entered {
		err = &usageError{err}
	}
	fmt.Fprintf(a.Stderr, "cairn: %v\n", printable(err.Error()))
	if hint := advice(cmd, err); hint != "" {
		fmt.Fprintln(a.Stderr, hint)
	}
	return exitCode(err)
}

// app is one run: the process's configuration and the flags that all commands
// share.
type app struct {
	Config
	addrs  []string
	token  string
	output string
	config string
}

// Groups of commands in the help text.
const (
	groupNode    = "node"
	groupCluster = "cluster"
	groupHunt    = "hunt"
	groupTools   = "tools"
)

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "A treasure-hunt engine that runs as a cluster",
		Long: `Cairn is a treasure-hunt engine that runs as a cluster: organisers create
hunts, teams submit answers to clues, and every answer is judged, scored and
remembered exactly once, whichever node fails.

  cairn demo                          see it run: three nodes, forty teams, one minute
  cairn serve --data ./n1             found a cluster of one node
  cairn join HOST:7400 --token T ...  add a node to it`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.loadSettings,
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.AddGroup(
		&cobra.Group{ID: groupNode, Title: "Run a node:"},
		&cobra.Group{ID: groupCluster, Title: "Look after a cluster:"},
		&cobra.Group{ID: groupHunt, Title: "Run a hunt:"},
		&cobra.Group{ID: groupTools, Title: "Tools:"},
	)
	root.SetHelpCommandGroupID(groupTools)
	root.SetCompletionCommandGroupID(groupTools)

	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "", "YAML `FILE` of settings, one flag name a line (addr: http://…)")
	f.StringVarP(&a.output, "output", "o", "table", "`FORMAT` of the answer: table or json")
	for _, cmd := range a.commands() {
		root.AddCommand(cmd)
	}
	return root
}

func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.serveCommand(), a.joinCommand(), a.demoCommand(),
		a.statusCommand(), a.nodesCommand(), a.partitionsCommand(),
		a.drainCommand(), a.undrainCommand(), a.leaveCommand(), a.removeCommand(), a.operatorCommand(), a.tokenCommand(),
		a.huntCommand(), a.teamCommand(), a.submitCommand(), a.replayCommand(), a.leaderboardCommand(),
		a.benchCommand(), a.dashboardsCommand(), a.debugCommand(), a.versionCommand(),
	}
}

// watchEntry wraps every command's body so that Run can tell a wrong command
// line (the body never ran) from a command that failed.
func (a *app) watchEntry(root *cobra.Command) *bool {
	entered := new(bool)
	var wrap func(cmd *cobra.Command)
	wrap = func(cmd *cobra.Command) {
		if body := cmd.RunE; body != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				*entered = true
				return body(cmd, args)
			}
		}
		for _, sub := range cmd.Commands() {
			wrap(sub)
		}
	}
	wrap(root)
	return entered
}

// loadSettings fills flags from the environment and the --config file, and
// checks what all commands share.
func (a *app) loadSettings(cmd *cobra.Command, _ []string) error {
	if err := applySettings(cmd, a.Getenv); err != nil {
		return err
	}
	if a.output != "table" && a.output != "json" {
		return fmt.Errorf("output %q is neither table nor json", a.output)
	}
	return nil
}

// group is a command that only holds others: by itself it is a usage error
// that lists them.
func group(use, short, groupID string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, GroupID: groupID,
		Args: func(cmd *cobra.Command, args []string) error {
			names := make([]string, 0, len(subs))
			for _, sub := range subs {
				names = append(names, sub.Name())
			}
			want := strings.Join(names, ", ")
			if len(args) == 0 {
				return fmt.Errorf("%s needs one of: %s", cmd.CommandPath(), want)
			}
			return fmt.Errorf("%s has no %q; it has: %s", cmd.CommandPath(), args[0], want)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(subs...)
	return cmd
}
