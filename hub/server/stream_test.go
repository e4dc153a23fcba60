package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/hub"
	"zonegate/sync/api"
)

// patience is how long a test waits for what must come; nothing is measured
// by it.
const patience = 60 * time.Second

var testCertificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

// A fakeFeed holds pushes in memory; its gateways' tokens are their ids.
type fakeFeed struct {
	key ed25519.PrivateKey

	mu      sync.Mutex
	pushes  []hub.Push
	news    chan struct{}
	down    error
	revoked map[string]bool
	asked   int // calls of PushesFor
	lifted  uint64
	waited  uint64 // the highest number that was waited for
}

func newFakeFeed() *fakeFeed {
	return &fakeFeed{key: ed25519.NewKeyFromSeed(make([]byte, 32)), news: make(chan struct{}), revoked: map[string]bool{}}
}

func (f *fakeFeed) add(t hub.Target, kind string, body string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	seq := f.head() + 1
	f.pushes = append(f.pushes, hub.Push{Seq: seq, Target: t, Kind: kind, Body: json.RawMessage(body)})
	close(f.news)
	f.news = make(chan struct{})
	return seq
}

func (f *fakeFeed) message(t hub.Target) uint64 {
	return f.add(t, api.KindMessage, `{"fr":"a","en":"b"}`)
}

func (f *fakeFeed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *fakeFeed) Head(context.Context) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head(), f.down
}

func (f *fakeFeed) head() uint64 {
	if n := len(f.pushes); n > 0 {
		return max(f.pushes[n-1].Seq, f.lifted)
	}
	return f.lifted
}

// lift leaves numbers out, as a hub does that was restored from an old backup.
func (f *fakeFeed) lift(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lifted = seq
	close(f.news)
	f.news = make(chan struct{})
}

func (f *fakeFeed) WaitPush(ctx context.Context, after uint64) (uint64, error) {
	for {
		f.mu.Lock()
		head, news, down := f.head(), f.news, f.down
		f.waited = max(f.waited, after)
		f.mu.Unlock()
		if down != nil || head > after {
			return head, down
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-news:
		}
	}
}

func (f *fakeFeed) Pushes(_ context.Context, after uint64, max int) (out []hub.Push, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pushes {
		if p.Seq > after && len(out) < max {
			out = append(out, p)
		}
	}
	return out, f.down
}

func (f *fakeFeed) PushesFor(_ context.Context, g hub.Gateway, after uint64, max int) (out []hub.Push, head uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	for _, p := range f.pushes {
		if p.Seq > after && p.Seq > g.Since && p.Target.Includes(g) && len(out) < max && (!g.Revoked || p.Kind == api.KindRevoked) {
			out = append(out, p)
		}
	}
	return out, f.head(), f.down
}

func (f *fakeFeed) Sign(p hub.Push) (api.Signed, error) {
	site := p.Target.Site
	if p.Target.Share > 0 {
		site = "*"
	}
	return api.Sign(f.key, api.Push{Seq: p.Seq, Site: site, Kind: p.Kind, At: p.At, Body: p.Body})
}

func (f *fakeFeed) authenticate(_ context.Context, token string) (hub.Gateway, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := strings.CutPrefix(token, "gw-")
	if !ok {
		return hub.Gateway{}, hub.ErrUnauthorized
	}
	g := hub.Gateway{ID: token, Site: "site-" + n, Currency: "XOF"}
	if f.revoked[token] {
		g.Revoked = true
		return g, hub.ErrRevoked
	}
	return g, nil
}

// A running is a server on a free port.
type running struct {
	*Server
	feed   *fakeFeed
	url    string // without the path
	client *http.Client
	stop   func()
}

// startFake runs a server on pushes in memory, over TLS.
func startFake(t *testing.T, feed *fakeFeed, change func(*Options), more ...func(*Server)) *running {
	t.Helper()
	cert, pool := testCertificate()
	o := Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Log: testLog(t)}
	if change != nil {
		change(&o)
	}
	s := New(o)
	s.fanout.feed = feed
	s.fanout.every = 5 * time.Millisecond // a round of the wheel in half a second
	s.authenticate = feed.authenticate
	s.crowd = 0
	for _, f := range more {
		f(s)
	}
	url, stop := serve(t, s)
	return &running{Server: s, feed: feed, url: url, client: newClient(pool), stop: stop}
}

