package radius_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"zonegate/internal/lab/fakenas"
	"zonegate/internal/lab/freeradius"
	"zonegate/internal/lab/naszone"
	"zonegate/radius/nas"
)

const labSecret = "a secret of the lab"

// openZone runs a whole zone on a disk until the test ends.
func openZone(t *testing.T, o naszone.Options) *naszone.Zone {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.NAS.Secret = nas.Secret(labSecret)
	z, err := naszone.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the zone ended with %v", err)
		}
		if err := z.Close(); err != nil {
			t.Errorf("closing the zone: %v", err)
		}
	})
	return z
}

// TestVerdictsOfFreeRADIUS sends every row of the table to FreeRADIUS and to
// our server: what is heard, what is dropped, and what an answer is must be the
// same, but where the table says why ours is another.
func TestVerdictsOfFreeRADIUS(t *testing.T) {
	z := openZone(t, naszone.Options{NAS: nas.NAS{Prefix: netip.MustParsePrefix("127.0.0.1/32"), RequireMA: nas.RequireNo}})
	// A customer for each row: who logs in twice at once, or wrongly, waits.
	codes, err := z.Sell(t.Context(), len(probes))
	if err != nil {
		t.Fatal(err)
	}
	users := make([]freeradius.User, len(codes))
	for i, code := range codes {
		users[i] = freeradius.User{Name: code, Password: code}
	}
	free, err := freeradius.Start(t.Context(), freeradius.Config{
		Clients: netip.MustParsePrefix("127.0.0.1/32"), Secret: labSecret,
		Users: users,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := free.Close(); err != nil {
			t.Error(err)
		}
	})
	ours := &target{auth: z.Auth, acct: z.Acct}
	theirs := &target{auth: free.Auth, acct: free.Acct}
	// All at once: most of the time goes by waiting for what must not come.
	type verdicts struct{ ours, theirs string }
	got := make([]verdicts, len(probes))
	var wg sync.WaitGroup
	for i := range probes {
		p := &probes[i]
		f := fixture{secret: []byte(labSecret), user: codes[i], password: codes[i], mac: fmt.Sprintf("02-5A-47-00-00-%02X", i)}
		wg.Go(func() { got[i].theirs = theirs.verdict(p, f, p.want) })
		wg.Go(func() { got[i].ours = ours.verdict(p, f, p.ourVerdict()) })
	}
	wg.Wait()
	for i := range probes {
		p := &probes[i]
		t.Run(p.name, func(t *testing.T) {
			if got[i].theirs != p.want {
				t.Errorf("FreeRADIUS: %s, and the table says %s", got[i].theirs, p.want)
			}
			if got[i].ours != p.ourVerdict() {
				t.Errorf("zonegate: %s instead of %s; FreeRADIUS: %s", got[i].ours, p.ourVerdict(), got[i].theirs)
			}
			if (p.ours == "") != (p.why == "") {
				t.Error("where ours is another verdict, the table must say why")
			}
		})
	}
}

// A probe is one row of the table: a datagram, and what a server makes of it.
type probe struct {
	name string
	// acct has it sent to the accounting port.
	acct bool
	// build makes the datagram. The buffer of the request may be changed at
	// will: it is what is sent.
	build func(f *fixture, r *fakenas.Request) []byte
	// again has it sent once more after the answer, second something else from
	// the same socket.
	again  bool
	second func(f *fixture, r *fakenas.Request) []byte
	// before is sent first, and must get no answer.
	before func(f *fixture, r *fakenas.Request) []byte
	// from is the sender's address; zero is the NAS that both servers know.
	from netip.Addr
	// want is the verdict of both servers. Where ours is meant to be another
	// than FreeRADIUS's, mostly a stricter one, ours is it and why says what for.
	want, ours, why string
}

// The verdicts. Proxy-States that came back are added in words, and whether a
// repeated request got the same octets again.
const (
	dropped    = "dropped"
	accept     = "Access-Accept"
	reject     = "Access-Reject"
	accounting = "Accounting-Response"
)

// A fixture is what a probe needs to know: both servers share it.
type fixture struct {
	secret         []byte
	user, password string
	mac            string
}

// access begins a signed login with the right password.
func (f *fixture) access(r *fakenas.Request, id byte) {
	f.begin(r, id)
	r.Sign()
	f.identity(r)
	r.Password(f.password)
}

func (f *fixture) begin(r *fakenas.Request, id byte) { r.Begin(fakenas.AccessRequest, id, f.secret) }

