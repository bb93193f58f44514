package cli

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/rest"
)

// maxTeamFile bounds a file of teams, in bytes: some 200,000 teams.
const maxTeamFile = 16 << 20

// parseTeams reads tab-separated values: a header line that names the columns
// "team" and "name" in any order, then one team a line. There is no quoting and
// no escaping: a name is everything between two tabs, quotes and blanks
// included. A byte order mark, CRLF and empty lines are passed over. It returns
// all problems, each with its line; teams are good only if there are none.
func parseTeams(data []byte) (teams []rest.NewTeam, problems []string) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	team, name, columns := -1, -1, 0
	first := map[fsm.TeamID]int{}
	number := 0
	for text := range bytes.Lines(data) {
		number++
		row := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("line %d: %s", number, fmt.Sprintf(format, args...)))
		}
		if row == "" {
			continue
		}
		cells := strings.Split(row, "\t")
		if columns == 0 {
			var err error
			if team, name, err = teamColumns(cells); err != nil {
				bad("%v", err)
				return nil, problems
			}
			columns = len(cells)
			continue
		}
		if len(cells) != columns {
			bad("%s where the header has %d", count(len(cells), "column"), columns)
			continue
		}
		t := rest.NewTeam{ID: fsm.TeamID(cells[team]), Name: cells[name]}
		switch earlier := first[t.ID]; {
		case !utf8.ValidString(row):
			bad("not UTF-8")
		case !fsm.ValidID(string(t.ID)):
			bad("%q cannot be a team's id: want a-z, 0-9, \".\", \"_\" and \"-\", at most %d", t.ID, fsm.MaxID)
		case earlier != 0:
			bad("team %s is on line %d already", t.ID, earlier)
		case hunt.CheckName(t.Name) != nil:
			bad("team %s: %v", t.ID, hunt.CheckName(t.Name))
		default:
			first[t.ID] = number
			teams = append(teams, t)
		}
	}
	if columns == 0 {
		problems = append(problems, "line 1: the header line is missing; it names the columns: team, tab, name")
	}
	return teams, problems
}

// teamColumns finds the columns by the header line.
func teamColumns(header []string) (team, name int, err error) {
	team, name = -1, -1
	for i, h := range header {
		switch {
		case h == "team" && team < 0:
			team = i
		case h == "name" && name < 0:
			name = i
		default:
			return 0, 0, fmt.Errorf("unknown or repeated column %q; the header line names the columns \"team\" and \"name\"", h)
		}
	}
	if team < 0 || name < 0 {
		return 0, 0, fmt.Errorf("the header line must name the columns \"team\" and \"name\", with a tab between them")
	}
	return team, name, nil
}