// serve runs a server until the test or stop ends it.
func serve(t *testing.T, s *Server) (url string, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("the server ended with: %v", err)
				}
			case <-time.After(patience):
				t.Error("the server does not stop")
			}
		})
	}
	t.Cleanup(stop)
	waitFor(t, "the server to be ready", s.fanout.isReady)
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + l.Addr().String(), stop
}

// quickCurves spare the key exchange that takes ten times as long under the
// race detector.
var quickCurves = []tls.CurveID{tls.CurveP256}

func newClient(pool *x509.CertPool) *http.Client {
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, CurvePreferences: quickCurves}, DisableCompression: true, MaxIdleConnsPerHost: 64}
	return &http.Client{Transport: t, Timeout: patience}
}

// waitFor waits for something that is the case soon.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func testLog(t *testing.T) *slog.Logger {
	if os.Getenv("HUB_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A listening is a gateway with its stream open.
type listening struct {
	answer *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (r *running) listen(t *testing.T, token string, after uint64) *listening {
	t.Helper()
	l, err := openStream(r.client, r.url, token, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.cancel)
	return l
}

func openStream(client *http.Client, url, token string, after uint64) (*listening, error) {
	ctx, cancel := context.WithCancel(context.Background())
	q, err := http.NewRequestWithContext(ctx, "GET", url+Base+api.PathEvents, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Accept", "text/event-stream")
	if after > 0 {
		q.Header.Set("Last-Event-ID", strconv.FormatUint(after, 10))
	}
	a, err := client.Do(q)
	if err != nil {
		cancel()
		return nil, err
	}
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(a.Body)
		cancel()
		return nil, fmt.Errorf("status %d: %s", a.StatusCode, body)
	}
	l := &listening{a, bufio.NewReaderSize(a.Body, 256), cancel}
	// The stream begins with a comment.
	if line, err := l.lines.ReadString('\n'); err != nil || line != ":\n" {
		cancel()
		return nil, fmt.Errorf("the stream begins with %q, %v", line, err)
	}
	return l, nil
}

// next returns the number of the next push, and the push.
func (l *listening) next() (uint64, api.Push, error) {
	var seq uint64
	var p api.Push
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return 0, p, err
		}
		line = strings.TrimSuffix(line, "\n")
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			if seq, err = strconv.ParseUint(id, 10, 64); err != nil {
				return 0, p, err
			}
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var s api.Signed
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				return 0, p, err
			}
			if err := json.Unmarshal(s.Payload, &p); err != nil {
				return 0, p, err
			}
		}
		if line == "" && p.Seq != 0 {
			if p.Seq != seq {
				return 0, p, fmt.Errorf("push %d has the id %d", p.Seq, seq)
			}
			return seq, p, nil
		}
	}
}

func (l *listening) want(t *testing.T, seqs ...uint64) {
	t.Helper()
	for _, want := range seqs {
		got, _, err := l.next()
		if err != nil || got != want {
			t.Fatalf("got push %d (%v), want %d", got, err, want)
		}
	}
}

// wantEnd reads up to the end, which must come without another push.
func (l *listening) wantEnd(t *testing.T) {
	t.Helper()
	seq, _, err := l.next()
	if err == nil {
		t.Fatalf("got push %d, want the end", seq)
	}
}

func site(n int) hub.Target { return hub.Target{Site: fmt.Sprintf("site-%d", n)} }

