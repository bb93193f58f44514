package group

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes what raft logs on to slog. Raft blocks on its logger, so
// the handler behind it must not block (main gives a non-blocking one).
//
// What raft calls an error is mostly a peer that does not answer, which is
// every restart's normal state: those are told at debug here, because the node
// reports members that are silent itself.
type raftLogger struct {
	l    *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = (*raftLogger)(nil)

func newRaftLogger(l *slog.Logger) *raftLogger { return &raftLogger{l: l} }

func (r *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error && chatter(msg):
	case level >= hclog.Error:
		to = slog.LevelError
	case level == hclog.Warn && !chatter(msg):
		to = slog.LevelInfo
	}
	if r.l.Enabled(context.Background(), to) {
		r.l.Log(context.Background(), to, "raft: "+msg, args...)
	}
}

// expected are raft's complaints about a peer or a vote, beside those that begin
// with "rejecting ": normal around every restart, and told by the node itself in
// a better way.
var expected = map[string]bool{
	"failed to heartbeat to": true, "failed to appendEntries to": true, "failed to make requestVote RPC": true,
	"appendEntries rejected, sending older logs": true, "failed to install snapshot": true,
	"failed to send snapshot to": true, "failed to contact": true, "peer has newer term, stopping replication": true,
	"heartbeat timeout reached, starting election": true, "Election timeout reached, restarting election": true,
	"pre-vote campaign failed, waiting for election timeout": true, "no known peers, aborting election": true,
	"failed to contact quorum of nodes, stepping down": true, "failed to get previous log": true,
	"previous log term mis-match": true, "clearing log suffix": true, "duplicate requestVote from": true,
	"skipping application of old log": true,
}

func chatter(msg string) bool { return expected[msg] || strings.HasPrefix(msg, "rejecting ") }

func (r *raftLogger) Trace(string, ...any)           {}
func (r *raftLogger) Debug(msg string, args ...any)  { r.Log(hclog.Debug, msg, args...) }
func (r *raftLogger) Info(msg string, args ...any)   { r.Log(hclog.Info, msg, args...) }
func (r *raftLogger) Warn(msg string, args ...any)   { r.Log(hclog.Warn, msg, args...) }
func (r *raftLogger) Error(msg string, args ...any)  { r.Log(hclog.Error, msg, args...) }
func (r *raftLogger) IsTrace() bool                  { return false }
func (r *raftLogger) IsDebug() bool                  { return r.l.Enabled(context.Background(), slog.LevelDebug) }
func (r *raftLogger) IsInfo() bool                   { return true }
func (r *raftLogger) IsWarn() bool                   { return true }
func (r *raftLogger) IsError() bool                  { return true }
func (r *raftLogger) ImpliedArgs() []any             { return r.args }
func (r *raftLogger) Name() string                   { return r.name }
func (r *raftLogger) SetLevel(hclog.Level)           {}
func (r *raftLogger) GetLevel() hclog.Level          { return hclog.Info }
func (r *raftLogger) Named(name string) hclog.Logger { return r.ResetNamed(r.name + name) }
func (r *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{r.l.With(args...), r.name, args}
}
func (r *raftLogger) ResetNamed(n string) hclog.Logger { return &raftLogger{r.l, n, r.args} }

func (r *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (r *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
