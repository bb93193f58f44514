package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// Limits of a bundle.
const (
	maxPiece     = 16 << 20 // bytes of one piece; what is beyond is cut off, a log's beginning
	maxBundle    = 64 << 20 // of all, before they are compressed; what is beyond is left out
	maxLog       = 4 << 20  // of a log
	pieceTimeout = 30 * time.Second
	cpuProfile   = 5 * time.Second
)

// secret is what no bundle may hold: tokens, whoever's. They are told on a
// founding node's stderr, which ends up in its log.
var secret = regexp.MustCompile(`cairn_[a-z]_[A-Za-z0-9_.:=+/-]+`)

const hidden = "cairn_HIDDEN"

// bundle is an archive in the making.
type bundle struct {
	tar  *tar.Writer
	now  time.Time
	size int64
	say  func(format string, args ...any)

	Version string    `json:"version"`
	Made    time.Time `json:"made"`
	Pieces  []string  `json:"pieces"`
	Missing []missing `json:"missing"` // what could not be had, and why
}

type missing struct {
	Piece string `json:"piece"`
	Error string `json:"error"`
}

// bundleSources is what a bundle is made of besides the cluster's own answers.
type bundleSources struct {
	debug []string // base URLs of nodes' debug ports
	data  string   // a node's directory
	log   string   // a node's log
}

func (a *app) debugCommand() *cobra.Command {
	return group("debug", "Find out what is wrong", groupTools, a.online(a.debugBundle()), a.debugLog())
}

func (a *app) debugBundle() *cobra.Command {
	var to string
	var from bundleSources
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Collect what a report of a fault needs into one archive",
		Long: `Collect what a cluster says of itself, and the metrics and health of each node,
into a .tar.gz that can go with a report of a fault. On a node's machine it can
take more: profiles from its --debug port, the names and sizes of its files, and
the end of its log.

It holds no token, no answer and no name of a player or team: tokens are taken out
of the log, and of the data only names and sizes of files are read. It does hold
the names and addresses of nodes. What cannot be had is listed in manifest.json,
and is no error.`,
		Example: "  cairn debug bundle\n  cairn debug bundle --to fault.tar.gz --debug http://127.0.0.1:6060 --data /var/lib/cairn --log /var/log/cairn.log",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			now := time.Now().UTC()
			if to == "" {
				to = "cairn-debug-" + now.Format("20060102-150405") + ".tar.gz"
			}
			out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("make the bundle: %w", err)
			}
			b, err := a.bundle(ctx, c, out, now, from)
			if err := errors.Join(err, out.Close()); err != nil {
				return errors.Join(err, os.Remove(to))
			}
			body := map[string]any{"file": to, "pieces": b.Pieces, "missing": b.Missing}
			return a.emit(answer{body, func(p *page) {
				p.printf("Wrote %s: %d pieces\n", to, len(b.Pieces))
				for _, m := range b.Missing {
					p.printf("Missing: %s: %s\n", m.Piece, m.Error)
				}
			}})
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "the new `FILE` (default: cairn-debug-TIME.tar.gz)")
	cmd.Flags().StringSliceVar(&from.debug, "debug", nil, "`URL[,URL...]` of debug ports of nodes, for profiles")
	cmd.Flags().StringVar(&from.data, "data", "", "a node's `DIR`, for names and sizes of its files")
	cmd.Flags().StringVar(&from.log, "log", "", "a node's log `FILE`, for its end")
	return cmd
}

