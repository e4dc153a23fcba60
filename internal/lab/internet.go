package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// iperfPorts are the iperf3 servers of the internet host; each serves one
// client at a time.
var iperfPorts = []int{5201, 5202, 5203, 5204}

// startInternet starts the internet's servers.
func (l *Lab) startInternet() error {
	c, err := l.spawn("internet", l.Command("internet", l.self, roleInternet))
	if err != nil {
		return err
	}
	if err := l.waitListening(c, "internet", net.JoinHostPort(internet4.String(), "53")); err != nil {
		return err
	}
	if _, err := exec.LookPath("iperf3"); err != nil {
		return nil // a comfort for people; nothing of the lab's own needs it
	}
	for _, port := range iperfPorts {
		name := "iperf3-" + strconv.Itoa(port)
		if _, err := l.spawn(name, l.Command("internet", "iperf3", "-s", "-p", strconv.Itoa(port))); err != nil {
			return err
		}
	}
	return nil
}

// waitListening waits until a process of a host accepts TCP connections.
func (l *Lab) waitListening(c *child, host, addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for {
		conn, err := l.Dial(ctx, host, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-c.done:
			return fmt.Errorf("starting %s: it ended: %s", c.Name, tail(l.Info.Logs[c.Name], 5))
		case <-ctx.Done():
			return fmt.Errorf("starting %s: %w", c.Name, err)
		}
	}
}

// runInternet serves HTTP and DNS on every address of its host, and HTTPS on
// those that are not the payment providers'.
func runInternet(ctx context.Context) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", ":80")
	if err != nil {
		return fmt.Errorf("listening for http: %w", err)
	}
	var secure []net.Listener
	for _, ip := range []netip.Addr{internet4, garden4, internet6, garden6} {
		ln, err := tls.Listen("tcp", netip.AddrPortFrom(ip, 443).String(), &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			return fmt.Errorf("listening for https: %w", err)
		}
		secure = append(secure, ln)
	}
	udp, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return fmt.Errorf("listening for dns: %w", err)
	}
	tcp, err := net.Listen("tcp", ":53")
	if err != nil {
		return fmt.Errorf("listening for dns: %w", err)
	}
	web := &http.Server{Handler: http.HandlerFunc(serveInternet), ReadHeaderTimeout: 10 * time.Second}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return unlessClosed(web.Serve(plain)) })
	for _, ln := range secure {
		g.Go(func() error { return unlessClosed(web.Serve(ln)) })
	}
	g.Go(func() error { return serveDNS(udp) })
	g.Go(func() error { return serveDNSOverTCP(tcp) })
	g.Go(func() error {
		<-ctx.Done()
		return errors.Join(web.Close(), udp.Close(), tcp.Close())
	})
	return g.Wait()
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// selfSigned makes a certificate that no phone trusts: the lab's HTTPS is there
// to be reached or refused, not to be believed.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making certificate: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "internet.example"},
		DNSNames:     []string{"*.example", "example.com"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Now().Add(10 * 365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// probeAnswers are what operating systems expect to read when they are online.
var probeAnswers = map[string]string{
	"/hotspot-detect.html":       "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>",
	"/library/test/success.html": "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>",
	"/connecttest.txt":           "Microsoft Connect Test",
	"/ncsi.txt":                  "Microsoft NCSI",
	"/success.txt":               "success\n",
	"/canonical.html":            `<meta http-equiv="refresh" content="0;url=https://support.mozilla.org/kb/captive-portal"/>`,
	"/check_network_status.txt":  "NetworkManager is online\n",
	"/nm":                        "NetworkManager is online\n",
	"/kindle-wifi/wifistub.html": "<html><head><title>Kindle Reachability Probe Page</title></head><body>81ce4465-7167-4dcb-835b-dcc9e44c112a</body></html>",
	"/static/hotspot.txt":        "OK",
	"/generate_204":              "",
	"/gen_204":                   "",
}

// serveInternet answers for every name of the internet.
func serveInternet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case "/bytes":
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "ask for /bytes?n=NUMBER", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.CopyN(w, zeros{}, n)
		return
	case "/upload":
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, n)
		return
	case "/address":
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, host)
		return
	}
	if body, ok := probeAnswers[r.URL.Path]; ok {
		if body == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".html") {
			w.Header().Set("Content-Type", "text/html")
		} else {
			w.Header().Set("Content-Type", "text/plain")
		}
		io.WriteString(w, body)
		return
	}
	what := "the internet"
	if isGarden(r.Host) {
		what = "the garden"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>%s</title><p>This is %[1]s.\n", what)
}

func isGarden(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "garden.example" || strings.HasSuffix(host, ".garden.example")
}

// zeros is an endless file of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
