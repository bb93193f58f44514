package httpapi

import (
	"embed"
	"net/http"
	"path"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// docs is the page that renders the OpenAPI document. It loads nothing from
// elsewhere.
//
//go:embed docs
var docs embed.FS

// docsPolicy lets the page use its own script, style and document alone.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (a *api) getLive(c *call) error  { return writeChecks(c, a.Cluster.Live()) }
func (a *api) getReady(c *call) error { return writeChecks(c, a.Cluster.Ready()) }

// writeChecks answers 200 if all checks hold, else 503. Checks that fail are
// always listed, the others with ?verbose.
func writeChecks(c *call, checks []rest.Check) error {
	_, verbose := c.r.URL.Query()["verbose"]
	var b strings.Builder
	failed := 0
	for _, k := range checks {
		switch {
		case !k.OK:
			failed++
			b.WriteString("[-]" + k.Name + " failed: " + k.Detail + "\n")
		case verbose:
			b.WriteString("[+]" + k.Name + " ok\n")
		}
	}
	status := http.StatusOK
	if failed > 0 {
		status = http.StatusServiceUnavailable
		b.WriteString("failed\n")
	} else {
		b.WriteString("ok\n")
	}
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.WriteHeader(status)
	_, err := c.w.Write([]byte(b.String()))
	return err
}

func (a *api) getMetrics(c *call) error {
	promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{}).ServeHTTP(c.w, c.r)
	return nil
}

func (a *api) getOpenAPI(c *call) error { return c.writeBody(http.StatusOK, a.openAPI()) }

func (a *api) getRoot(c *call) error {
	http.Redirect(c.w, c.r, "/docs", http.StatusFound)
	return nil
}

func (a *api) getDocs(c *call) error { return c.writeDocs("index.html", "text/html; charset=utf-8") }

func (a *api) getDocsFile(c *call) error {
	switch name := chi.URLParam(c.r, "file"); path.Ext(name) {
	case ".css":
		return c.writeDocs(name, "text/css; charset=utf-8")
	case ".js":
		return c.writeDocs(name, "text/javascript; charset=utf-8")
	}
	return a.noRoute(c)
}

func (c *call) writeDocs(name, media string) error {
	body, err := docs.ReadFile("docs/" + name)
	if err != nil {
		return fsm.Errorf(fsm.NotFound, "there is no such file")
	}
	h := c.w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Security-Policy", docsPolicy)
	_, err = c.w.Write(body)
	return err
}
