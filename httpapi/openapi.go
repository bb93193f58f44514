package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// queryParams and headerParams describe the parameters that rows name.
var (
	queryParams = map[string]huma.Param{
		"page_size":   {Description: "Rows of the page.", Schema: &huma.Schema{Type: "integer", Minimum: number(1), Maximum: number(MaxPage), Default: DefaultPage}},
		"page_token":  {Description: "next_page_token of the page before; absent: the first page.", Schema: text()},
		"consistency": {Description: "strong: includes everything acknowledged before. stale: any replica's state; Cairn-Staleness says how old at most.", Schema: text("strong", "stale")},
		"division":    {Description: "Only teams of this division, ranked among themselves.", Schema: text()},
		"rank":        {Description: "Whether to add the team's rank.", Schema: &huma.Schema{Type: "boolean"}},
		"force":       {Description: "Must be true: what the node had that nobody else has is lost.", Required: true, Schema: &huma.Schema{Type: "boolean"}},
		"verbose":     {Description: "List all checks.", Schema: text()},
	}
	headerParams = map[string]huma.Param{
		"Idempotency-Key": {Description: "Up to 64 printable ASCII characters, quoted or bare. A request with the key of an earlier one is that request. Made up and returned when absent.", Schema: text()},
		"If-Match":        {Description: "ETag of the version that was changed.", Required: true, Schema: text()},
		"If-None-Match":   {Description: "ETag of a version at hand: 304 if it is the current one.", Schema: text()},
		"Cairn-Timeout":   {Description: "Time for an answer, as 3s: 10s by default, at most 60s. In a batch, of each line.", Schema: text()},
	}
	pathParams = map[string]string{
		"hunt": "Id of a hunt.",
		"team": "Id of a team.",
		"id":   "Id of a token.",
		"node": "A node's id, its name, or the beginning of its id.",

		"partition": "Number of a partition.",
	}
	pathParam = regexp.MustCompile(`\{(\w+)\}`)
)

func number(n float64) *float64 { return &n }

func text(enum ...any) *huma.Schema { return &huma.Schema{Type: "string", Enum: enum} }

// openAPI makes the document of the table.
func openAPI(table []route, version string) []byte {
	reg := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	reg.RegisterTypeAlias(reflect.TypeFor[fsm.Time](), reflect.TypeFor[time.Time]())
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Cairn", Version: version,
			Description: "A treasure-hunt engine that runs as a cluster. Errors are application/problem+json with a stable code.",
		},
		Components: &huma.Components{
			Schemas: reg,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", Description: "An admin, organizer or team token."},
			},
		},
	}
	for i := range table {
		if !table[i].hidden {
			doc.AddOperation(operation(reg, &table[i]))
		}
	}
	closed := map[string]bool{}
	for i := range table {
		if in := table[i].in; in != nil {
			closed[reflect.TypeOf(in).Name()] = true
		}
	}
	for name, s := range reg.Map() {
		tidySchema(s, closed[name])
	}
	out, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		panic(err) // the table is part of the program
	}
	return append(out, '\n')
}

