package group

import (
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// Limits of a decoded message.
const (
	maxReplicaName = 128
	maxEntries     = 128      // of one append
	maxEntryData   = 1 << 20  // of one entry
	maxConfig      = 64 << 10 // an encoded configuration
)

// envelope opens every Raft message between two replicas:
//
//	string  to     replica the message is for: another incarnation refuses it
//	string  from   replica that sends it
//	varint  sent   sender's wall clock, microseconds: bounds the age of stale reads
//	...            the message
type envelope struct {
	to, from string
	sent     fsm.Time
}

func (e envelope) append(w *wire.Writer) {
	w.String(e.to)
	w.String(e.from)
	w.Varint(int64(e.sent))
}

func readEnvelope(r *wire.Reader) envelope {
	return envelope{r.String(maxReplicaName), r.String(maxReplicaName), fsm.Time(r.Varint())}
}

// header is the part of every Raft message that the envelope already tells.
func (e envelope) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(e.from), Addr: []byte(e.from)}
}

func appendLog(w *wire.Writer, l *raft.Log) {
	w.Uvarint(l.Index)
	w.Uvarint(l.Term)
	w.U8(uint8(l.Type))
	w.Bytes(l.Data)
	w.Bytes(l.Extensions)
	at := int64(0)
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	w.Varint(at)
}

func readLog(r *wire.Reader) *raft.Log {
	l := &raft.Log{Index: r.Uvarint(), Term: r.Uvarint(), Type: raft.LogType(r.U8())}
	// The reader's buffer is the connection's: raft keeps entries, so copy.
	l.Data = append([]byte(nil), r.Bytes(maxEntryData)...)
	if ext := r.Bytes(maxEntryData); len(ext) > 0 {
		l.Extensions = append([]byte(nil), ext...)
	}
	if at := r.Varint(); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	return l
}

func appendAppend(w *wire.Writer, q *raft.AppendEntriesRequest) {
	w.Uvarint(q.Term)
	w.Uvarint(q.PrevLogEntry)
	w.Uvarint(q.PrevLogTerm)
	w.Uvarint(q.LeaderCommitIndex)
	w.Uvarint(uint64(len(q.Entries)))
	for _, l := range q.Entries {
		appendLog(w, l)
	}
}

func readAppend(r *wire.Reader, e envelope) *raft.AppendEntriesRequest {
	q := &raft.AppendEntriesRequest{
		RPCHeader: e.header(),
		Term:      r.Uvarint(), PrevLogEntry: r.Uvarint(), PrevLogTerm: r.Uvarint(), LeaderCommitIndex: r.Uvarint(),
	}
	if n := r.Count(maxEntries); n > 0 {
		q.Entries = make([]*raft.Log, n)
		for i := range q.Entries {
			q.Entries[i] = readLog(r)
		}
	}
	return q
}

func appendAppendResponse(w *wire.Writer, p *raft.AppendEntriesResponse) {
	w.Uvarint(p.Term)
	w.Uvarint(p.LastLog)
	w.Bool(p.Success)
	w.Bool(p.NoRetryBackoff)
}

func readAppendResponse(r *wire.Reader, e envelope, p *raft.AppendEntriesResponse) {
	*p = raft.AppendEntriesResponse{
		RPCHeader: e.header(),
		Term:      r.Uvarint(), LastLog: r.Uvarint(), Success: r.Bool(), NoRetryBackoff: r.Bool(),
	}
}

func appendVote(w *wire.Writer, q *raft.RequestVoteRequest) {
	w.Uvarint(q.Term)
	w.Uvarint(q.LastLogIndex)
	w.Uvarint(q.LastLogTerm)
	w.Bool(q.LeadershipTransfer)
}

func readVote(r *wire.Reader, e envelope) *raft.RequestVoteRequest {
	return &raft.RequestVoteRequest{
		RPCHeader: e.header(),
		Term:      r.Uvarint(), LastLogIndex: r.Uvarint(), LastLogTerm: r.Uvarint(), LeadershipTransfer: r.Bool(),
	}
}

func appendPreVote(w *wire.Writer, q *raft.RequestPreVoteRequest) {
	w.Uvarint(q.Term)
	w.Uvarint(q.LastLogIndex)
	w.Uvarint(q.LastLogTerm)
}

func readPreVote(r *wire.Reader, e envelope) *raft.RequestPreVoteRequest {
	return &raft.RequestPreVoteRequest{
		RPCHeader: e.header(), Term: r.Uvarint(), LastLogIndex: r.Uvarint(), LastLogTerm: r.Uvarint(),
	}
}

// A vote and a pre-vote are answered alike: term, granted.
func appendGrant(w *wire.Writer, term uint64, granted bool) {
	w.Uvarint(term)
	w.Bool(granted)
}

func appendSnapshotRequest(w *wire.Writer, q *raft.InstallSnapshotRequest) {
	w.Uvarint(q.Term)
	w.Uvarint(q.LastLogIndex)
	w.Uvarint(q.LastLogTerm)
	w.Bytes(q.Configuration)
	w.Uvarint(q.ConfigurationIndex)
	w.Varint(q.Size)
}

func readSnapshotRequest(r *wire.Reader, e envelope) *raft.InstallSnapshotRequest {
	return &raft.InstallSnapshotRequest{
		RPCHeader: e.header(), SnapshotVersion: 1,
		Term: r.Uvarint(), LastLogIndex: r.Uvarint(), LastLogTerm: r.Uvarint(),
		Configuration: append([]byte(nil), r.Bytes(maxConfig)...), ConfigurationIndex: r.Uvarint(), Size: r.Varint(),
	}
}

func appendSnapshotResponse(w *wire.Writer, p *raft.InstallSnapshotResponse) {
	appendGrant(w, p.Term, p.Success)
}
