package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// maxDocument bounds a hunt's file, in bytes, as the API does.
const maxDocument = 16 << 20

func (a *app) huntCommand() *cobra.Command {
	return a.online(group("hunt", "Create, change and list hunts", groupHunt,
		a.huntCreate(), a.huntList(), a.huntShow(), a.huntUpdate(),
		a.huntState("open", "open", "Open a hunt: its schedule decides when teams may play"),
		a.huntState("pause", "paused", "Pause a hunt: answers are refused until it is opened again"),
		a.huntState("close", "closed", "Close a hunt: nobody can submit any more"),
		a.huntDelete(), a.huntValidate(),
	))
}

func (a *app) huntCreate() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "create -f FILE",
		Short: "Create a hunt from a JSON or YAML file",
		Long: `Create a hunt from a JSON or YAML file. The same document again changes
nothing; another document under the same id is refused (see "hunt update").`,
		Example: "  cairn hunt create -f hunt.yaml\n  cairn hunt create -f - < hunt.json",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			doc, err := a.readHunt(file)
			if err != nil {
				return err
			}
			h, created, err := c.CreateHunt(ctx, doc.JSON())
			if err != nil {
				return err
			}
			return a.emit(answer{h, func(p *page) {
				if created {
					p.printf("Created hunt %s, version %d, %s.\n", h.ID, h.Version, h.State)
				} else {
					p.printf("Hunt %s is there already, just so: version %d, %s.\n", h.ID, h.Version, h.State)
				}
			}})
		}),
	}
	fileFlag(cmd, &file)
	return cmd
}

func (a *app) huntUpdate() *cobra.Command {
	var file, ifMatch string
	cmd := &cobra.Command{
		Use:   "update -f FILE",
		Short: "Replace a hunt's document",
		Long: `Replace a hunt's document. The hunt is the one whose id is in the file. When it
answers, no submission that starts later is judged under the old document.
Without --if-match the version that is current now is replaced, whatever it is.`,
		Example: "  cairn hunt update -f hunt.yaml\n  cairn hunt update -f hunt.yaml --if-match '\"v1.3\"'",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			doc, err := a.readHunt(file)
			if err != nil {
				return err
			}
			etag := ifMatch
			if etag == "" {
				if _, etag, err = c.Hunt(ctx, doc.ID); err != nil {
					return err
				}
			}
			h, _, err := c.PutHunt(ctx, doc.ID, etag, doc.JSON())
			if err != nil {
				return err
			}
			return a.emit(answer{h, func(p *page) {
				p.printf("Hunt %s is now version %d, %s.\n", h.ID, h.Version, h.State)
			}})
		}),
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVar(&ifMatch, "if-match", "", "replace only the version with this `ETAG`")
	return cmd
}

func (a *app) huntList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the hunts that the token may see",
		Args:  cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			hunts, err := allHunts(ctx, c)
			if err != nil {
				return err
			}
			return a.emit(answer{hunts, func(p *page) {
				t := newTable("ID", "TITLE", "STATE", ">VERSION", "PUBLIC", "STARTS", "ENDS")
				for _, h := range hunts.Hunts {
					t.add(string(h.ID), h.Title, h.State, strconv.FormatUint(h.Version, 10), yesNo(h.Public), when(h.StartsAt), when(h.EndsAt))
				}
				p.table(t)
			}})
		}),
	}
}

// allHunts merges the pages of the list of hunts.
func allHunts(ctx context.Context, c *client.Client) (*rest.Hunts, error) {
	all := &rest.Hunts{Hunts: []rest.Hunt{}}
	return all, pages(func(token string) (string, error) {
		page, err := c.Hunts(ctx, client.Page{Size: maxPage, Token: token})
		if err != nil {
			return "", err
		}
		all.Hunts = append(all.Hunts, page.Hunts...)
		return page.NextPageToken, nil
	})
}

func (a *app) huntShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show HUNT",
		Short:             "Show a hunt and, to organisers, how it goes",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			h, etag, err := c.Hunt(ctx, fsm.HuntID(args[0]))
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(h)
			}
			stats, err := c.Stats(ctx, h.ID, client.Default)
			if k := fsm.KindOf(err); err != nil && k != fsm.Unauthenticated && k != fsm.Forbidden {
				return err
			}
			return a.emit(answer{h, func(p *page) { huntText(p, h, etag, stats) }})
		}),
	}
}

