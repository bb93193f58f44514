package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// probe is a tree of two commands; it returns what "run" got.
func probe(t *testing.T, args []string, env map[string]string) (got map[string]string, err error) {
	t.Helper()
	root := &cobra.Command{Use: "root", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().String("config", "", "")
	run := &cobra.Command{
		Use: "run",
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return applySettings(cmd, func(name string) string { return env[name] })
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			got = map[string]string{}
			for _, name := range []string{"addr", "limit", "node-timeout", "token", "watch"} {
				got[name] = cmd.Flag(name).Value.String()
			}
			return nil
		},
	}
	f := run.Flags()
	f.StringSlice("addr", []string{"default"}, "")
	f.Int("limit", 10, "")
	f.Duration("node-timeout", 0, "")
	f.Bool("watch", false, "")
	f.String("token", "", "")
	f.SetAnnotation("token", settingName, []string{"join-token"})
	other := &cobra.Command{Use: "other", RunE: run.RunE}
	other.Flags().String("token", "", "")
	other.Flags().String("elsewhere", "", "")
	root.AddCommand(run, other)
	root.SetArgs(append([]string{"run"}, args...))
	return got, root.Execute()
}

// TestPrecedence: flag, then environment, then file, then default.
func TestPrecedence(t *testing.T) {
	const whole = "addr: [file1, file2]\nlimit: 30\nnode-timeout: 3s\njoin-token: file\nwatch: true\nelsewhere: x\n"
	for _, tt := range []struct {
		name  string
		args  []string
		env   map[string]string
		file  string
		which string // flag
		want  string
	}{
		{"default", nil, nil, "", "limit", "10"},
		{"file beats default", nil, nil, whole, "limit", "30"},
		{"environment beats file", nil, map[string]string{"CAIRN_LIMIT": "20"}, whole, "limit", "20"},
		{"flag beats all", []string{"--limit", "5"}, map[string]string{"CAIRN_LIMIT": "20"}, whole, "limit", "5"},
		{"a flag at its default beats all, too", []string{"--limit", "10"}, map[string]string{"CAIRN_LIMIT": "20"}, whole, "limit", "10"},
		{"empty variable is unset", nil, map[string]string{"CAIRN_LIMIT": ""}, whole, "limit", "30"},
		{"list of the file", nil, nil, whole, "addr", "[file1,file2]"},
		{"list replaces the default", nil, map[string]string{"CAIRN_ADDR": "a,b"}, "", "addr", "[a,b]"},
		{"dashes", nil, map[string]string{"CAIRN_NODE_TIMEOUT": "7s"}, whole, "node-timeout", "7s"},
		{"bool", nil, nil, whole, "watch", "true"},
		{"setting of another name", nil, map[string]string{"CAIRN_TOKEN": "admin"}, "", "token", ""},
		{"its variable", nil, map[string]string{"CAIRN_TOKEN": "admin", "CAIRN_JOIN_TOKEN": "join"}, "", "token", "join"},
		{"its line", nil, nil, whole, "token", "file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config", write(t, tt.file))
			}
			got, err := probe(t, args, tt.env)
			if err != nil || got[tt.which] != tt.want {
				t.Errorf("%s = %q, %v; want %q", tt.which, got[tt.which], err, tt.want)
			}
		})
	}
	t.Run("the file from the environment", func(t *testing.T) {
		got, err := probe(t, nil, map[string]string{"CAIRN_CONFIG": write(t, "limit: 44")})
		if err != nil || got["limit"] != "44" {
			t.Errorf("limit = %q, %v; want 44", got["limit"], err)
		}
	})
}

// TestSettingsErrors: every error says where, and nothing is half-applied
// quietly.
func TestSettingsErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"unknown", "limit: 1\nlimmit: 2\n", `:2: unknown setting "limmit"`},
		{"twice", "limit: 1\n\nlimit: 2\n", `[3:1] mapping key "limit" already defined`},
		{"nested", "addr:\n  a: b\n", `:1: "addr" needs a plain value`},
		{"list of lists", "addr: [[a]]\n", `:1: "addr" needs a plain value`},
		{"null", "addr:\n", `:1: "addr" needs a plain value`},
		{"not a mapping", "- a\n", `:1: want one mapping`},
		{"a word", "hello\n", `:1: want one mapping`},
		{"two documents", "limit: 1\n---\nlimit: 2\n", `want one mapping`},
		{"wrong type", "\nlimit: many\n", `:2: invalid argument "many"`},
		{"the file itself", "config: x\n", `unknown setting "config"`},
		{"not YAML", "a: [\n", `[1:`},
		{"alias", "limit: &a 1\naddr: *a\n", `needs a plain value`},
		{"too large", strings.Repeat("# x\n", 1<<19), `is larger than`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := probe(t, []string{"--config", write(t, tt.file)}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := probe(t, []string{"--config", "no/such/file"}, nil); err == nil {
		t.Error("a missing file passes")
	}
	if _, err := probe(t, nil, map[string]string{"CAIRN_LIMIT": "many"}); err == nil || !strings.HasPrefix(err.Error(), "CAIRN_LIMIT: ") {
		t.Errorf("got %v, want the variable's name", err)
	}
	for _, empty := range []string{"", "\n", "# only a comment\n", "---\n"} {
		if _, err := probe(t, []string{"--config", write(t, empty)}, nil); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// FuzzSettings: no file makes it panic, and only known settings come out.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{"addr: [a, b]\nlimit: 1", "a: {b: c}", "- x", "limit: &a 1\naddr: *a", "? [a]\n: b", "<<: x", "!!str limit: 1", "limit: |\n  1\n"} {
		f.Add([]byte(seed))
	}
	known := map[string]bool{"addr": true, "limit": true}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseSettings("f", data, known)
		if err != nil && got != nil {
			t.Fatal("settings beside an error")
		}
		for name := range got {
			if !known[name] {
				t.Fatalf("unknown setting %q", name)
			}
		}
	})
}
