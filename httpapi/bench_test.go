package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
)

// instant answers every submission at once and keeps nothing: what is left
// is the cost of the API itself.
type instant struct{ inner }

// inner has another name than its method Cluster.
type inner = httpapi.Cluster

func (instant) Authenticate(_ context.Context, token string) (*cluster.Principal, error) {
	if token == apitest.Organizer {
		return &cluster.Principal{Role: "organizer"}, nil
	}
	return &cluster.Principal{Role: "team", Hunt: cluster.HuntRef{ID: "maze", Incarnation: 1}, Team: "red", Generation: 1}, nil
}

func (instant) Submit(_ context.Context, in cluster.Submission) (*partition.Submission, error) {
	return &partition.Submission{
		Number: 1, Key: in.Key, Verdict: partition.VerdictIncorrect, Clue: in.Clue, At: fsm.Time(1_700_000_000_000_000),
		Version: 3, Attempts: 1, Limit: 5, Ranked: true,
	}, nil
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkSubmit is one POST of a submission in the handler, without net/http.
func BenchmarkSubmit(b *testing.B) {
	s := newServer(b)
	s.withMaze(b)
	h := httpapi.New(httpapi.Config{Cluster: instant{s.cluster}})
	body := []byte(`{"clue":"gate","answer":"an answer of usual length"}`)
	r := httptest.NewRequest("POST", "/v1/hunts/maze/teams/red/submissions", nil)
	r.Header.Set("Authorization", "Bearer cairn_t_x")
	r.Header.Set("Idempotency-Key", "0123456789abcdef")
	r.ContentLength = int64(len(body))
	reader := bytes.NewReader(body)
	r.Body = io.NopCloser(reader)
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

// BenchmarkBatch is one line of submissions:batch over a loopback connection,
// client included.
func BenchmarkBatch(b *testing.B) {
	s := newServer(b)
	s.withMaze(b)
	s.Handler = httpapi.New(httpapi.Config{Cluster: instant{s.cluster}})
	url := listen(b, s)
	b.ReportAllocs()
	n := 0
	b.ResetTimer()
	post(b, url, "/v1/hunts/maze/submissions:batch", &endless{n: b.N, bad: -1}, func([]byte) { n++ })
	if n != b.N {
		b.Fatalf("%d answers to %d lines", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkDecodeLine compares the two readers of a line.
func BenchmarkDecodeLine(b *testing.B) {
	plain := []byte(`{"key":"r000001","team":"t0177","clue":"extreme-anagrams","answer":"guess 1","at":"2022-08-26T22:03:28.028089Z"}`)
	for name, line := range map[string][]byte{
		"plain":   plain,
		"escaped": []byte(strings.Replace(string(plain), "guess 1", `gu\u0065ss `+strconv.Itoa(1), 1)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := httpapi.DecodeBatchLine(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