func (f *fixture) identity(r *fakenas.Request) {
	r.Text(fakenas.UserName, f.user)
	f.nas(r)
}

func (f *fixture) nas(r *fakenas.Request) {
	r.Octets(fakenas.NASIPAddress, []byte{127, 0, 0, 1})
	r.Text(fakenas.NASIdentifier, "probe")
	r.Text(fakenas.CallingStationID, f.mac)
}

// account begins an accounting request of the session with a name.
func (f *fixture) account(r *fakenas.Request, id byte, status uint32, session string) {
	r.Begin(fakenas.AccountingRequest, id, f.secret)
	r.Uint32(fakenas.AcctStatusType, status)
	r.Text(fakenas.AcctSessionID, session)
	f.identity(r)
}

func (f *fixture) status(r *fakenas.Request, id byte) { r.Begin(fakenas.StatusServer, id, f.secret) }

// setLength writes another length into the header.
func setLength(packet []byte, n int) []byte {
	binary.BigEndian.PutUint16(packet[2:], uint16(n))
	return packet
}

// raw is an unsigned login that ends in octets which are no right attributes.
func raw(f *fixture, r *fakenas.Request, tail ...byte) []byte {
	f.begin(r, 1)
	f.identity(r)
	r.Password(f.password)
	p := append(r.End(), tail...)
	return setLength(p, len(p))
}

// resign computes the Request Authenticator of an accounting request that was
// changed (RFC 2866 section 3).
func resign(packet, secret []byte) []byte {
	length := binary.BigEndian.Uint16(packet[2:])
	clear(packet[4:20])
	sum := md5.Sum(append(bytes.Clone(packet[:length]), secret...))
	copy(packet[4:], sum[:])
	return packet
}

// code is a login under another code.
func code(code byte) func(*fixture, *fakenas.Request) []byte {
	return func(f *fixture, r *fakenas.Request) []byte {
		r.Begin(code, 1, f.secret)
		f.identity(r)
		r.Password(f.password)
		return r.End()
	}
}

// eapIdentity is an EAP-Response/Identity (RFC 3748 section 5.1).
func eapIdentity(user string) []byte {
	p := []byte{2, 1, 0, byte(5 + len(user)), 1}
	return append(p, user...)
}

// ourVerdict is what our server must make of it.
func (p *probe) ourVerdict() string {
	if p.ours != "" {
		return p.ours
	}
	return p.want
}

// A target is a server that is probed.
type target struct{ auth, acct netip.AddrPort }

// verdict sends a probe from a socket of its own and says what came of it.
// What is wanted only tells how long an answer is waited for: one that must
// come may take its time on a busy machine.
func (s *target) verdict(p *probe, f fixture, want string) string {
	from := p.from
	if !from.IsValid() {
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	to := s.auth
	if p.acct {
		to = s.acct
	}
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	patience := 20 * time.Second
	if want == dropped {
		patience = time.Second
	}
	var r fakenas.Request
	if p.before != nil {
		if _, err := conn.Write(p.before(&f, &r)); err != nil {
			return err.Error()
		}
	}
	packet := p.build(&f, &r)
	answer, err := exchange(conn, packet, patience)
	if err != nil {
		if timeOut(err) {
			return dropped
		}
		return err.Error()
	}
	v := describe(&r, answer)
	if p.again {
		if second, err := exchange(conn, packet, patience); err == nil && bytes.Equal(second, answer) {
			v += ", the same again"
		} else {
			v += fmt.Sprintf(", then %x, %v", second, err)
		}
	}
	if p.second != nil {
		if answer, err = exchange(conn, p.second(&f, &r), patience); err != nil {
			return v + ", then " + dropped
		}
		v += ", then " + describe(&r, answer)
	}
	return v
}

// exchange sends a packet and waits for an answer.
func exchange(conn *net.UDPConn, packet []byte, patience time.Duration) ([]byte, error) {
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	answer := make([]byte, 5000)
	n, err := conn.Read(answer)
	return answer[:n], err
}

func timeOut(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// describe puts an answer into words.
func describe(r *fakenas.Request, answer []byte) string {
	if err := r.Check(answer); err != nil {
		return fmt.Sprintf("%v: %x", err, answer)
	}
	v := fakenas.CodeName(answer[0])
	if states := fakenas.Attributes(answer, fakenas.ProxyState); len(states) > 0 {
		v += " Proxy-State " + string(bytes.Join(states, []byte(" ")))
	}
	return v
}