// bundle writes the archive. What it lacks is in its manifest.
func (a *app) bundle(ctx context.Context, c *client.Client, out io.Writer, now time.Time, from bundleSources) (*bundle, error) {
	packed := gzip.NewWriter(out)
	b := &bundle{
		tar: tar.NewWriter(packed), now: now, Version: a.Version, Made: now,
		say: func(format string, args ...any) { fmt.Fprintf(a.Stderr, format+"\n", args...) },
	}
	collect := []func() error{
		func() error { return b.cluster(ctx, c) },
		func() error { return b.profiles(ctx, c.HTTP, from.debug) },
		func() error { return b.files(from.data) },
		func() error { return b.log(from.log) },
	}
	for _, f := range collect {
		if err := f(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	manifest, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, err
	}
	return b, errors.Join(b.write("manifest.json", manifest), b.tar.Close(), packed.Close())
}

// cluster takes what the cluster says, and each node.
func (b *bundle) cluster(ctx context.Context, c *client.Client) error {
	var nodes *rest.Nodes
	for _, piece := range []struct {
		name string
		get  func(ctx context.Context) (any, error)
	}{
		{"cluster.json", func(ctx context.Context) (any, error) { return c.Cluster(ctx) }},
		{"nodes.json", func(ctx context.Context) (v any, err error) { nodes, err = c.Nodes(ctx); return nodes, err }},
		{"partitions.json", func(ctx context.Context) (any, error) { return c.Partitions(ctx) }},
		{"snapshots.json", func(ctx context.Context) (any, error) { return c.Snapshots(ctx) }},
	} {
		if err := b.add(ctx, piece.name, func(ctx context.Context) ([]byte, error) {
			v, err := piece.get(ctx)
			if err != nil {
				return nil, err
			}
			return json.MarshalIndent(v, "", "  ")
		}); err != nil {
			return err
		}
	}
	bases := map[string]string{} // of the nodes, by name
	if nodes != nil {
		for _, n := range nodes.Nodes {
			bases[path.Join("nodes", clean(n.Name)+"-"+clean(string(n.ID)))] = c.Base(n.HTTP)
		}
	} else { // of those that were named
		for i, addr := range c.Addrs {
			bases[fmt.Sprintf("nodes/%d", i+1)] = addr
		}
	}
	for dir, base := range bases {
		for _, p := range []string{"/metrics", "/readyz?verbose", "/livez?verbose"} {
			name := dir + strings.TrimSuffix(p, "?verbose") + ".txt"
			if err := b.add(ctx, name, func(ctx context.Context) ([]byte, error) { return get(ctx, c.HTTP, base+p) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// profiles takes what debug ports have to say.
func (b *bundle) profiles(ctx context.Context, hc *http.Client, ports []string) error {
	for i, port := range ports {
		base := strings.TrimSuffix(port, "/") + "/debug/"
		for _, p := range []struct{ name, path string }{
			{"log.txt", "log?lines=2048"},
			{"goroutines.txt", "pprof/goroutine?debug=2"},
			{"heap.pprof", "pprof/heap"},
			{"cpu.pprof", "pprof/profile?seconds=" + fmt.Sprint(int(cpuProfile.Seconds()))},
		} {
			name := fmt.Sprintf("debug/%d/%s", i+1, p.name)
			if err := b.add(ctx, name, func(ctx context.Context) ([]byte, error) { return get(ctx, hc, base+p.path) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// files lists a node's directory: modes, sizes, times and names.
func (b *bundle) files(dir string) error {
	if dir == "" {
		return nil
	}
	return b.add(context.Background(), "files.txt", func(context.Context) ([]byte, error) {
		var list strings.Builder
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went meanwhile
			}
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(dir, p)
			fmt.Fprintf(&list, "%v %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), name)
			return nil
		})
		return []byte(list.String()), err
	})
}

// log takes the end of a log.
func (b *bundle) log(name string) error {
	if name == "" {
		return nil
	}
	return b.add(context.Background(), "log.txt", func(context.Context) ([]byte, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-maxLog), maxLog))
	})
}

// add takes a piece, or notes why it cannot be had. The error is one of writing.
func (b *bundle) add(ctx context.Context, name string, get func(context.Context) ([]byte, error)) error {
	b.say("Collecting %s ...", name)
	ctx, cancel := context.WithTimeout(ctx, pieceTimeout)
	defer cancel()
	data, err := get(ctx)
	if err == nil && b.size+int64(len(data)) > maxBundle {
		err = fmt.Errorf("the bundle would be larger than %d MiB", maxBundle>>20)
	}
	if err != nil {
		b.Missing = append(b.Missing, missing{name, secret.ReplaceAllString(err.Error(), hidden)})
		return nil
	}
	if err := b.write(name, data); err != nil {
		return err
	}
	b.Pieces = append(b.Pieces, name)
	return nil
}

// write puts a piece into the archive, without secrets.
func (b *bundle) write(name string, data []byte) error {
	if !strings.HasSuffix(name, ".pprof") { // which is packed, and holds names of functions only
		data = secret.ReplaceAll(data, []byte(hidden))
	}
	b.size += int64(len(data))
	if err := b.tar.WriteHeader(&tar.Header{Name: "cairn-debug/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: b.now}); err != nil {
		return err
	}
	_, err := b.tar.Write(data)
	return err
}

// get fetches a page, whatever its status: a node that is not ready says why.
func get(ctx context.Context, hc *http.Client, page string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			return nil, e.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxPiece))
}

// clean keeps of a node's name what a file's name may have.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
}
