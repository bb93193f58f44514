package play

import (
	"fmt"
	"math/rand/v2"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// words are what teams guess when they do not know.
var words = [...]string{
	"anchor", "binnacle", "compass", "dune", "ember", "fathom", "gull", "harbour", "island", "jetty", "kelp", "lantern",
	"mast", "north", "oar", "pier", "quay", "reef", "sextant", "tide", "undertow", "vessel", "wreck", "yawl", "zephyr",
}

var (
	adjectives = [...]string{
		"Amber", "Brave", "Curious", "Drowsy", "Electric", "Foggy", "Gentle", "Hidden", "Invisible", "Jolly",
		"Lucky", "Midnight", "Nimble", "Obvious", "Patient", "Quiet", "Restless", "Salty", "Tidal", "Wandering",
	}
	nouns = [...]string{
		"Albatrosses", "Barnacles", "Cartographers", "Dolphins", "Eels", "Foghorns", "Gulls", "Herons", "Islanders",
		"Keepers", "Lanterns", "Mermaids", "Navigators", "Otters", "Puffins", "Riddlers", "Sextants", "Turtles", "Urchins", "Whales",
	}
	// abroad are names that show that any script will do.
	abroad = [...]string{"Φάρος", "Маяк", "灯台クラブ", "등대지기", "Les Étoiles d’Été", "نجوم البحر", "Leuchtturmwärter", "🧭 North by Northwest"}
)

// NewTeams makes n teams with ids and names, by the seed. Names may repeat once
// all have been used.
func NewTeams(n int, seed uint64) []rest.NewTeam {
	rng := rand.New(rand.NewPCG(seed, 0))
	order := rng.Perm(len(adjectives) * len(nouns))
	teams := make([]rest.NewTeam, n)
	for i := range teams {
		k := order[i%len(order)]
		name := adjectives[k%len(adjectives)] + " " + nouns[k/len(adjectives)]
		if i < len(abroad) {
			name = abroad[i]
		}
		teams[i] = rest.NewTeam{ID: fsm.TeamID(fmt.Sprintf("team-%03d", i+1)), Name: name}
	}
	rng.Shuffle(n, func(i, j int) { teams[i].Name, teams[j].Name = teams[j].Name, teams[i].Name })
	return teams
}