func operation(reg huma.Registry, rt *route) *huma.Operation {
	op := &huma.Operation{
		Method: rt.method, Path: rt.path, OperationID: operationID(rt), Summary: rt.summary,
		Description: accessText[rt.access], Tags: []string{tag(rt.path)},
		Responses: map[string]*huma.Response{}, Security: security(rt.access),
	}
	for _, m := range pathParam.FindAllStringSubmatch(rt.path, -1) {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: m[1], In: "path", Required: true, Description: pathParams[m[1]], Schema: text(),
		})
	}
	for _, name := range rt.query {
		p := queryParams[name]
		p.Name, p.In = name, "query"
		op.Parameters = append(op.Parameters, &p)
	}
	headers := rt.headers
	if rt.access != open {
		headers = append(headers[:len(headers):len(headers)], "Cairn-Timeout")
	}
	for _, name := range headers {
		p := headerParams[name]
		p.Name, p.In = name, "header"
		op.Parameters = append(op.Parameters, &p)
	}
	media := "application/json"
	if rt.stream {
		media = "application/x-ndjson"
	}
	if rt.in != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			media: {Schema: schemaOf(reg, rt.in)},
		}}
	}
	for _, status := range rt.status {
		r := &huma.Response{Description: http.StatusText(status)}
		switch {
		case rt.plain != "":
			r.Content = map[string]*huma.MediaType{rt.plain: {Schema: text()}}
		case rt.out != nil && status < 300:
			r.Content = map[string]*huma.MediaType{media: {Schema: schemaOf(reg, rt.out)}}
		}
		op.Responses[strconv.Itoa(status)] = r
	}
	if rt.access != open {
		op.Responses["default"] = &huma.Response{
			Description: "An error; code says which.",
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schemaOf(reg, rest.Problem{})}},
		}
	}
	return op
}

// schemaOf returns the schema of a body. A line of submissions:batch's answer is
// one of two things, and a hunt's document has a grammar of its own.
func schemaOf(reg huma.Registry, v any) *huma.Schema {
	switch v.(type) {
	case rest.BatchResult:
		return &huma.Schema{OneOf: []*huma.Schema{schemaOf(reg, rest.Submission{}), schemaOf(reg, rest.BatchError{})}}
	case huntDocument:
		return &huma.Schema{Type: "object", Description: "A hunt's document.", AdditionalProperties: true}
	}
	return reg.Schema(reflect.TypeOf(v), true, "")
}

// tidySchema makes a generated schema say what the API does: nothing is ever
// null, bodies of requests are closed, and answers may grow.
func tidySchema(s *huma.Schema, closed bool) {
	if s == nil {
		return
	}
	s.Nullable = false
	if s.Type == "object" && s.Properties != nil {
		s.AdditionalProperties = nil
		if closed {
			s.AdditionalProperties = false
		}
	}
	for _, p := range s.Properties {
		tidySchema(p, closed)
	}
	tidySchema(s.Items, closed)
}

// accessText says in words who may use a row.
var accessText = [...]string{
	open:       "Public.",
	anyToken:   "Any token.",
	listHunts:  "Public: public hunts, and those of the token.",
	readHunt:   "Public if the hunt is public; else its teams and organizers.",
	register:   "Organizers; anybody where the hunt's registration is open.",
	ownTeam:    "The team itself, and organizers.",
	submit:     "The team itself, and organizers.",
	organize:   "Organizers.",
	createHunt: "Organizers.",
	admin:      "Admins.",
}

// security of a row: none, a token, or either.
func security(a access) []map[string][]string {
	bearer := map[string][]string{"bearer": {}}
	switch a {
	case open:
		return []map[string][]string{}
	case listHunts, readHunt, register:
		return []map[string][]string{{}, bearer}
	}
	return []map[string][]string{bearer}
}

// operationID is the method and the path's words: get-hunts-hunt-teams.
func operationID(rt *route) string {
	words := strings.FieldsFunc(rt.path, func(r rune) bool { return strings.ContainsRune("/{}:.", r) })
	if len(words) > 0 && words[0] == "v1" {
		words = words[1:]
	}
	return strings.ToLower(rt.method) + "-" + strings.Join(words, "-")
}

// tag groups the rows on the page.
func tag(path string) string {
	switch {
	case strings.Contains(path, "submissions"):
		return "submissions"
	case strings.Contains(path, "/teams"):
		return "teams"
	case strings.HasPrefix(path, "/v1/hunts"):
		return "hunts"
	case strings.HasPrefix(path, "/v1/cluster"), path == "/v1/routing":
		return "cluster"
	case strings.HasPrefix(path, "/v1/"):
		return "tokens"
	}
	return "node"
}
