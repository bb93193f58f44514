package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
)

// defaultAddr is where a node on this machine listens by default.
const defaultAddr = "http://127.0.0.1:8080"

// completionTimeout bounds what a press of the Tab key may take.
const completionTimeout = 2 * time.Second

// online gives cmd, and all below it, the flags of commands that talk to a
// cluster.
func (a *app) online(cmd *cobra.Command) *cobra.Command {
	f := cmd.PersistentFlags()
	f.StringSliceVar(&a.addrs, "addr", []string{defaultAddr}, "base `URL[,URL...]` of nodes; any will do")
	f.StringVar(&a.token, "token", "", "bearer `TOKEN`")
	return cmd
}

// connect returns a client of the cluster at --addr.
func (a *app) connect() (*client.Client, error) {
	a.token = strings.TrimSpace(a.token) // a token from a file ends with a newline
	if strings.ContainsFunc(a.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, usagef("--token or CAIRN_TOKEN holds more than a token: blanks, lines or other characters that no token has")
	}
	c, err := client.New(a.addrs, a.token)
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// call wraps the body of a command that talks to the cluster: it connects, and
// names the addresses when none of them answers.
func (a *app) call(body func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.HTTP.CloseIdleConnections()
		err = body(cmd.Context(), c, args)
		if errors.Is(err, client.ErrUnreachable) {
			return fmt.Errorf("%w\nIs a node running there? Name others with --addr or CAIRN_ADDR", err)
		}
		return err
	}
}

// completeHunt completes a first argument that is a hunt's id.
func (a *app) completeHunt(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	none := cobra.ShellCompDirectiveNoFileComp
	if applySettings(cmd, a.Getenv) != nil {
		return nil, none
	}
	c, err := a.connect()
	if err != nil {
		return nil, none
	}
	defer c.HTTP.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	hunts, err := allHunts(ctx, c)
	if err != nil {
		return nil, none
	}
	ids := make([]string, 0, len(hunts.Hunts))
	for _, h := range hunts.Hunts {
		ids = append(ids, fmt.Sprintf("%s\t%s", h.ID, h.Title))
	}
	return ids, none
}

// pages calls fetch with one page token after the other, from the empty one,
// until it returns an empty one.
func pages(fetch func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := fetch(token)
		if err != nil || next == "" {
			return err
		}
		if next == token {
			return fsm.Errorf(fsm.Internal, "the list does not end: a page names itself as the next one")
		}
		token = next
	}
}
