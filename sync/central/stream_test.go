package central

import (
	"bufio"
	"crypto/ed25519"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zonegate/sync/api"
)

// on has the hub answer one path in another way.
func (h *fakeHub) on(path string, f func(http.ResponseWriter, *http.Request) bool) {
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, path) && f(w, r)
		}
	})
}

func streams(r *http.Request) bool { return r.Header.Get("Accept") == "text/event-stream" }

// A stream on which nothing comes any more is dead; the next one goes on where
// it was.
func TestDeadStream(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.pace.silence = 150 * time.Millisecond
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	seq := h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)})
	var hangs atomic.Int32
	h.on(api.PathEvents, func(w http.ResponseWriter, r *http.Request) bool {
		if !streams(r) || hangs.Add(1) > 1 {
			return false
		}
		// Alive at first, and then silent for ever.
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ":\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	})
	z.run()
	h.applied(seq)
	h.is(func() bool {
		if h.pages > 0 {
			t.Error("pages were asked for although streams pass")
		}
		return true
	})
}

// A stream that is alive but idle is kept: comments are enough.
func TestIdleStreamIsKept(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.pace.silence = 2 * time.Second
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	var comments atomic.Int32
	h.on(api.PathEvents, func(w http.ResponseWriter, r *http.Request) bool {
		if !streams(r) {
			return false
		}
		h.set(func() { h.opened++ })
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			io.WriteString(w, ":\n\n")
			http.NewResponseController(w).Flush()
			comments.Add(1)
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return true
			}
		}
	})
	z.run()
	z.connected()
	eventually(t, "comments for longer than the silence", func() bool { return comments.Load() > 120 })
	h.is(func() bool {
		if h.opened != 1 {
			t.Errorf("the stream was opened %d times", h.opened)
		}
		return true
	})
}

// A proxy that holds a stream back until it ends, or answers in its place:
// pushes are asked for.
func TestStreamsThatDoNotPass(t *testing.T) {
	for name, eats := range map[string]func(http.ResponseWriter, *http.Request){
		"the body held back": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"the header held back": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a page in its place":  func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			z := newZone(t, h.endpoint())
			z.pace.firstSign, z.pace.header = 100*time.Millisecond, 2*time.Second
			if strings.Contains(name, "header") {
				z.pace.header = 300 * time.Millisecond
			}
			z.open()
			if err := z.central.Join(t.Context(), "code"); err != nil {
				t.Fatal(err)
			}
			h.on(api.PathEvents, func(w http.ResponseWriter, r *http.Request) bool {
				if !streams(r) {
					return false
				}
				eats(w, r)
				return true
			})
			z.run()
			h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
			z.found("stream")
			// The finding comes before the first page does.
			eventually(t, "a gateway that polls", func() bool {
				s := z.central.Status()
				return s.Connected && s.Polling
			})
			h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 2)}))
		})
	}
}

// More pushes than a page holds, while polling.
func TestManyPages(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	h.on(api.PathEvents, func(w http.ResponseWriter, r *http.Request) bool {
		if streams(r) {
			io.WriteString(w, "none")
		}
		return streams(r)
	})
	var last uint64
	for n := range api.MaxPushPage + 50 {
		last = h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", uint32(n+1))})
	}
	z.run()
	h.applied(last)
	if p, _ := z.plan("jour"); p.Version != api.MaxPushPage+50 {
		t.Errorf("the plan has version %d", p.Version)
	}
}

// A second gateway with the same identity takes the stream over, again and
// again: this one comes back ever more seldom.
func TestSupersededStream(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.pace.retryFirst, z.pace.retryMost = 20*time.Millisecond, time.Hour
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	h.on(api.PathEvents, func(w http.ResponseWriter, r *http.Request) bool {
		if streams(r) {
			h.set(func() { h.opened++ })
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, ":\n\n")
		}
		return streams(r)
	})
	z.run()
	eventually(t, "the stream is opened again", func() bool { return h.is(func() bool { return h.opened >= 3 }) })
	before := 0
	h.is(func() bool { before = len(h.beats); return true })
	eventually(t, "heartbeats", func() bool { return h.is(func() bool { return len(h.beats) > before+20 }) })
	h.is(func() bool {
		// Waits double from 20 ms: in the time of 20 heartbeats a dozen at most.
		if h.opened > 30 {
			t.Errorf("the stream was opened %d times", h.opened)
		}
		return true
	})
	eventually(t, "the status says it", func() bool { return strings.Contains(z.central.Status().LastError, "ended") })
}

// The hub away: everything waits, nothing is lost, and the breaker keeps the
// calls few.
func TestHubAway(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	var calls atomic.Int32
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			calls.Add(1)
			panic(http.ErrAbortHandler)
		}
	})
	h.drop()
	z.sold(2)
	eventually(t, "the breaker opens", func() bool { return z.central.Status().Waiting > 0 })
	if s := z.central.Status(); s.Connected || s.Unsent == 0 || s.LastError == "" || s.Denied {
		t.Fatalf("status %+v", s)
	}
	seq := h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)})
	h.set(func() { h.misbehave = nil })
	z.connected()
	h.applied(seq)
	h.has(z)
	h.dense()
}

