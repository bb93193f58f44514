package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/httpapi/apitest"
)

// TestTableIsTheAPI: the router, the OpenAPI document and the table name the same
// routes, and every row is complete.
func TestTableIsTheAPI(t *testing.T) {
	table := routes(Config{})
	var want, routed, documented []string
	for _, rt := range table {
		want = append(want, rt.method+" "+rt.path)
		switch {
		case rt.handle == nil || len(rt.status) == 0:
			t.Errorf("%s %s has no handler or no status", rt.method, rt.path)
		case rt.summary == "" && !rt.hidden:
			t.Errorf("%s %s has no summary", rt.method, rt.path)
		case int(rt.access) >= len(accessText) || accessText[rt.access] == "":
			t.Errorf("%s %s: nobody said who may use it", rt.method, rt.path)
		}
		for _, q := range rt.query {
			if queryParams[q].Schema == nil {
				t.Errorf("%s %s: parameter %s is not described", rt.method, rt.path, q)
			}
		}
		for _, h := range rt.headers {
			if headerParams[h].Schema == nil {
				t.Errorf("%s %s: header %s is not described", rt.method, rt.path, h)
			}
		}
	}
	h := New(Config{Cluster: apitest.New(), Registry: prometheus.NewRegistry()})
	err := chi.Walk(h.(chi.Routes), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Responses   map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(openAPI(table, "test"), &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			documented = append(documented, strings.ToUpper(method)+" "+path)
			if ids[op.OperationID] {
				t.Errorf("operation %s occurs twice", op.OperationID)
			}
			ids[op.OperationID] = true
			if len(op.Responses) == 0 {
				t.Errorf("%s has no responses", op.OperationID)
			}
		}
	}
	for _, rt := range table {
		if rt.hidden {
			documented = append(documented, rt.method+" "+rt.path)
		}
	}
	for name, got := range map[string][]string{"the router": routed, "the document": documented} {
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\nthe table\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
