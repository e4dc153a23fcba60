package central

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// notBefore is a time at which this program did not exist yet.
var notBefore = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// skew is how far a certificate may be ahead of a clock that is trusted.
const skew = time.Hour

// A verifier checks the hub's certificate chain.
//
// A router without a battery starts in 1970, or at the time of its newest
// file, and then every certificate is not valid yet; but the time comes from
// the hub, over this connection. So while the clock is not trusted, the chain
// is checked as it was at the latest time that is certain (when the program
// was made, or the newest time that the hub has signed before), or at the
// youngest certificate of the chain if that is later: signatures, names and
// uses are all checked, what had expired by then is refused, and only "not
// valid yet" is not held against the hub. What that leaves open is somebody
// with the private key of a certificate of the hub's that ran out since: he
// can listen to the first call. He cannot push, tell a time or take the outbox,
// because all that waits until the server has signed our nonce with the key
// that was pinned at enrolment; and with the time it brings, connections made
// before are dropped and checked again.
type verifier struct {
	host  string
	roots *x509.CertPool // nil: the system's
	clock Clock
	// seen is the newest time that the hub has signed, in Unix seconds.
	seen atomic.Int64
	// lenient says that a connection was accepted without a trusted clock.
	lenient atomic.Bool
}

func (v *verifier) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Everything that this leaves out is checked by connection, which is
		// called for resumed connections too.
		InsecureSkipVerify: true,
		VerifyConnection:   v.connection,
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
	}
}

func (v *verifier) connection(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	// No name is sent for an address; then it is the one of the URL.
	name := cs.ServerName
	if name == "" {
		name = v.host
	}
	o := x509.VerifyOptions{
		Roots: v.roots, DNSName: name, CurrentTime: v.at(cs.PeerCertificates), Intermediates: x509.NewCertPool(),
	}
	for _, c := range cs.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(o); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	return nil
}

// errHandshake is a server that was not talked to.
var errHandshake = errors.New("the server's certificate was not accepted")

// at is the time at which a chain is checked.
func (v *verifier) at(chain []*x509.Certificate) time.Time {
	var youngest time.Time
	for _, c := range chain {
		if c.NotBefore.After(youngest) {
			youngest = c.NotBefore
		}
	}
	now := v.clock.Now()
	if now.Trusted {
		if youngest.After(now.Wall) && !youngest.After(now.Wall.Add(skew)) {
			return youngest
		}
		return now.Wall
	}
	v.lenient.Store(true)
	at := notBefore
	if seen := time.Unix(v.seen.Load(), 0); seen.After(at) {
		at = seen
	}
	if youngest.After(at) {
		at = youngest
	}
	return at
}

// signed remembers a time that the hub has signed. It says whether there are
// connections from before that must be made anew.
func (v *verifier) signed(t time.Time) (again bool) {
	if t.Unix() > v.seen.Load() {
		v.seen.Store(t.Unix())
	}
	return v.clock.Now().Trusted && v.lenient.Swap(false)
}

// explain says in words what to do about a connection that failed.
func (v *verifier) explain(err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		noRoots   x509.SystemRootsError
	)
	switch {
	case errors.As(err, &noRoots), errors.As(err, &authority) && v.roots == nil:
		return fmt.Errorf("the hub's certificate is from an authority that this machine does not know; install ca-bundle, or name the hub's own authority in hub.ca_file: %w", err)
	case errors.As(err, &authority):
		return fmt.Errorf("the hub's certificate is not from the authority in hub.ca_file: %w", err)
	case errors.As(err, &host):
		return fmt.Errorf("the hub's certificate is for another name; hub.url must have the name in it: %w", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the hub's certificate is out of date, or this gateway's clock is wrong (%s): %w", v.clock.Now().Wall.UTC().Format(time.DateTime), err)
	}
	return err
}

func readRoots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in it; it must be PEM")
	}
	return pool, nil
}
