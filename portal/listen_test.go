package portal_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zonegate"
)

// run serves the zone's portal on free ports of 127.0.0.1 and ::1 until the
// test ends, and returns the IPv4 one.
func (z *zone) run() string {
	z.t.Helper()
	z.server.Addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	for _, a := range z.server.Addrs {
		z.links.known[a] = macA
	}
	// Two neighbouring ports that are free now on both addresses.
	var port int
	for port == 0 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			z.t.Fatal(err)
		}
		p := l.Addr().(*net.TCPAddr).Port
		free := p < 65535
		for _, at := range []string{"127.0.0.1:" + strconv.Itoa(p+1), "[::1]:" + strconv.Itoa(p), "[::1]:" + strconv.Itoa(p+1)} {
			if m, err := net.Listen("tcp", at); err == nil {
				_ = m.Close()
			} else {
				free = false
			}
		}
		_ = l.Close()
		if free {
			port = p
		}
	}
	z.server.Port = uint16(port)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- z.server.Run(ctx) }()
	z.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			z.t.Errorf("Run: %v", err)
		}
	})
	ports := []int{port}
	if z.server.TLSCert != "" {
		ports = append(ports, port+1)
	}
	for _, p := range ports {
		for _, a := range z.server.Addrs {
			z.await(net.JoinHostPort(a.String(), strconv.Itoa(p)), done)
		}
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// await returns when somebody listens at an address.
func (z *zone) await(addr string, done <-chan error) {
	z.t.Helper()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-done:
			z.t.Fatalf("Run: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestRunServesBothFamilies(t *testing.T) {
	z := newZone(t)
	addr := z.run()
	_, port, _ := net.SplitHostPort(addr)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, base := range []string{"http://" + addr, "http://[::1]:" + port} {
		if status, body := get(t, client, base+"/captive"); status != 200 || !bytes.Contains([]byte(body), []byte(`"user-portal-url":"`+base+`/"`)) {
			t.Errorf("%s: %d %s", base, status, body)
		}
	}
}

func TestRunRefusesATakenPort(t *testing.T) {
	z := newZone(t)
	addr := z.run()
	other := newZone(t)
	other.server.Addrs, other.server.Port = z.server.Addrs[:1], z.server.Port
	if err := other.server.Run(t.Context()); err == nil {
		t.Errorf("two portals on %s", addr)
	}
}

// An address that does not exist yet is no error: the bridge comes up later.
func TestRunBeforeTheAddressExists(t *testing.T) {
	z := newZone(t)
	z.server.Addrs = []netip.Addr{netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77")}
	z.server.Port = 2050
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := z.server.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// certificate writes a certificate for a name and returns a pool that trusts
// it.
func certificate(t *testing.T, dir, name string, serial int64) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{
		"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func TestHTTPS(t *testing.T) {
	z := newZone(t)
	dir := t.TempDir()
	pool := certificate(t, dir, "portail.example.org", 1)
	z.server.Name = "portail.example.org"
	z.server.TLSCert, z.server.TLSKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	z.run()
	secure := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(z.server.Port)+1))
	name := net.JoinHostPort("portail.example.org", strconv.Itoa(int(z.server.Port)+1))

	client := func(pool *x509.CertPool) *http.Client {
		return &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", secure)
			},
		}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	status, body := get(t, client(pool), "https://"+name+"/captive")
	if status != 200 || body != `{"captive":true,"user-portal-url":"https://`+name+`/","can-extend-session":true}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, client(pool), "https://"+name+"/"); status != 200 {
		t.Errorf("the page over HTTPS: %d", status)
	}

	// A renewed certificate is served without a restart.
	pool = certificate(t, dir, "portail.example.org", 2)
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "cert.pem"), later, later); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, client(pool), "https://"+name+"/captive"); status != 200 {
		t.Errorf("after the renewal: %d", status)
	}
	// A broken one is not.
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, client(pool), "https://"+name+"/captive"); status != 200 {
		t.Errorf("after a broken renewal: %d", status)
	}
}

// Whoever opens many connections is turned away; the others are served.
func TestConnectionsPerClient(t *testing.T) {
	z := newZone(t)
	addr := z.run()
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	answered := func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, "GET /captive HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
		n, _ := conn.Read(make([]byte, 1))
		return n == 1
	}
	var held []net.Conn
	for range 40 {
		// Each stays open after its answer.
		if c := dial("127.0.0.2"); answered(c) {
			held = append(held, c)
		}
	}
	if len(held) != 16 {
		t.Errorf("%d connections of one client were served, want 16", len(held))
	}
	if !answered(dial("127.0.0.3")) {
		t.Error("another client was not served")
	}
	_ = held[0].Close()
	for !answered(dial("127.0.0.2")) {
		// The place is free once the server has seen the end.
	}
}

// ask sends one request on a connection and returns the answer, nil if there
// was none.
func ask(conn net.Conn) *http.Response {
	if _, err := io.WriteString(conn, "GET /captive HTTP/1.1\r\nHost: "+conn.RemoteAddr().String()+"\r\n\r\n"); err != nil {
		return nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp
}

// dialFrom opens a connection from a loopback address.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp4", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// One phone with twenty addresses has the places of one phone, however often
// it renews its connections, and others are served without its leave.
func TestHoarderWithManyAddresses(t *testing.T) {
	z := newZone(t)
	z.links.always = func(a netip.Addr) zonegate.MAC {
		if a == netip.MustParseAddr("127.0.0.3") {
			return macA
		}
		return macB
	}
	addr := z.run()
	var held []net.Conn
	for n := range 20 * 16 {
		conn := dialFrom(t, "127.0.1."+strconv.Itoa(1+n/16), addr)
		if resp := ask(conn); resp != nil {
			held = append(held, conn)
			if resp.Close {
				t.Errorf("connection %d is to close although there is room", n)
			}
		}
	}
	// The connections that run made to see the portal may still count.
	if len(held) > 16 || len(held) < 12 {
		t.Errorf("%d connections of one device were served, want 16", len(held))
	}
	if resp := ask(dialFrom(t, "127.0.0.3", addr)); resp == nil || resp.Close {
		t.Errorf("another device got %v", resp)
	}
	for _, conn := range held {
		if ask(conn) == nil {
			t.Error("a connection that the device may have was closed")
		}
	}
}

// In a room more than half full, every answer is its connection's last.
func TestFewPlacesAreNotKept(t *testing.T) {
	z := newZone(t)
	z.links.always = func(a netip.Addr) zonegate.MAC { return zonegate.MAC{2, 0, 0, 0, 1, a.AsSlice()[3]} }
	addr := z.run()
	closing := 0
	for n := range 140 {
		conn := dialFrom(t, "127.0.1."+strconv.Itoa(1+n/10), addr)
		switch resp := ask(conn); {
		case resp == nil:
			t.Fatalf("connection %d was not answered", n)
		case !resp.Close:
		case n < 120:
			t.Errorf("connection %d is to close although there is room", n)
		default:
			closing++
			if n, _ := conn.Read(make([]byte, 1)); n != 0 {
				t.Error("it stays open")
			}
		}
	}
	if closing < 12 {
		t.Errorf("%d of 140 connections were told to close, want those above 128", closing)
	}
}

// A request in time does not keep a connection for ever.
func TestConnectionHasItsShareOfRequests(t *testing.T) {
	z := newZone(t)
	conn := dialFrom(t, "127.0.0.1", z.run())
	for n := 1; n <= 100; n++ {
		if resp := ask(conn); resp == nil || resp.Close != (n == 100) {
			t.Fatalf("request %d: %v", n, resp)
		}
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d octets, %v; want the end", n, err)
	}
}

// Every socket that Run opens is bound to the device, and serves what arrives
// there.
func TestRunOnADevice(t *testing.T) {
	z := newZone(t)
	dir := t.TempDir()
	certificate(t, dir, "portail.example.org", 1)
	z.server.TLSCert, z.server.TLSKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	z.server.Device = "lo"
	addr := z.run()
	if status, _ := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+addr+"/captive"); status != 200 {
		t.Errorf("over the device: %d", status)
	}

	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	bound := 0
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listening == 0 {
			continue
		}
		at, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		var port int
		switch at := at.(type) {
		case *unix.SockaddrInet4:
			port = at.Port
		case *unix.SockaddrInet6:
			port = at.Port
		}
		if p := int(z.server.Port); port != p && port != p+1 {
			continue
		}
		device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		if err != nil || device != "lo" {
			t.Errorf("a socket on port %d is bound to %q, %v; want lo", port, device, err)
		}
		bound++
	}
	if bound != 4 {
		t.Errorf("%d sockets listen, want HTTP and HTTPS in both families", bound)
	}
}

// A device that is missing is waited for.
func TestRunBeforeTheDeviceExists(t *testing.T) {
	z := newZone(t)
	z.server.Device = "none0"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- z.server.Run(ctx) }()
	for !strings.Contains(z.logged.String(), "waits for its interface") {
		select {
		case err := <-done:
			t.Fatalf("Run: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
