package group

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// A snapshot travels on a stream of its own:
//
//	u32    length of the head
//	head   envelope, snapshot request
//	bytes  request.Size bytes of content
//
// and is answered with a u32 length and envelope, term, success.

const maxHead = 128 << 10

// InstallSnapshot streams a snapshot to a follower and waits for its verdict.
func (t *Transport) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, q *raft.InstallSnapshotRequest, p *raft.InstallSnapshotResponse, data io.Reader) error {
	peer, err := fsm.ParseReplica(string(to))
	if err != nil {
		return err
	}
	if t.sends != nil {
		select {
		case t.sends <- struct{}{}:
			defer func() { <-t.sends }()
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
	conn, err := t.link.Stream(t.ctx, peer.Node, uint8(KindSnapshot), t.group)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(t.ctx, func() { conn.Close() })()

	var w wire.Writer
	t.envelope(to).append(&w)
	appendSnapshotRequest(&w, q)
	out := &patient{Conn: conn}
	if err := writeHead(out, w.B); err != nil {
		return err
	}
	if n, err := io.Copy(out, io.LimitReader(data, q.Size)); err != nil {
		return err
	} else if n != q.Size {
		return fmt.Errorf("snapshot holds %d of %d bytes", n, q.Size)
	}
	// Restoring may take long: the follower is silent meanwhile.
	out.idle = 10 * time.Minute
	head, err := readHead(out)
	if err != nil {
		return err
	}
	r := wire.NewReader(head)
	e := readEnvelope(r)
	*p = raft.InstallSnapshotResponse{RPCHeader: e.header(), Term: r.Uvarint(), Success: r.Bool()}
	if err := r.Done(); err != nil {
		return err
	}
	if p.Success {
		t.peers.answered(q.Term, e.from, t.now())
		t.peers.matched(q.Term, e.from, q.LastLogIndex)
	}
	return nil
}

// ServeSnapshot receives a snapshot from a peer. It closes conn.
func (t *Transport) ServeSnapshot(from fsm.NodeID, conn net.Conn) error {
	defer conn.Close()
	defer context.AfterFunc(t.ctx, func() { conn.Close() })()
	in := &patient{Conn: conn}
	head, err := readHead(in)
	if err != nil {
		return err
	}
	r := wire.NewReader(head)
	e := readEnvelope(r)
	q := readSnapshotRequest(r, e)
	if err := t.admit(from, e, r.Done()); err != nil {
		return err
	}
	if q.Size < 0 {
		return fmt.Errorf("snapshot of %d bytes", q.Size)
	}
	content := bufio.NewReaderSize(io.LimitReader(in, q.Size), 64<<10)
	resp, err := t.consume(t.ctx, raft.RPC{Command: q, Reader: content})
	if err != nil {
		return err
	}
	var w wire.Writer
	t.envelope(raft.ServerAddress(e.from)).append(&w)
	appendSnapshotResponse(&w, resp.(*raft.InstallSnapshotResponse))
	return writeHead(in, w.B)
}

func writeHead(w io.Writer, head []byte) error {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
	_, err := w.Write(append(b, head...))
	return err
}

func readHead(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxHead {
		return nil, fmt.Errorf("snapshot head of %d bytes is over the limit of %d", n, maxHead)
	}
	head := make([]byte, n)
	_, err := io.ReadFull(r, head)
	return head, err
}

// patient is a connection that fails after a time without progress.
type patient struct {
	net.Conn
	idle time.Duration // 0: snapshotIdle
}

func (p *patient) wait() time.Time {
	if p.idle == 0 {
		return time.Now().Add(snapshotIdle)
	}
	return time.Now().Add(p.idle)
}

func (p *patient) Read(b []byte) (int, error) {
	p.SetReadDeadline(p.wait())
	return p.Conn.Read(b)
}

func (p *patient) Write(b []byte) (int, error) {
	p.SetWriteDeadline(p.wait())
	return p.Conn.Write(b)
}
