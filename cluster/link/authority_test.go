package link

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// TestIssue looks at every part of a node's certificate that grants something.
func TestIssue(t *testing.T) {
	ca := must(NewAuthority(testCluster))
	_, pub, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cert := must(parseCert(must(ca.Issue(pub, testCluster, "01JNODE", now))))
	if got, want := cert.URIs[0].String(), "cairn://01JCLUSTER/node/01JNODE"; got != want || len(cert.URIs) != 1 {
		t.Errorf("names %v, want only %s", cert.URIs, want)
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("IsCA %v, key usage %b: a node must sign nothing", cert.IsCA, cert.KeyUsage)
	}
	if got := cert.NotAfter.Sub(now).Round(time.Hour); got != nodeLifetime {
		t.Errorf("lifetime %v, want %v", got, nodeLifetime)
	}
	if err := cert.CheckSignatureFrom(ca.cert); err != nil {
		t.Error(err)
	}
	late := must(parseCert(must(ca.Issue(pub, testCluster, "01JNODE", ca.cert.NotAfter.Add(-time.Hour)))))
	if !late.NotAfter.Equal(ca.cert.NotAfter) {
		t.Errorf("a certificate outlives its CA: %v, %v", late.NotAfter, ca.cert.NotAfter)
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := must(NewAuthority(testCluster))
	_, pub, _ := NewKey()
	for _, tt := range []struct {
		name    string
		key     any
		cluster string
		node    fsm.NodeID
	}{
		{"another cluster", pub, "other", "n"},
		{"no node", pub, testCluster, ""},
		{"a node that is a path", pub, testCluster, "a/../b"},
		{"a node that is a replica", pub, testCluster, "n.1"},
		{"a node that a URI escapes", pub, testCluster, "n%41"},
		{"no key", nil, testCluster, "n"},
		{"another curve", must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public(), testCluster, "n"},
		{"another algorithm", ed25519.PublicKey(make([]byte, 32)), testCluster, "n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ca.Issue(tt.key, tt.cluster, tt.node, time.Now()); fsm.KindOf(err) != fsm.Invalid {
				t.Errorf("got %v, want Invalid", err)
			}
		})
	}
	if _, err := NewAuthority("a b"); fsm.KindOf(err) != fsm.Invalid {
		t.Errorf("a cluster with a space: got %v, want Invalid", err)
	}
}

// TestAuthorityReloaded: what an authority signed before it was written down and
// read again is still good, and so is what it signs after.
func TestAuthorityReloaded(t *testing.T) {
	r := newRig(t, newTCPNet())
	before := r.creds("a")
	again, err := LoadAuthority(r.ca.CertPEM(), r.ca.Key())
	if err != nil {
		t.Fatal(err)
	}
	if again.Cluster() != testCluster || again.Fingerprint() != must(Fingerprint(r.ca.CertPEM())) {
		t.Errorf("cluster %q, fingerprint %q", again.Cluster(), again.Fingerprint())
	}
	r.ca = again
	for _, c := range []Credentials{before, r.creds("b")} {
		if err := c.Validate(time.Now()); err != nil {
			t.Error(err)
		}
	}
	other := must(NewAuthority(testCluster))
	if _, err := LoadAuthority(r.ca.CertPEM(), other.Key()); err == nil {
		t.Error("a CA was loaded with another's key")
	}
	if _, err := LoadAuthority(before.Cert, before.Key); err == nil {
		t.Error("a node's certificate was loaded as a CA")
	}
}

