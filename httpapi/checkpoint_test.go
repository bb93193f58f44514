package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
	"cairn/httpapi/rest"
)

// TestCheckpoint: an admin is told what the replicas have, and that changes with
// what happens in the game.
func TestCheckpoint(t *testing.T) {
	s := newServer(t)
	ask := func(body string) rest.Checkpoint {
		t.Helper()
		var out rest.Checkpoints
		s.must(t, &out, "POST", "/v1/cluster/checkpoint", apitest.Admin, body)
		if len(out.Partitions) != 1 || !out.Partitions[0].Agree || len(out.Partitions[0].Replicas) != 1 {
			t.Fatalf("%+v", out)
		}
		return out.Partitions[0]
	}
	before := ask(`{}`)
	if again := ask(`{"partitions":[0]}`); again.Replicas[0] != before.Replicas[0] || len(before.Replicas[0].Hash) != 64 {
		t.Errorf("%+v, then %+v", before, again)
	}
	s.withMaze(t)
	if after := ask(`{}`); after.Replicas[0].Hash == before.Replicas[0].Hash {
		t.Errorf("a hunt and two teams left the hash as it was: %+v", after)
	}
	for body, want := range map[string]int{`{"partitions":[9]}`: 404, `{"partitions":["x"]}`: 400, `{"partition":1}`: 400, "": 400} {
		if a := s.do(t, "POST", "/v1/cluster/checkpoint", apitest.Admin, body); a.status != want {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	s.cluster.Fault = func(method string) error {
		if method == "Checkpoint" {
			return fsm.Errorf(fsm.Conflict, "the cluster's feature level is 1")
		}
		return nil
	}
	if a := s.do(t, "POST", "/v1/cluster/checkpoint", apitest.Admin, `{}`); a.status != http.StatusConflict || a.code(t) != "conflict" || !strings.Contains(a.body, "feature level") {
		t.Errorf("below the level: %d %s", a.status, a.body)
	}
}

// TestRestCheckpoint: what was compared, in the API's words.
func TestRestCheckpoint(t *testing.T) {
	for _, tt := range []struct {
		in   cluster.Comparison
		want string
	}{
		{
			cluster.Comparison{Partition: 3, Index: 8, Replicas: []cluster.ReplicaHash{{Node: "a", Hash: "1"}, {Node: "b", Missing: "away"}}},
			`{"id":3,"index":8,"agree":true,"replicas":[{"node":"a","hash":"1"},{"node":"b","missing":"away"}]}`,
		},
		{
			cluster.Comparison{Partition: 3, Index: 8, Replicas: []cluster.ReplicaHash{{Node: "a", Hash: "1", Differs: true}, {Node: "b", Hash: "2", Differs: true}}},
			`{"id":3,"index":8,"agree":false,"replicas":[{"node":"a","hash":"1","differs":true},{"node":"b","hash":"2","differs":true}]}`,
		},
		{cluster.Comparison{Partition: 3, Err: errors.New("no leader")}, `{"id":3,"agree":false,"detail":"no leader","replicas":[]}`},
	} {
		got, err := json.Marshal(httpapi.RestCheckpoint(&tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
		}
	}
}
