package link

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"cairn/fsm"
)

// Application protocols (ALPN). The number is the version of what is spoken
// after the handshake: a node that does not know it is refused by TLS.
const (
	protoNode = "cairn/1"
	protoJoin = "cairn-join/1"
)

// Credentials are what a node needs to prove that it is a member.
type Credentials struct {
	Cluster string     // the cluster's id
	Node    fsm.NodeID // this node's id
	CA      []byte     // the CA's certificate, PEM
	Cert    []byte     // this node's certificate, PEM
	Key     []byte     // this node's private key, PKCS #8 DER
}

// Validate checks that the parts belong together at the given time: the
// certificate is the CA's, names this cluster and node, has not expired, and
// the key is its key. Errors are Invalid or Forbidden and say which part is
// wrong.
func (c Credentials) Validate(now time.Time) error {
	_, err := c.identity(now)
	return err
}

// identity is Credentials, parsed and checked.
type identity struct {
	cluster string
	node    fsm.NodeID
	roots   *x509.CertPool
	leaf    *x509.Certificate
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
}

func (c Credentials) identity(now time.Time) (*identity, error) {
	ca, err := parseCert(c.CA)
	if err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "the CA's certificate cannot be read: %v", err)
	}
	leaf, err := parseCert(c.Cert)
	if err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "this node's certificate cannot be read: %v", err)
	}
	key, err := parseKey(c.Key)
	if err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "this node's key cannot be read: %v", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, fsm.Errorf(fsm.Invalid, "this node's key does not belong to its certificate")
	}
	if cluster, err := clusterOf(ca); err != nil {
		return nil, err
	} else if cluster != c.Cluster {
		return nil, fsm.Errorf(fsm.Forbidden, "the CA is cluster %s's, not %s's", cluster, c.Cluster)
	}
	id := &identity{cluster: c.Cluster, node: c.Node, roots: x509.NewCertPool(), leaf: leaf, ca: ca, key: key}
	id.roots.AddCert(ca)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if node, err := id.verify(leaf, usage, now); err != nil {
			return nil, err
		} else if node != c.Node {
			return nil, fsm.Errorf(fsm.Forbidden, "the certificate is node %s's, not %s's", node, c.Node)
		}
	}
	return id, nil
}

// verify returns the node that a certificate proves to be. Only a certificate
// signed by the CA itself counts: there are no intermediates.
func (id *identity) verify(leaf *x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (fsm.NodeID, error) {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       id.roots,
		KeyUsages:   []x509.ExtKeyUsage{usage},
		CurrentTime: now,
	})
	if err != nil {
		return "", fsm.Errorf(fsm.Forbidden, "the certificate does not hold (if it has expired or is not valid yet, check the clocks): %v", err)
	}
	return nodeOf(leaf, id.cluster)
}

// verifyPeer returns the node at the other end of a finished handshake, whose
// part is given by usage. It is the one place where a peer's name is decided,
// in both directions.
func (id *identity) verifyPeer(cs tls.ConnectionState, usage x509.ExtKeyUsage) (fsm.NodeID, error) {
	// An absent ALPN is not an error to crypto/tls.
	if cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != protoNode || len(cs.PeerCertificates) == 0 {
		return "", fsm.Errorf(fsm.Forbidden, "the peer does not speak %s over TLS 1.3 with a certificate", protoNode)
	}
	return id.verify(cs.PeerCertificates[0], usage, time.Now())
}

// baseTLS is what every configuration here has in common. There are no session
// tickets: a resumed session would outlive the checks of a full handshake, and
// over an unbuffered connection a server that writes a ticket and a client that
// writes a request would wait for each other.
func baseTLS(proto string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  []string{proto},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // frames are small or bulk, never a page to render early
	}
}

// clientTLS is for dialling one node: whoever answers must be that node.
func (id *identity) clientTLS(node fsm.NodeID) *tls.Config {
	conf := baseTLS(protoNode)
	conf.Certificates = []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw}, PrivateKey: id.key}}
	// The names in our certificates are URIs, which crypto/tls cannot match
	// with an address; VerifyConnection does the whole of the verification.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		got, err := id.verifyPeer(cs, x509.ExtKeyUsageServerAuth)
		if err == nil && got != node {
			err = fsm.Errorf(fsm.Forbidden, "node %s answers at the address of node %s", got, node)
		}
		return err
	}
	return conf
}

// serverTLS is for the listener. A client that offers the join protocol and
// nothing else is not asked for a certificate; everyone else must have one.
func (id *identity) serverTLS() *tls.Config {
	mutual := baseTLS(protoNode)
	mutual.Certificates = []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw}, PrivateKey: id.key}}
	// crypto/tls verifies the chain and so do we: two locks, so that a mistake
	// in one of them lets nobody in.
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	mutual.ClientCAs = id.roots
	mutual.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := id.verifyPeer(cs, x509.ExtKeyUsageClientAuth)
		return err
	}

	join := baseTLS(protoJoin)
	// The CA's certificate goes along: the joiner knows only its fingerprint.
	join.Certificates = []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw, id.ca.Raw}, PrivateKey: id.key}}

	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if slices.Equal(hello.SupportedProtos, []string{protoJoin}) {
				return join, nil
			}
			return mutual, nil
		},
	}
}

// joinTLS is for a node that has no certificate yet. The server is genuine if
// its certificate is signed by a CA with the token's fingerprint.
func joinTLS(print string) *tls.Config {
	conf := baseTLS(protoJoin)
	conf.InsecureSkipVerify = true // the CA is known by its fingerprint only; see VerifyConnection
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		foreign := fsm.Errorf(fsm.Forbidden, "the node that answered does not belong to the cluster that the token is for: check the address and the token")
		if cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != protoJoin || len(cs.PeerCertificates) != 2 {
			return foreign
		}
		leaf, ca := cs.PeerCertificates[0], cs.PeerCertificates[1]
		if fingerprint(ca) != print {
			return foreign
		}
		cluster, err := clusterOf(ca)
		if err != nil {
			return err
		}
		id := &identity{cluster: cluster, roots: x509.NewCertPool()}
		id.roots.AddCert(ca)
		_, err = id.verify(leaf, x509.ExtKeyUsageServerAuth, time.Now())
		return err
	}
	return conf
}
