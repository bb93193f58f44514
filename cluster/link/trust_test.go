package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/fsm"
)

// knock connects to a node as whoever conf says, and returns the type of the
// first frame, or why there was none.
func knock(t *testing.T, r *rig, node fsm.NodeID, conf *tls.Config) (frameType, error) {
	t.Helper()
	raw := must(r.net.dial(context.Background(), string(node)))
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(raw, conf)
	if err := tc.Handshake(); err != nil {
		return 0, err
	}
	h, err := readHeader(tc, MaxBody)
	return h.typ, err
}

// caller is a TLS configuration that presents a certificate and trusts anybody.
func caller(cert, key []byte) *tls.Config {
	conf := baseTLS(protoNode)
	conf.InsecureSkipVerify = true
	if cert != nil {
		conf.Certificates = []tls.Certificate{{
			Certificate: [][]byte{must(parseCert(cert)).Raw},
			PrivateKey:  must(parseKey(key)),
		}}
	}
	return conf
}

// TestListenerRefuses: nobody but a node of this cluster gets as far as the first
// frame, and nothing of what they send reaches a handler.
func TestListenerRefuses(t *testing.T) {
	r := newRig(t, newTCPNet())
	var reached, refused atomic.Int64
	r.start("b", func(c *Config) {
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
			reached.Add(1)
			return nil, nil
		}
		c.Events.Refused = func(string, error) { refused.Add(1) }
	})
	good := r.creds("a")
	key := must(parseKey(good.Key))
	stranger := newRig(t, newTCPNet()).creds("a")

	bad := map[string]*tls.Config{
		"no certificate":     caller(nil, nil),
		"wrong CA":           caller(stranger.Cert, stranger.Key),
		"TLS 1.2":            caller(good.Cert, good.Key),
		"no ALPN":            caller(good.Cert, good.Key),
		"another ALPN":       caller(good.Cert, good.Key),
		"signed by a member": caller(signedByMember(r), good.Key),
	}
	bad["TLS 1.2"].MinVersion, bad["TLS 1.2"].MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	bad["no ALPN"].NextProtos = nil
	bad["another ALPN"].NextProtos = []string{"h2"}
	for name, change := range forgeries {
		bad[name] = caller(forge(r.ca, key.Public(), change), good.Key)
	}
	for name, conf := range bad {
		t.Run(name, func(t *testing.T) {
			before := refused.Load()
			if typ, err := knock(t, r, "b", conf); err == nil {
				t.Errorf("let in: first frame of type %d", typ)
			}
			eventually(t, "a Refused event", func() bool { return refused.Load() > before })
		})
	}
	if typ, err := knock(t, r, "b", caller(good.Cert, good.Key)); typ != typeReady || err != nil {
		t.Errorf("a node with a good certificate: type %d, %v; the table shows nothing", typ, err)
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests reached the handler", n)
	}
}

// signedByMember is a certificate of "a" that a member signed with its own key.
func signedByMember(r *rig) []byte {
	c := r.creds("a")
	key := must(parseKey(c.Key))
	member := &Authority{cluster: testCluster, cert: must(parseCert(c.Cert)), key: key}
	return forge(member, key.Public(), func(*x509.Certificate) {})
}

func TestListenerRefusesPlaintext(t *testing.T) {
	r := newRig(t, newTCPNet())
	r.start("b", nil)
	raw := must(r.net.dial(context.Background(), "b"))
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	raw.Write(appendFrame(nil, header{typ: typeRequest, id: 1}, []byte("let me in")))
	answer, err := io.ReadAll(raw)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("the connection stays open")
	}
	if len(answer) > 0 && answer[0] != 21 { // a TLS alert record
		t.Errorf("answered %q", answer)
	}
}

// TestJoinProtocolReachesNoHandler: a client without a certificate that
// negotiates the join protocol is never served calls, whatever it sends.
func TestJoinProtocolReachesNoHandler(t *testing.T) {
	r := newRig(t, newTCPNet())
	var reached atomic.Bool
	r.start("b", func(c *Config) {
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
			reached.Store(true)
			return nil, nil
		}
		c.HandleStream = func(fsm.NodeID, uint8, uint32, net.Conn) { reached.Store(true) }
	})
	for _, both := range [][]string{{protoJoin}, {protoJoin, protoNode}, {protoNode, protoJoin}} {
		for _, typ := range []frameType{typeRequest, typeStream, typePing} {
			conf := caller(nil, nil)
			conf.NextProtos = both
			raw := must(r.net.dial(context.Background(), "b"))
			raw.SetDeadline(time.Now().Add(10 * time.Second))
			tc := tls.Client(raw, conf)
			if tc.Handshake() == nil {
				tc.Write(appendFrame(nil, header{typ: typ}, nil))
				if h, err := readHeader(tc, MaxBody); err == nil && h.typ != typeError {
					t.Errorf("%v, frame %d: answered with type %d", both, typ, h.typ)
				}
			}
			raw.Close()
		}
	}
	if reached.Load() {
		t.Error("a handler was reached without a certificate")
	}
}

// impostor answers at a node's address with another certificate (or, without a
// configuration, not in TLS), and keeps what is sent to it after the handshake.
type impostor struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	got []byte
}

func startImpostor(t *testing.T, r *rig, node fsm.NodeID, conf *tls.Config) *impostor {
	ln := r.net.listen(node)
	i := &impostor{}
	i.wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			i.wg.Go(func() { i.serve(raw, conf) })
		}
	})
	t.Cleanup(func() { ln.Close(); i.wg.Wait() })
	return i
}

