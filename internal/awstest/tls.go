package awstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// A CA is a certificate authority that vouches for every name it is asked
// for, so that clients can reach a Cloud under AWS's own host names too.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes a CA.
func NewCA() *CA {
	ca := &CA{key: newSigner()}
	template := certificate("awstest CA")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	ca.cert = sign(template, template, ca.key.Public(), ca.key)
	return ca
}

// PEM returns the CA's certificate, as ca_bundle and AWS_CA_BUNDLE take it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// Config returns the configuration of a server that has, for every name, a
// certificate of ca. Clients that send no name asked for 127.0.0.1.
func (ca *CA) Config() *tls.Config {
	key := newSigner()
	issue := func(name string) *tls.Certificate {
		template := certificate(name)
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{name}
		}
		leaf := sign(template, ca.cert, key.Public(), ca.key)
		return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	}
	return &tls.Config{
		Certificates: []tls.Certificate{*issue("127.0.0.1")},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "" {
				return nil, nil // the one above
			}
			return issue(hello.ServerName), nil
		},
	}
}

func certificate(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		BasicConstraintsValid: true,
	}
}

func newSigner() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		panic(err) // these templates are always right
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}
