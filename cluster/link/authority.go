package link

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	"cairn/fsm"
)

// Lifetimes of certificates. Every certificate begins clockSkew before it is
// made, so that a node whose clock is a little behind accepts it at once.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	nodeLifetime = 365 * 24 * time.Hour
	clockSkew    = time.Hour
)

// maxName is the length of the longest cluster or node id, in bytes.
const maxName = 64

// fingerprintBytes of the SHA-256 of the CA's certificate are kept: a second
// certificate with the same 160 bits is out of anybody's reach, and the whole
// hash would only make the token longer.
const fingerprintBytes = 20

// text is the alphabet of fingerprints and secrets: lower case, no character
// that a terminal would not select with a double click.
var text = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Authority is a cluster's certificate authority: the only key that admits
// nodes. It is made once, by the founder, and kept sealed (see [Seal]).
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	keyDER  []byte
}

// NewAuthority makes the authority of a new cluster: an ECDSA P-256 key and a
// self-signed certificate of ten years that names the cluster. The cluster's id
// is 1 to 64 letters, digits, '_' or '-'; otherwise Invalid.
func NewAuthority(cluster string) (*Authority, error) {
	if !validName(cluster) {
		return nil, invalidName("cluster", cluster)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's CA key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "cairn cluster " + cluster},
		URIs:                  []*url.URL{authorityURI(cluster)},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs nodes, and nodes sign nothing
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the cluster's CA certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the cluster's CA key: %w", err)
	}
	return LoadAuthority(encodePEM(der), keyDER)
}

// LoadAuthority reads what CertPEM and Key returned. Errors are Invalid: not
// one PEM certificate, not a CA of a cluster, not the certificate's key.
func LoadAuthority(certPEM, key []byte) (*Authority, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "the CA's certificate cannot be read: %v", err)
	}
	cluster, err := clusterOf(cert)
	if err != nil {
		return nil, err
	}
	private, err := parseKey(key)
	if err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "the CA's key cannot be read: %v", err)
	}
	if !private.PublicKey.Equal(cert.PublicKey) {
		return nil, fsm.Errorf(fsm.Invalid, "the CA's key does not belong to its certificate")
	}
	return &Authority{cluster: cluster, cert: cert, key: private, keyDER: key}, nil
}

// CertPEM returns the CA's certificate, PEM. It is public.
func (a *Authority) CertPEM() []byte { return encodePEM(a.cert.Raw) }

// Key returns the CA's private key, PKCS #8 DER. Whoever has it can make
// members: it leaves the process only sealed.
func (a *Authority) Key() []byte { return a.keyDER }

// Cluster returns the id of the cluster that the CA's certificate names.
func (a *Authority) Cluster() string { return a.cluster }

// Fingerprint returns what [Fingerprint] returns for the CA's certificate.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert) }

// Issue signs a node's certificate, PEM: one URI name
// cairn://<cluster>/node/<id>, for both ends of a connection, valid for a year
// from now (never longer than the CA's own). The only thing taken from the node
// is its public key, which must be ECDSA on P-256, as [NewKey] makes it: names,
// uses and times are the cluster's to say. Errors are Invalid.
func (a *Authority) Issue(pub crypto.PublicKey, cluster string, node fsm.NodeID, now time.Time) ([]byte, error) {
	if cluster != a.cluster {
		return nil, fsm.Errorf(fsm.Invalid, "this authority is cluster %s's and cannot admit a node to %s", a.cluster, cluster)
	}
	if !validName(string(node)) {
		return nil, invalidName("node", string(node))
	}
	if key, ok := pub.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, fsm.Errorf(fsm.Invalid, "a node's key must be ECDSA on P-256")
	}
	end := now.Add(nodeLifetime)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "cairn node " + string(node)},
		URIs:                  []*url.URL{nodeURI(cluster, node)},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of node %s: %w", node, err)
	}
	return encodePEM(der), nil
}

// NewKey makes a node's key pair: the private key as PKCS #8 DER, for
// [Credentials], and the public key, for [Authority.Issue]. It travels as
// x509.MarshalPKIXPublicKey writes it.
func NewKey() (key []byte, pub *ecdsa.PublicKey, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a node's key: %w", err)
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a node's key: %w", err)
	}
	return key, &private.PublicKey, nil
}

// Fingerprint returns the first 160 bits of the SHA-256 of a certificate (PEM),
// 32 characters of lower-case base32. Errors are Invalid.
func Fingerprint(certPEM []byte) (string, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return "", fsm.Errorf(fsm.Invalid, "the CA's certificate cannot be read: %v", err)
	}
	return fingerprint(cert), nil
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return text.EncodeToString(sum[:fingerprintBytes])
}

// The names in certificates. The scheme's host is the cluster and its path the
// role, so that a certificate of one cluster or role cannot be read as another's.
const uriScheme = "cairn"

func authorityURI(cluster string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: cluster, Path: "/ca"}
}

func nodeURI(cluster string, node fsm.NodeID) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: cluster, Path: "/node/" + string(node)}
}

// clusterOf returns the cluster that a CA's certificate names.
func clusterOf(cert *x509.Certificate) (string, error) {
	name, err := onlyName(cert)
	if err != nil {
		return "", err
	}
	cluster, ok := strings.CutPrefix(name, uriScheme+"://")
	cluster, role := strings.CutSuffix(cluster, "/ca")
	if !ok || !role || !cert.IsCA || !validName(cluster) {
		return "", fsm.Errorf(fsm.Forbidden, "the certificate %q is not the CA of a cluster", name)
	}
	return cluster, nil
}

// nodeOf returns the node that a certificate names in the given cluster.
func nodeOf(cert *x509.Certificate, cluster string) (fsm.NodeID, error) {
	name, err := onlyName(cert)
	if err != nil {
		return "", err
	}
	node, ok := strings.CutPrefix(name, uriScheme+"://"+cluster+"/node/")
	if !ok || cert.IsCA || !validName(node) {
		return "", fsm.Errorf(fsm.Forbidden, "the certificate %q is not that of a node of cluster %s", name, cluster)
	}
	return fsm.NodeID(node), nil
}

// onlyName returns a certificate's one URI name. A second name of any kind
// would leave open which of them was checked.
func onlyName(cert *x509.Certificate) (string, error) {
	others := len(cert.DNSNames) + len(cert.IPAddresses) + len(cert.EmailAddresses)
	if len(cert.URIs) != 1 || others != 0 {
		return "", fsm.Errorf(fsm.Forbidden, "a certificate of this cluster carries exactly one URI name, this one %d and %d others", len(cert.URIs), others)
	}
	return cert.URIs[0].String(), nil
}

// validName reports whether s may be the id of a cluster or a node: nothing
// that a URI would escape, and no '.', which separates a replica's incarnation.
func validName(s string) bool {
	if len(s) == 0 || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func invalidName(what, s string) error {
	return fsm.Errorf(fsm.Invalid, "the %s id %.80q must be 1 to %d letters, digits, '_' or '-'", what, s, maxName)
}

const certBlock = "CERTIFICATE"

func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der})
}

// parseCert reads exactly one PEM certificate.
func parseCert(certPEM []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(certPEM)
	if block == nil || block.Type != certBlock || len(rest) > 0 {
		return nil, fmt.Errorf("it is not exactly one PEM block %q", certBlock)
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, fmt.Errorf("it is a %T, not ECDSA on P-256", key)
	}
	return private, nil
}