func TestDenied(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	h.set(func() { h.token = "another" })
	h.drop()
	z.sold(1)
	if f := z.found("hub"); !strings.Contains(f.Detail, "join again") {
		t.Errorf("finding: %+v", f)
	}
	eventually(t, "denied", func() bool { s := z.central.Status(); return s.Denied && !s.Connected && s.Unsent > 0 })
	// The operator mends it: no restart is needed.
	h.set(func() { h.token = "token-1" })
	z.connected()
	h.has(z)
	eventually(t, "the finding is gone", func() bool { return len(z.central.Status().Findings) == 0 })
}

// Taken off the hub: the signed word is taken, what runs goes on, and nothing
// of the outbox is dropped.
func TestRevoked(t *testing.T) {
	for _, told := range []string{"by a push", "by a refusal"} {
		t.Run(told, func(t *testing.T) {
			h := newFakeHub(t)
			z := joined(t, h)
			h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
			if told == "by a refusal" {
				// The stream never brings it, so a page must.
				h.on(api.PathEvents, func(w http.ResponseWriter, r *http.Request) bool {
					if streams(r) {
						w.WriteHeader(503)
					}
					return streams(r)
				})
				h.drop()
				h.set(func() { h.revoked = true })
			}
			h.push(api.KindRevoked, api.GatewayRevoked{Reason: "stolen"})
			eventually(t, "the zone knows", func() bool { s := z.central.Status(); return s.Revoked && s.Denied && !s.Connected })
			z.found("hub")
			if _, ok := z.plan("jour"); ok {
				t.Error("plans of the hub's are still on sale")
			}
			z.sold(1) // its own are
			opened := 0
			h.is(func() bool { opened = h.opened; return true })
			before := 0
			h.is(func() bool { before = len(h.entries); return true })
			h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 2)})
			z.stopCentral()
			z.open()
			z.run()
			z.found("hub")
			h.is(func() bool {
				if h.opened != opened || len(h.entries) != before {
					t.Errorf("a revoked gateway opened %d streams and delivered %d entries", h.opened-opened, len(h.entries)-before)
				}
				return true
			})
		})
	}
}

// A server with a good certificate that does not hold the hub's key gets
// nothing and gives nothing.
func TestImpostor(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	_, other, _ := ed25519.GenerateKey(nil)
	h.set(func() { h.signer = other })
	z.clock.set(func(c *handClock) { c.trusted = false })
	z.sold(1)
	z.run()
	if f := z.found("hub"); !strings.Contains(f.Detail, "key") {
		t.Errorf("finding: %+v", f)
	}
	eventually(t, "several heartbeats", func() bool { return h.is(func() bool { return len(h.beats) > 5 }) })
	h.is(func() bool {
		if h.opened+h.pages > 0 || len(h.entries) > 0 {
			t.Errorf("an impostor got %d streams and %d entries", h.opened+h.pages, len(h.entries))
		}
		return true
	})
	if z.clock.Now().Trusted {
		t.Error("an impostor told the time")
	}
	h.set(func() { h.signer = h.key })
	z.connected()
	h.has(z)
}

func TestRedirectIsNotFollowed(t *testing.T) {
	other := newFakeHub(t)
	h := newFakeHub(t)
	h.set(func() {
		h.misbehave = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other.server.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
	})
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Fatalf("a redirect: %v", err)
	}
	if other.is(func() bool { return other.tokens > 0 }) {
		t.Fatal("the redirect was followed")
	}
}

// A proxy of the environment's kind gets a CONNECT, and no more.
func TestProxy(t *testing.T) {
	h := newFakeHub(t)
	var connects atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	t.Cleanup(func() { l.Close(); tasks.Wait() })
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil || r.Method != http.MethodConnect || r.Host != "hub.test:443" {
					t.Errorf("the proxy got %v, %v", r, err)
					return
				}
				connects.Add(1)
				up, err := net.Dial("tcp", h.server.Listener.Addr().String())
				if err != nil {
					return
				}
				defer up.Close()
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				tasks.Go(func() { io.Copy(up, c); up.Close() })
				io.Copy(c, up)
			})
		}
	})
	at := h.endpoint()
	at.URL = "https://hub.test/api/v1"
	at.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse("http://" + l.Addr().String()) }
	z := newZone(t, at)
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.run()
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
	if connects.Load() < 2 {
		t.Errorf("%d connections through the proxy", connects.Load())
	}
	z.stopCentral()
	h.drop()
}

func TestBreaker(t *testing.T) {
	b := &breaker{first: time.Minute, most: time.Hour}
	now := time.Now()
	for range breakAfter {
		if err := b.admit(now); err != nil {
			t.Fatalf("closed: %v", err)
		}
		b.failed()
	}
	wait, open := b.open()
	if !open || wait > time.Minute || b.admit(now) == nil {
		t.Fatalf("after %d failures: open %v for %v", breakAfter, open, wait)
	}
	later := now.Add(2 * time.Minute)
	if err := b.admit(later); err != nil {
		t.Fatalf("the probe: %v", err)
	}
	if b.admit(later) == nil {
		t.Fatal("two probes at once")
	}
	b.failed()
	if b.admit(later) != nil { // its time is from now, not from later
		b.gaveUp()
	}
	b.passed()
	if err := b.admit(now); err != nil {
		t.Fatalf("after a success: %v", err)
	}
	r := retry{first: time.Second, most: time.Minute}
	for range 100 {
		if d := r.wait(errTest); d < time.Second/8 || d > time.Minute {
			t.Fatalf("a wait of %v", d)
		}
	}
	if d := r.wait(&Refusal{Status: 503, After: 10 * time.Minute}); d < 10*time.Minute {
		t.Errorf("the server asked for 10 minutes, and %v was waited", d)
	}
}
