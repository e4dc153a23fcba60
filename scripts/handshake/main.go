// Command handshake shakes hands with itself over TLS with every curve that a
// server may ask a router for, as the key of its certificate and for the
// exchange of keys. It is built like the router's program, with the stand-ins
// for parts of Go's own library, and run where that program will be. Its exit
// code is 1 if a handshake failed.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"
)

const host = "hub.example"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "handshake:", err)
		os.Exit(1)
	}
}

func run() error {
	curves := []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	keys := map[string]crypto.Signer{"Ed25519": edwards}
	for _, curve := range curves {
		if keys[curve.Params().Name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return err
		}
	}
	done := 0
	for kind, key := range keys {
		server, roots, err := certify(key)
		if err != nil {
			return fmt.Errorf("making a certificate for %s: %w", kind, err)
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			// Zero leaves the choice to both, as the router's program does.
			for _, exchange := range []tls.CurveID{0, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
				if err := shake(server, roots, version, exchange); err != nil {
					return fmt.Errorf("%s with a key on %s, exchange %s: %w", tls.VersionName(version), kind, exchange, err)
				}
				done++
			}
		}
	}
	fmt.Printf("handshake: %d went well\n", done)
	return nil
}

// certify signs a certificate for host by its own key, and trusts it.
func certify(key crypto.Signer) (tls.Certificate, *x509.CertPool, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots, nil
}

// shake lets a client check the server and hear a word from it.
func shake(certificate tls.Certificate, roots *x509.CertPool, version uint16, exchange tls.CurveID) error {
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: roots, ServerName: host,
		MinVersion: version, MaxVersion: version,
	}
	want := exchange
	if exchange != 0 {
		config.CurvePreferences = []tls.CurveID{exchange}
	} else if want = tls.X25519MLKEM768; version == tls.VersionTLS12 {
		want = tls.X25519
	}
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() {
		server := tls.Server(far, config)
		_, err := io.WriteString(server, "welcome")
		served <- errors.Join(err, server.Close())
	}()
	client := tls.Client(near, config)
	word, err := io.ReadAll(client)
	near.Close() // so that the server ends where the client gave up
	err = errors.Join(err, <-served)
	if got := client.ConnectionState().CurveID; err == nil && (string(word) != "welcome" || got != want) {
		err = fmt.Errorf("heard %q, keys exchanged by %s, want %s", word, got, want)
	}
	return err
}