// forge signs a certificate for key that Issue would not have made.
func forge(ca *Authority, pub any, change func(*x509.Certificate)) []byte {
	template := &x509.Certificate{
		URIs:                  []*url.URL{nodeURI(ca.cluster, "a")},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	change(template)
	return encodePEM(must(x509.CreateCertificate(rand.Reader, template, ca.cert, pub, ca.key)))
}

// forgeries are certificates of node "a", signed by the right CA, that must not
// be accepted.
var forgeries = map[string]func(*x509.Certificate){
	"expired":           func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
	"not yet valid":     func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) },
	"another cluster":   func(c *x509.Certificate) { c.URIs[0] = nodeURI("other", "a") },
	"another role":      func(c *x509.Certificate) { c.URIs[0].Path = "/admin/a" },
	"another scheme":    func(c *x509.Certificate) { c.URIs[0].Scheme = "https" },
	"a CA's name":       func(c *x509.Certificate) { c.URIs[0] = authorityURI(testCluster) },
	"two names":         func(c *x509.Certificate) { c.URIs = append(c.URIs, nodeURI(testCluster, "b")) },
	"a DNS name beside": func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} },
	"no name":           func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"a"} },
	"a query":           func(c *x509.Certificate) { c.URIs[0].RawQuery = "x=1" },
	"a user":            func(c *x509.Certificate) { c.URIs[0].User = url.User("u") },
	"a deeper path":     func(c *x509.Certificate) { c.URIs[0].Path = "/node/a/b" },
	"may sign":          func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign },
	"no usage of ours":  func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} },
}

func TestCredentialsValidate(t *testing.T) {
	r := newRig(t, newTCPNet())
	good, other := r.creds("a"), r.creds("b")
	stranger := newRig(t, newTCPNet()).creds("a")
	if err := good.Validate(time.Now()); err != nil {
		t.Fatal(err)
	}
	bad := map[string]func(c *Credentials){
		"no CA":                func(c *Credentials) { c.CA = nil },
		"another CA":           func(c *Credentials) { c.CA = stranger.CA },
		"a node for a CA":      func(c *Credentials) { c.CA = other.Cert },
		"two CAs":              func(c *Credentials) { c.CA = append(append([]byte(nil), c.CA...), stranger.CA...) },
		"no certificate":       func(c *Credentials) { c.Cert = nil },
		"another's":            func(c *Credentials) { c.Cert = other.Cert },
		"no key":               func(c *Credentials) { c.Key = nil },
		"another's key":        func(c *Credentials) { c.Key = other.Key },
		"another node":         func(c *Credentials) { c.Node = "b" },
		"another cluster's id": func(c *Credentials) { c.Cluster = "other" },
	}
	key := must(parseKey(good.Key))
	for name, change := range forgeries {
		bad[name] = func(c *Credentials) { c.Cert = forge(r.ca, key.Public(), change) }
	}
	for name, change := range bad {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			err := c.Validate(time.Now())
			if k := fsm.KindOf(err); k != fsm.Invalid && k != fsm.Forbidden {
				t.Errorf("got %v, want Invalid or Forbidden", err)
			}
		})
	}
	if err := good.Validate(time.Now().Add(nodeLifetime + time.Hour)); err == nil {
		t.Error("good after it expired")
	}
	c := good
	c.Cert = forge(r.ca, key.Public(), func(*x509.Certificate) {})
	if err := c.Validate(time.Now()); err != nil {
		t.Errorf("the unchanged forgery is refused, so the table above shows nothing: %v", err)
	}
}

func TestSeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var key [32]byte
		copy(key[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		aad := rapid.SliceOf(rapid.Byte()).Draw(t, "aad")
		sealed := Seal(key, plain, aad)
		if got, err := Unseal(key, sealed, aad); err != nil || string(got) != string(plain) {
			t.Fatalf("got %q, %v, want %q", got, err, plain)
		}
		damaged := append([]byte(nil), sealed...)
		damaged[rapid.IntRange(0, len(sealed)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Unseal(key, damaged, aad); err == nil {
			t.Fatal("a flipped bit went unnoticed")
		}
		if _, err := Unseal(key, sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")], aad); err == nil {
			t.Fatal("a cut went unnoticed")
		}
		if _, err := Unseal(key, sealed, append(aad, 0)); err == nil {
			t.Fatal("other additional data opened it")
		}
		key[0] ^= 1
		if _, err := Unseal(key, sealed, aad); err == nil {
			t.Fatal("another key opened it")
		}
	})
}

// TestSealIsRandom: one nonce used twice would give the CA's key away.
func TestSealIsRandom(t *testing.T) {
	var key [32]byte
	one, two := Seal(key, []byte("x"), nil), Seal(key, []byte("x"), nil)
	if bytes.Equal(one, two) {
		t.Error("the same value sealed twice looks the same")
	}
}
