package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxSettingsFile bounds a --config file, in bytes.
const maxSettingsFile = 1 << 20

// settingName is the annotation of a flag whose setting is not called like the
// flag. The --token of "cairn join" is a join token: taking it from CAIRN_TOKEN,
// where an organiser keeps another secret, would send that to a stranger.
const settingName = "cairn_setting"

// applySettings gives every flag of cmd that the command line left alone its
// value from the environment, or else from the --config file. A setting is
// called like its flag; its variable is CAIRN_ and that name in capitals, with
// "_" for "-". A variable that is set but empty counts as unset.
func applySettings(cmd *cobra.Command, getenv func(string) string) error {
	path := cmd.Flag("config")
	if v := getenv(envName("config")); v != "" && !path.Changed {
		if err := path.Value.Set(v); err != nil {
			return err
		}
	}
	var file map[string]setting
	if p := path.Value.String(); p != "" {
		var err error
		if file, err = readSettings(p, knownSettings(cmd.Root())); err != nil {
			return err
		}
	}

	var first error
	set := func(f *pflag.Flag, value, origin string) {
		if err := cmd.Flags().Set(f.Name, value); err != nil && first == nil {
			first = fmt.Errorf("%s: %w", origin, err)
		}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || !isSetting(f) {
			return
		}
		name := settingOf(f)
		if v := getenv(envName(name)); v != "" {
			set(f, v, envName(name))
		} else if s, ok := file[name]; ok {
			set(f, s.value, s.origin)
		}
	})
	return first
}

// isSetting reports whether a flag may come from elsewhere than the command
// line: the file cannot name itself, and asking for help is not a setting.
func isSetting(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "config" }

func settingOf(f *pflag.Flag) string {
	if names := f.Annotations[settingName]; len(names) == 1 {
		return names[0]
	}
	return f.Name
}

func envName(setting string) string {
	return "CAIRN_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// knownSettings are the settings of all commands: one file may serve many, so
// a name is unknown only when no command has it.
func knownSettings(root *cobra.Command) map[string]bool {
	known := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		note := func(f *pflag.Flag) {
			if isSetting(f) {
				known[settingOf(f)] = true
			}
		}
		cmd.Flags().VisitAll(note)
		cmd.PersistentFlags().VisitAll(note)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return known
}

// setting is a value of the file and where it stands, as "file:line".
type setting struct{ value, origin string }

// readSettings reads a --config file: a YAML mapping from setting to a plain
// value or, for lists, a sequence of them. Anything else is an error that names
// its line.
func readSettings(path string, known map[string]bool) (map[string]setting, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if info.Size() > maxSettingsFile {
		return nil, fmt.Errorf("config %s is larger than %d bytes", path, maxSettingsFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return parseSettings(path, data, known)
}

// parseSettings is readSettings on the file's bytes; path is for messages.
func parseSettings(path string, data []byte, known map[string]bool) (map[string]setting, error) {
	file, err := parser.ParseBytes(data, 0) // refuses a key that comes twice
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err) // with line and column
	}
	out := map[string]setting{}
	for i, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		mapping, ok := doc.Body.(*ast.MappingNode)
		if !ok || i > 0 {
			return nil, fmt.Errorf("%s:%d: want one mapping of settings, like \"addr: http://127.0.0.1:8080\"", path, line(doc.Body))
		}
		for _, entry := range mapping.Values {
			name := entry.Key.GetToken().Value
			origin := fmt.Sprintf("%s:%d", path, line(entry.Key))
			if !known[name] {
				return nil, fmt.Errorf("%s: unknown setting %q; settings are called like the long flags", origin, name)
			}
			value, ok := plain(entry.Value)
			if !ok {
				return nil, fmt.Errorf("%s: %q needs a plain value or a list of them", origin, name)
			}
			out[name] = setting{value, origin}
		}
	}
	return out, nil
}

// plain returns a scalar's text, or a sequence's texts joined by commas, which
// is how list flags are written.
func plain(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.SequenceNode:
		texts := make([]string, 0, len(n.Values))
		for _, v := range n.Values {
			if v.Type() == ast.SequenceType {
				return "", false
			}
			text, ok := plain(v)
			if !ok {
				return "", false
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, ","), true
	}
	return "", false
}

func line(n ast.Node) int { return n.GetToken().Position.Line }