func huntText(p *page, h *rest.Hunt, etag string, stats *rest.Stats) {
	p.printf("%s  %s\n", h.ID, h.Title)
	if h.Description != "" {
		p.printf("%s\n", strings.TrimSpace(h.Description))
	}
	state := h.State
	if h.Reason != "" {
		state += " (" + h.Reason + ")"
	}
	p.printf("\nstate    %s\nversion  %d, ETag %s\n", state, h.Version, etag)
	p.printf("starts   %s\nends     %s\n", when(h.StartsAt), when(h.EndsAt))
	p.printf("ranking  %s\n", strings.Join(h.Ranking, ", "))
	rounds := make([]string, 0, len(h.Rounds))
	for _, r := range h.Rounds {
		rounds = append(rounds, r.Title)
	}
	if len(rounds) > 0 {
		p.printf("rounds   %s\n", strings.Join(rounds, ", "))
	}
	if stats == nil {
		return
	}
	p.printf("teams    %s\n", thousands(stats.Teams))
	counts := make([]string, 0, len(verdicts))
	for _, v := range verdicts {
		if n := stats.Submissions[v]; n > 0 {
			counts = append(counts, fmt.Sprintf("%s %s", thousands(n), v))
		}
	}
	p.printf("answers  %s\n\n", orDash(strings.Join(counts, ", ")))
	t := newTable("CLUE", ">SOLVED", ">ATTEMPTS", "FIRST SOLVE")
	for _, c := range stats.Clues {
		first := "-"
		if f := c.FirstSolve; f != nil {
			first = fmt.Sprintf("%s, %s", f.At.Std().Format(clockFormat), f.Team)
		}
		t.add(string(c.ID), thousands(c.Solved), thousands(c.Attempts), first)
	}
	p.table(t)
}

func (a *app) huntState(verb, state, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:               verb + " HUNT",
		Short:             short,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			h, err := c.SetHuntState(ctx, fsm.HuntID(args[0]), rest.HuntState{State: state, Reason: reason})
			if err != nil {
				return err
			}
			return a.emit(answer{h, func(p *page) { p.printf("Hunt %s is %s.\n", h.ID, h.State) }})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` that is kept with the change")
	return cmd
}

func (a *app) huntDelete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete HUNT --yes",
		Short:             "Delete a hunt with all its teams and submissions",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if !yes {
				return usagef("this deletes %s with all its teams and submissions, for good; say --yes if you mean it", args[0])
			}
			if err := c.DeleteHunt(ctx, fsm.HuntID(args[0])); err != nil {
				return err
			}
			fmt.Fprintf(a.Stderr, "Deleted hunt %s.\n", args[0])
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do it")
	return cmd
}

func (a *app) huntValidate() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "validate -f FILE",
		Short: "Check a hunt's file without a server",
		Long: `Check a hunt's file without a server: unknown fields, wrong types, unknown and
duplicate ids, cycles, clues that can never be reached or solved, limits. Every
problem is told, with the place it is at.`,
		Example: "  cairn hunt validate -f hunt.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			doc, err := a.readHunt(file)
			if err != nil {
				return err
			}
			body := struct {
				ID     fsm.HuntID `json:"id"`
				Rounds int        `json:"rounds"`
				Clues  int        `json:"clues"`
			}{doc.ID, len(doc.Rounds), len(doc.Clues)}
			return a.emit(answer{body, func(p *page) {
				p.printf("%s is a good hunt: id %s, %s, %s.\n", file, doc.ID, count(len(doc.Rounds), "round"), count(len(doc.Clues), "clue"))
			}})
		},
	}
	fileFlag(cmd, &file)
	return cmd
}

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", "", "the hunt's `FILE`, JSON or YAML; - for standard input")
	cmd.MarkFlagRequired("file") // cannot fail: the flag was just declared
}

// readHunt reads and checks a hunt's file, and tells every problem in it on
// stderr. JSON is recognised by its name or, on standard input, by its "{".
func (a *app) readHunt(path string) (*hunt.Document, error) {
	data, err := a.readFile(path, maxDocument)
	if err != nil {
		return nil, err
	}
	parse := hunt.ParseYAML
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".json" || ext == "" && strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
		parse = hunt.Parse
	}
	doc, err := parse(data)
	if bad, ok := errors.AsType[*hunt.Error](err); ok {
		for _, p := range bad.Problems {
			fmt.Fprintf(a.Stderr, "%s: %s\n", path, printable(p.String()))
		}
		return nil, fsm.Errorf(fsm.Invalid, "%s is not a hunt: it has %s", path, count(len(bad.Problems), "problem"))
	}
	return doc, err
}

// readFile reads a file, or standard input for "-", of at most limit bytes.
func (a *app) readFile(path string, limit int64) ([]byte, error) {
	in := a.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fsm.Errorf(fsm.TooLarge, "%s is larger than %d bytes", path, limit)
	}
	return data, nil
}

// maxPage is the largest page that lists give.
const maxPage = 1000

// clockFormat is how times are shown to people: to the second, UTC.
const clockFormat = "2006-01-02 15:04:05"

func when(t *fsm.Time) string {
	if t == nil {
		return "-"
	}
	return t.Std().Format(clockFormat)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// verdicts in the order in which they are told.
var verdicts = []string{"correct", "incorrect", "nudge", "duplicate", "already_solved"}
