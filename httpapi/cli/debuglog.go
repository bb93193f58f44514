package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cairn/fsm"
)

// debugPort is where "cairn serve --debug" is told to listen in all examples.
const debugPort = "http://127.0.0.1:6060"

func (a *app) debugLog() *cobra.Command {
	var port, level string
	var lines int
	var follow bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Read along with a node's log, in more detail than it has if you like",
		Long: `Show the newest lines of a node's log, and with --follow what comes after them.
With --level debug that has details which the log itself does not: the node makes
them only while somebody reads them, so nothing has to be set or started again.

It asks the node's --debug port, on the node's machine.`,
		Example: "  cairn debug log --lines 50\n  cairn debug log --follow --level debug --debug http://127.0.0.1:6060",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"lines": {strconv.Itoa(lines)}, "level": {level}}
			if follow {
				q.Set("follow", "true")
			}
			return a.readLog(cmd.Context(), strings.TrimSuffix(port, "/")+"/debug/log?"+q.Encode())
		},
	}
	cmd.Flags().StringVar(&port, "debug", debugPort, "`URL` of the node's debug port")
	cmd.Flags().IntVar(&lines, "lines", 200, "`N` lines of those that were written")
	cmd.Flags().StringVar(&level, "level", "info", "with --follow, the lowest `LEVEL`: debug, info, warn or error")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	return cmd
}

// readLog copies what a debug port answers.
func (a *app) readLog(ctx context.Context, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return usagef("--debug is no URL, such as %s", debugPort)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C is how one stops reading
		}
		return fsm.Errorf(fsm.Unavailable, "ask the debug port: %v; a node has one if it runs with --debug 127.0.0.1:6060", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("the debug port answered: %s", strings.TrimSpace(string(why)))
	}
	if _, err := io.Copy(a.Stdout, resp.Body); err != nil && ctx.Err() == nil {
		return errors.Join(errors.New("the node ended, or its debug port did"), err)
	}
	return nil
}
