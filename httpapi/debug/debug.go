// Package debug is a node's debug port: profiles of the process and its log, for
// whoever sits at the machine.
package debug

import (
	"net"
	"net/http"
	"net/http/pprof"
)

// Handler answers with net/http/pprof's profiles at /debug/pprof/, and with the log
// at /debug/log. It is for a loopback address only. It refuses (403) a request whose Host is another one: a
// page in the operator's browser can send requests there under a name of its own
// (DNS rebinding), and would read the answers.
func Handler(log *Log) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.Handle("GET /debug/pprof/cmdline", http.NotFoundHandler()) // a flag may hold a token
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("GET /debug/log", log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Loopback(r.Host) {
			http.Error(w, "The debug port answers only to localhost.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Loopback reports whether HOST:PORT, or HOST, names this machine to itself.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
