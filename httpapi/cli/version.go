package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which cairn this is",
		GroupID: groupTools,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{a.Version, runtime.Version()}
			if a.output == "json" {
				return a.json(v)
			}
			_, err := fmt.Fprintf(a.Stdout, "cairn %s (%s %s/%s)\n", v.Version, v.Go, runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// buildVersion is the module's version where the build knows it, else the
// commit that it was built from ("+dirty": the tree held uncommitted changes),
// else "devel".
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	return "devel" + commit + dirty
}
