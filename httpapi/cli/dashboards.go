package cli

import (
	"github.com/spf13/cobra"

	"cairn/httpapi/dashboards"
)

func (a *app) dashboardsCommand() *cobra.Command {
	return group("dashboards", "The Grafana dashboard and the Prometheus alerts", groupTools, a.dashboardsExport())
}

func (a *app) dashboardsExport() *cobra.Command {
	var dir string
	var force bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the dashboard, the rules and their tests into files",
		Long: `Write a dashboard for Grafana, recording rules and alerts for Prometheus, and the
tests of these rules for promtool. They fit the metrics of this version of
cairn: export them again after an upgrade.

Files that are there already and differ are overwritten only with --force;
without it nothing is written then. The head of the rules says how Prometheus
takes them and which nodes it has to scrape.`,
		Example: "  cairn dashboards export --dir /etc/prometheus/cairn\n  cairn dashboards export --dir /etc/prometheus/cairn --force",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			done, err := dashboards.Export(dir, force)
			if err != nil {
				return err
			}
			body := struct {
				Files []dashboards.Exported `json:"files"`
			}{done}
			return a.emit(answer{body, func(p *page) {
				t := newTable("FILE", "STATE", "USE")
				for _, f := range done {
					state := "unchanged"
					if f.Written {
						state = "written"
					}
					t.add(f.Path, state, f.Use)
				}
				p.table(t)
			}})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "`DIR` to write into; it is made if it is not there")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that differ")
	cmd.MarkFlagDirname("dir") // cannot fail: the flag was just declared
	return cmd
}