func TestStreamBringsWhatIsForTheGateway(t *testing.T) {
	feed := newFakeFeed()
	feed.message(hub.Everybody) // 1
	feed.message(site(7))       // 2
	feed.message(site(1))       // 3
	r := startFake(t, feed, nil)
	one, all := r.listen(t, "gw-1", 0), r.listen(t, "gw-2", 1)
	one.want(t, 1, 3)
	feed.message(site(1))                                                     // 4
	feed.message(hub.Target{Share: hub.All, Currency: "XAF"})                 // 5
	feed.message(hub.Target{Site: "site-2", Share: hub.All, Currency: "XAF"}) // 6
	feed.message(hub.Everybody)                                               // 7
	one.want(t, 4, 7)
	all.want(t, 6, 7)
	// Resumed where it was, from memory alone.
	asked := feed.asked
	r.listen(t, "gw-1", 4).want(t, 7)
	if feed.asked != asked {
		t.Error("a stream that was away for a moment asked the database")
	}
}

func TestNewStreamEndsTheOlder(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	older := r.listen(t, "gw-1", 0)
	other := r.listen(t, "gw-2", 0)
	newer := r.listen(t, "gw-1", 0)
	older.wantEnd(t)
	feed.message(hub.Everybody)
	newer.want(t, 1)
	other.want(t, 1)
	if n := r.Streams(); n != 2 {
		t.Errorf("%d streams are open, want 2", n)
	}
}

func TestRevokedGatewayIsToldAndLetGo(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	l := r.listen(t, "gw-1", 0)
	feed.message(site(1))
	feed.mu.Lock()
	feed.revoked["gw-1"] = true
	feed.mu.Unlock()
	feed.add(site(1), api.KindRevoked, `{"reason":"stolen"}`) // 2
	feed.message(hub.Everybody)
	l.want(t, 1, 2)
	l.wantEnd(t)
	// It comes back, and is told again, that alone.
	l = r.listen(t, "gw-1", 0)
	l.want(t, 2)
	l.wantEnd(t)
	page, status := r.page(t, "gw-1", 0)
	if status != http.StatusOK || len(page.Items) != 1 {
		t.Errorf("its page: status %d with %d pushes, want the one that says why", status, len(page.Items))
	}
}

// page polls.
func (r *running) page(t *testing.T, token string, after uint64) (api.Pushes, int) {
	t.Helper()
	q, err := http.NewRequest("GET", r.url+Base+api.PathEvents, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Accept", "application/json")
	q.Header.Set("Last-Event-ID", strconv.FormatUint(after, 10))
	a, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > api.MaxBody {
		t.Errorf("a page has %d octets", len(body))
	}
	var p api.Pushes
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%v: %.200s", err, body)
	}
	return p, a.StatusCode
}

