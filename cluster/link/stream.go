package link

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"cairn/fsm"
)

// Stream opens a dedicated connection to a node, for what does not fit a call
// (snapshots): the node's HandleStream gets the other end, with kind and group.
// ctx bounds the opening only. The caller closes the stream, which has the
// methods of *tls.Conn (CloseWrite among them); Drop and Close cut it. Deadlines
// on it are the caller's affair. Errors are ErrUnsent: the stream was not opened.
func (l *Link) Stream(ctx context.Context, node fsm.NodeID, kind uint8, group uint32) (net.Conn, error) {
	if !l.enter() {
		return nil, unsent(errClosed)
	}
	defer l.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()

	tc, t, err := l.open(ctx, node)
	if err != nil {
		return nil, unsent(err)
	}
	tc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := tc.Write(appendFrame(nil, header{typ: typeStream, kind: kind, group: group}, nil)); err != nil {
		l.conns.remove(t)
		return nil, unsent(err)
	}
	tc.SetWriteDeadline(time.Time{})
	return &stream{Conn: tc, registry: l.conns, track: t}, nil
}

// hangup is a connection below TLS whose end is not io.EOF. crypto/tls takes an
// end between two records for a proper one; but only a close_notify proves that
// nothing is missing, and anybody on the way can send a FIN.
type hangup struct{ net.Conn }

func (c hangup) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		err = errHangup
	}
	return n, err
}

// stream is a dialled stream, which leaves the registry when it is closed.
type stream struct {
	*tls.Conn
	registry *registry
	track    *tracked
}

// Close says goodbye, so that the other end reads io.EOF, and closes.
func (s *stream) Close() error {
	err := s.Conn.Close()
	s.registry.remove(s.track)
	return err
}
