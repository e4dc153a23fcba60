package central

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zonegate/sync/api"
)

// The traffic of a minute in which nothing happens, from what the parts of it
// cost on the wire.
func TestTrafficWhenNothingHappens(t *testing.T) {
	h := newFakeHub(t)
	relay := newRelay(t, h.server.Listener.Addr().String())
	at := h.endpoint()
	at.URL = "https://" + relay.addr + "/api/v1"
	z := newZone(t, at)
	z.open()
	if err := z.central.Join(t.Context(), "code-of-the-length-that-they-have"); err == nil {
		t.Fatal("a wrong code")
	}
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.token = strings.Repeat("t", 43) })
	z.central.cred.Token = h.token
	z.pace.beat = time.Hour
	z.central.pace = z.pace
	z.run()
	z.connected()
	eventually(t, "the catalogue", func() bool {
		z.central.mu.Lock()
		l := z.central.line
		z.central.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.head == 0 && l.proven
	})
	// One more call, so that what follows goes over a connection that is kept.
	beat := func() {
		n := h.beatCount()
		z.central.mu.Lock()
		poke(z.central.line.beatNow)
		z.central.mu.Unlock()
		eventually(t, "a heartbeat", func() bool { return h.beatCount() > n })
	}
	beat()
	const beats = 20
	relay.settle(t)
	before, conns := relay.count(), relay.conns.Load()
	for range beats {
		beat()
	}
	relay.settle(t)
	beatCost := (relay.count() - before) / beats
	// A comment is one segment of: chunk framing 8, comment 3, TLS 22, TCP and
	// IPv4 with time stamps 52, and its acknowledgement.
	const comment = 8 + 3 + 22 + 52 + 52
	minute := beatCost + comment*int64(time.Minute/api.HeartbeatEvery+1)
	t.Logf("a heartbeat costs %d octets with TCP and IP, a comment %d: %d a minute", beatCost, comment, minute)
	if minute > 5000 {
		t.Errorf("%d octets a minute when nothing happens; at most 5,000", minute)
	}
	if n := relay.conns.Load() - conns; n != 0 {
		t.Errorf("%d connections for %d heartbeats: none is kept", n, beats)
	}
}

func (h *fakeHub) beatCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.beats)
}

// A relay counts what passes as it is on the wire: each read is taken for a
// segment with headers of 52 octets, acknowledged by one more.
type relay struct {
	addr  string
	n     atomic.Int64
	conns atomic.Int64
}

func (r *relay) count() int64 { return r.n.Load() }

// settle waits until nothing passes any more.
func (r *relay) settle(t *testing.T) {
	last, same := int64(-1), 0
	eventually(t, "quiet", func() bool {
		if n := r.count(); n == last {
			same++
		} else {
			last, same = n, 0
		}
		return same > 10
	})
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	t.Cleanup(func() { cancel(); l.Close(); tasks.Wait() })
	pipe := func(to, from net.Conn) {
		defer to.Close()
		b := make([]byte, 1448)
		for {
			n, err := from.Read(b)
			if n > 0 {
				r.n.Add(int64(n) + 52 + 52)
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				return
			}
			r.conns.Add(1)
			context.AfterFunc(ctx, func() { c.Close(); up.Close() })
			tasks.Go(func() { pipe(up, c) })
			tasks.Go(func() { pipe(c, up) })
		}
	})
	return r
}