func TestPagesHoldEverythingInOrder(t *testing.T) {
	feed := newFakeFeed()
	big := `{"fr":"` + strings.Repeat("x", 60_000) + `","en":""}`
	var want []uint64
	for i := range 900 {
		switch {
		case i%3 == 1:
			feed.message(site(2))
		case i > 850:
			want = append(want, feed.add(site(1), api.KindMessage, big))
		default:
			want = append(want, feed.message(site(1)))
		}
	}
	r := startFake(t, feed, nil)
	var got []uint64
	var after uint64
	for after < 900 {
		p, status := r.page(t, "gw-1", after)
		if status != http.StatusOK || p.Head <= after {
			t.Fatalf("status %d, head %d after %d", status, p.Head, after)
		}
		for _, s := range p.Items {
			push, err := s.Open(feed.key.Public().(ed25519.PublicKey), "site-1")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, push.Seq)
		}
		after = p.Head
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestLongAwayStreamCatchesUp: more than is held, and more than may wait for
// a peer.
func TestLongAwayStreamCatchesUp(t *testing.T) {
	feed := newFakeFeed()
	for range recentPushes + 500 {
		feed.message(hub.Everybody)
	}
	big := `{"fr":"` + strings.Repeat("x", 60_000) + `","en":""}`
	for range 60 {
		feed.add(hub.Everybody, api.KindMessage, big)
	}
	r := startFake(t, feed, nil)
	l := r.listen(t, "gw-1", 3)
	for seq := uint64(4); seq <= recentPushes+560; seq++ {
		l.want(t, seq)
	}
	feed.message(hub.Everybody)
	l.want(t, recentPushes+561)
	if feed.asked == 0 {
		t.Error("the database was not asked for what is not held")
	}
}

// TestStormLosesAndDoublesNothing: gateways drop their streams at random and
// come back with their last number, while pushes go on.
func TestStormLosesAndDoublesNothing(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	const gateways, pushes = 20, 400
	var g errgroup.Group
	for n := range gateways {
		g.Go(func() error {
			rng := mrand.New(mrand.NewPCG(uint64(n), 1))
			token := fmt.Sprintf("gw-%d", n)
			var after, opened uint64
			for after < pushes {
				l, err := openStream(r.client, r.url, token, after)
				if err != nil {
					return err
				}
				opened++
				for range rng.IntN(40) + 1 {
					seq, _, err := l.next()
					if err != nil {
						break
					}
					if seq <= after {
						return fmt.Errorf("%s: push %d came after %d", token, seq, after)
					}
					for missed := after + 1; missed < seq; missed++ {
						if missed%10 != 5 || missed%gateways == uint64(n) {
							return fmt.Errorf("%s: push %d was lost before %d", token, missed, seq)
						}
					}
					if after = seq; after == pushes {
						break
					}
				}
				l.cancel()
			}
			return nil
		})
	}
	for i := uint64(1); i <= pushes; i++ {
		// Those that end in 5 are for one site; the last is for all.
		if i%10 == 5 {
			feed.message(site(int(i % gateways)))
		} else {
			feed.message(hub.Everybody)
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestNumbersLeftOut: a head without a push is waited beyond, not asked for
// again and again.
func TestNumbersLeftOut(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	l := r.listen(t, "gw-1", 0)
	l.want(t, feed.message(hub.Everybody))
	feed.lift(100)
	waitFor(t, "the hub to rest", func() bool {
		feed.mu.Lock()
		defer feed.mu.Unlock()
		return feed.waited == 100
	})
	l.want(t, feed.message(hub.Everybody))
}

// TestSlowReaderHoldsUpNobody: one does not read at all, until it is dropped;
// the others get everything.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	r.rawStream(t, "gw-1")
	quick := r.listen(t, "gw-2", 0)
	waitFor(t, "both streams", func() bool { return r.Streams() == 2 })
	big := `{"fr":"` + strings.Repeat("x", 60_000) + `","en":""}`
	const most = 400
	for i := uint64(1); i <= most; i++ {
		feed.add(hub.Everybody, api.KindMessage, big)
		quick.want(t, i)
		if r.Streams() == 1 {
			return
		}
	}
	t.Fatalf("a stream that takes nothing is still there after %d pushes of 80 KB", most)
}

// rawStream opens a stream and reads nothing of it.
func (r *running) rawStream(t *testing.T, token string) net.Conn {
	t.Helper()
	_, pool := testCertificate()
	raw, err := net.Dial("tcp", strings.TrimPrefix(r.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET %s%s HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\n\r\n", Base, api.PathEvents, token)
	return c
}

// TestGoneStreamsAreFound: nobody reads from a stream, so a closed one shows
// at its next comment.
func TestGoneStreamsAreFound(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	for n := range 5 {
		r.listen(t, fmt.Sprintf("gw-%d", n), 0)
	}
	l := r.listen(t, "gw-9", 0)
	waitFor(t, "the streams", func() bool { return r.Streams() == 6 })
	l.cancel()
	waitFor(t, "the closed one to go", func() bool { return r.Streams() == 5 })
}

func TestCommentsComeInTime(t *testing.T) {
	f := newFanout(newFakeFeed(), testLog(t))
	var lines []*stream
	for n := range 500 {
		client, server := tcpPair(t)
		go io.Copy(io.Discard, client)
		l := &line{TCPConn: server.(*net.TCPConn)}
		l.raw, _ = l.SyscallConn()
		if err := l.loosen(); err != nil {
			t.Fatal(err)
		}
		counted := &countingConn{Conn: l}
		s := &stream{gateway: hub.Gateway{ID: strconv.Itoa(n), Site: strconv.Itoa(n)}, conn: counted, line: l}
		f.loaded = true
		if err := f.join(s); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, s)
	}
	f.welcome()
	// Four rounds of the wheel: every stream is written to at least once in
	// each, and they are spread over it.
	most := 0
	silent := make([]int, len(lines))
	for range 4 * wheelSlots {
		f.turn++
		f.beat()
		now := 0
		for i, s := range lines {
			c := s.conn.(*countingConn)
			if c.written > 0 {
				now++
				c.written, silent[i] = 0, 0
			} else if silent[i]++; silent[i] >= wheelSlots {
				t.Fatalf("stream %d was silent for a whole round", i)
			}
		}
		most = max(most, now)
	}
	if most > len(lines)/4 {
		t.Errorf("%d of %d streams were written to at one moment", most, len(lines))
	}
	f.closeAll()
}

type countingConn struct {
	net.Conn
	written int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.written += len(b)
	return c.Conn.Write(b)
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// TestLooseLineKeepsOrder: what the kernel does not take at once comes later,
// whole.
func TestLooseLineKeepsOrder(t *testing.T) {
	client, server := tcpPair(t)
	l := &line{TCPConn: server.(*net.TCPConn)}
	l.raw, _ = l.SyscallConn()
	if err := l.loosen(); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for i := range 2000 {
		b := []byte(strings.Repeat(strconv.Itoa(i)+",", 1000))
		want.Write(b)
		if n, err := l.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	left, _, err := l.flush()
	if err != nil || left == 0 {
		t.Fatalf("%d octets are left (%v): the peer has read nothing, there must be some", left, err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(client)
		got <- b
	}()
	waitFor(t, "the rest to go", func() bool {
		left, _, err := l.flush()
		if err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	server.Close()
	if !bytes.Equal(<-got, want.Bytes()) {
		t.Error("what came is not what was written")
	}
}

// TestDatabaseAwayKeepsStreams: without its database the hub keeps its streams
// and goes on where it was.
func TestDatabaseAwayKeepsStreams(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	l := r.listen(t, "gw-1", 0)
	feed.message(hub.Everybody)
	l.want(t, 1)
	feed.fail(errors.New("the database is away"))
	feed.message(hub.Everybody)
	q, _ := http.NewRequest("GET", r.url+"/readyz", nil)
	a, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz without a database: %d", a.StatusCode)
	}
	feed.fail(nil)
	l.want(t, 2)
}

func TestStopEndsStreams(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, nil)
	l := r.listen(t, "gw-1", 0)
	waitFor(t, "the stream", func() bool { return r.Streams() == 1 })
	r.stop()
	l.wantEnd(t)
	if _, err := openStream(r.client, r.url, "gw-1", 0); err == nil {
		t.Error("a stopped server opens streams")
	}
}

func TestStreamsOpenedTooOften(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, func(o *Options) { o.Limits.Streams = Limit{PerMinute: 1, Burst: 3} })
	for range 3 {
		r.listen(t, "gw-1", 0)
	}
	if _, err := openStream(r.client, r.url, "gw-1", 0); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("the fourth stream within a moment: %v", err)
	}
	r.listen(t, "gw-2", 0)
}

// TestConnectionsAreBounded: as many streams as there are connections find
// room beside a connection for calls, and one more does not.
func TestConnectionsAreBounded(t *testing.T) {
	feed := newFakeFeed()
	r := startFake(t, feed, func(o *Options) { o.Connections = 20 })
	call := func() {
		t.Helper()
		a, err := r.client.Get(r.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, a.Body)
		a.Body.Close()
		if a.Close {
			t.Error("a connection is not kept")
		}
		r.resting(t, 1)
	}
	var streams []*listening
	for n := range 19 {
		streams = append(streams, r.listen(t, fmt.Sprintf("gw-%d", n), 0))
		if n < 18 {
			call()
		}
	}
	call()
	streams = append(streams, r.listen(t, "gw-19", 0))
	if _, err := openStream(r.client, r.url, "gw-20", 0); err == nil {
		t.Error("a connection above the bound was accepted")
	}
	feed.message(hub.Everybody)
	for _, l := range streams {
		l.want(t, 1)
		l.cancel()
	}
	waitFor(t, "room again", func() bool { return r.lines.open.Load() < 5 })
	call()
}
