package cli

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/rest"
)

func TestParseTeams(t *testing.T) {
	team := func(id, name string) rest.NewTeam { return rest.NewTeam{ID: fsm.TeamID(id), Name: name} }
	for _, tt := range []struct {
		name, text string
		want       []rest.NewTeam
		problem    string // of the first problem; empty: none
	}{
		{"two teams", "team\tname\na\tA\nb\tB\n", []rest.NewTeam{team("a", "A"), team("b", "B")}, ""},
		{"the columns the other way round", "name\tteam\nA\ta", []rest.NewTeam{team("a", "A")}, ""},
		{"mark, CRLF and empty lines", "\ufeffteam\tname\r\n\r\na\tA\r\n", []rest.NewTeam{team("a", "A")}, ""},
		{"quotes are part of a name", "team\tname\na\t\"A\"\nb\t\"\nc\t'c'", []rest.NewTeam{team("a", `"A"`), team("b", `"`), team("c", "'c'")}, ""},
		{"blanks are part of a name", "team\tname\na\t   spaced   out   ", []rest.NewTeam{team("a", "   spaced   out   ")}, ""},
		{"formulas, markup, scripts", "team\tname\na\t=CMD()\nb\t<b>\nc\t🧭🗺️\nd\t⠞⠗⠁⠊⠇", []rest.NewTeam{team("a", "=CMD()"), team("b", "<b>"), team("c", "🧭🗺️"), team("d", "⠞⠗⠁⠊⠇")}, ""},
		{"only a header", "team\tname\n", nil, ""},
		{"nothing", "", nil, "line 1: the header line is missing"},
		{"no header", "a\tA\n", nil, `line 1: unknown or repeated column "a"`},
		{"one column", "team\n", nil, "line 1: the header line must name"},
		{"repeated column", "team\tname\tname\n", nil, "line 1: unknown or repeated"},
		{"too many columns", "team\tname\na\tA\tx\n", nil, "line 2: 3 columns where the header has 2"},
		{"too few columns", "team\tname\na\n", nil, "line 2: 1 column where the header has 2"},
		{"bad id", "team\tname\nA\tA\n", nil, `line 2: "A" cannot be a team's id`},
		{"no id", "team\tname\n\tA\n", nil, `line 2: "" cannot be a team's id`},
		{"no name", "team\tname\na\t\n", nil, "line 2: team a: "},
		{"long name", "team\tname\na\t" + strings.Repeat("é", 201) + "\n", nil, "line 2: team a: "},
		{"longest name", "team\tname\na\t" + strings.Repeat("é", 200) + "\n", []rest.NewTeam{team("a", strings.Repeat("é", 200))}, ""},
		{"control character", "team\tname\na\tA\x07\n", nil, "line 2: team a: "},
		{"twice", "team\tname\na\tA\nb\tB\na\tC\n", nil, "line 4: team a is on line 2 already"},
		{"not UTF-8", "team\tname\na\t\xff\n", nil, "line 2: not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := parseTeams([]byte(tt.text))
			switch {
			case tt.problem != "":
				if len(problems) == 0 || !strings.HasPrefix(problems[0], tt.problem) {
					t.Errorf("problems %q, want %q", problems, tt.problem)
				}
			case len(problems) > 0 || !reflect.DeepEqual(got, tt.want):
				t.Errorf("got %+v, %q; want %+v", got, problems, tt.want)
			}
		})
	}
}

// FuzzParseTeams: whatever is accepted is valid, and survives being written and
// read again.
func FuzzParseTeams(f *testing.F) {
	f.Add([]byte("team\tname\na\tA\nb\t\"B\"\n"))
	f.Add([]byte("\ufeffname\tteam\r\n   x \ta\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		teams, problems := parseTeams(data)
		if len(problems) > 0 {
			return
		}
		var again strings.Builder
		again.WriteString("team\tname\n")
		for _, team := range teams {
			if !fsm.ValidID(string(team.ID)) || hunt.CheckName(team.Name) != nil || !utf8.ValidString(team.Name) {
				t.Fatalf("accepted %+v", team)
			}
			again.WriteString(string(team.ID) + "\t" + team.Name + "\n")
		}
		back, problems := parseTeams([]byte(again.String()))
		if len(problems) > 0 || !reflect.DeepEqual(back, teams) {
			t.Fatalf("%+v came back as %+v, %q", teams, back, problems)
		}
	})
}