func (i *impostor) serve(raw net.Conn, conf *tls.Config) {
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	var c net.Conn = raw
	if conf == nil {
		raw.Write([]byte("220 ready\r\n"))
	} else {
		tc := tls.Server(raw, conf)
		if tc.Handshake() != nil {
			return
		}
		tc.Write(appendFrame(nil, header{typ: typeReady}, nil))
		c = tc
	}
	b, _ := io.ReadAll(c)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, b...)
}

// received is what came after the handshake, once all connections have ended.
func (i *impostor) received() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.got
}

// TestDiallerRefuses: a call is not sent to anybody but the node it is for.
func TestDiallerRefuses(t *testing.T) {
	good := newRig(t, newTCPNet())
	asB := func(cert, key []byte) *tls.Config {
		conf := caller(cert, key)
		conf.ClientAuth = tls.RequestClientCert
		return conf
	}
	stranger, other := newRig(t, newTCPNet()).creds("b"), good.creds("c")
	b := good.creds("b")
	key := must(parseKey(b.Key))
	bad := map[string]*tls.Config{
		"wrong CA":     asB(stranger.Cert, stranger.Key),
		"another node": asB(other.Cert, other.Key),
		"TLS 1.2":      asB(b.Cert, b.Key),
		"no ALPN":      asB(b.Cert, b.Key),
		"join ALPN":    asB(b.Cert, b.Key),
	}
	bad["TLS 1.2"].MinVersion, bad["TLS 1.2"].MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	bad["no ALPN"].NextProtos = nil
	bad["join ALPN"].NextProtos = []string{protoJoin}
	for name, change := range forgeries {
		bad[name] = asB(forge(good.ca, key.Public(), func(c *x509.Certificate) {
			c.URIs[0] = nodeURI(testCluster, "b")
			change(c)
		}), b.Key)
	}
	for name, conf := range bad {
		t.Run(name, func(t *testing.T) {
			r := &rig{tb: t, ca: good.ca, net: newTCPNet()}
			i := startImpostor(t, r, "b", conf)
			a := r.start("a", nil)
			_, err := a.Call(within(t, 10*time.Second), "b", 1, 1, []byte("secret"))
			if !errors.Is(err, ErrUnsent) {
				t.Errorf("got %v, want ErrUnsent", err)
			}
			if got := i.received(); len(got) > 0 {
				t.Errorf("the impostor was sent %q", got)
			}
		})
	}
	t.Run("itself", func(t *testing.T) {
		r := &rig{tb: t, ca: good.ca, net: newTCPNet()}
		startImpostor(t, r, "b", asB(b.Cert, b.Key))
		a := r.start("a", nil)
		_, err := a.Call(within(t, 300*time.Millisecond), "b", 1, 1, []byte("secret"))
		if !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost (sent, and never answered): the table shows nothing", err)
		}
	})
}

// TestMember: who is refused by the hook is told so before it has sent anything.
func TestMember(t *testing.T) {
	r := newRig(t, newTCPNet())
	var reached atomic.Bool
	r.start("b", func(c *Config) {
		c.Member = func(n fsm.NodeID) bool { return n != "a" }
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
			reached.Store(true)
			return nil, nil
		}
	})
	a := r.start("a", nil)
	_, err := a.Call(within(t, 10*time.Second), "b", 1, 1, nil)
	if !errors.Is(err, ErrUnsent) || fsm.KindOf(err) != fsm.Forbidden {
		t.Errorf("got %v of kind %v, want ErrUnsent, Forbidden", err, fsm.KindOf(err))
	}
	if _, err := r.start("c", nil).Call(within(t, 10*time.Second), "b", 1, 1, nil); err != nil {
		t.Errorf("another node: %v", err)
	}
	if !reached.Load() {
		t.Error("the handler was not reached at all")
	}
	d := r.start("d", func(c *Config) { c.Member = func(n fsm.NodeID) bool { return n != "b" } })
	if _, err := d.Call(within(t, 10*time.Second), "b", 1, 1, nil); !errors.Is(err, ErrUnsent) || fsm.KindOf(err) != fsm.Forbidden {
		t.Errorf("dialling who is no member: got %v", err)
	}
}

// TestDrop: a removed node's calls and streams break in both directions, and it
// does not come back.
func TestDrop(t *testing.T) {
	r := newRig(t, newTCPNet())
	var removed atomic.Bool
	arrived := make(chan struct{}, 2)
	block := func(ctx context.Context, _ fsm.NodeID, _ uint8, _ uint32, _ []byte) ([]byte, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a := r.start("a", func(c *Config) { c.Handle = block })
	b := r.start("b", func(c *Config) {
		c.Handle = block
		c.Member = func(n fsm.NodeID) bool { return n != "a" || !removed.Load() }
		c.HandleStream = func(_ fsm.NodeID, _ uint8, _ uint32, s net.Conn) { io.Copy(io.Discard, s) }
	})
	s := must(a.Stream(within(t, 10*time.Second), "b", 1, 1))
	defer s.Close()
	errs := make(chan error, 2)
	go func() { _, err := a.Call(within(t, 30*time.Second), "b", 1, 1, nil); errs <- err }()
	go func() { _, err := b.Call(within(t, 30*time.Second), "a", 1, 1, nil); errs <- err }()
	<-arrived
	<-arrived

	removed.Store(true)
	b.Drop("a")
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
	}
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want a broken connection", err)
	}
	eventually(t, "a is refused", func() bool {
		_, err := a.Call(within(t, 10*time.Second), "b", 1, 1, nil)
		return errors.Is(err, ErrUnsent) && fsm.KindOf(err) == fsm.Forbidden
	})
}
