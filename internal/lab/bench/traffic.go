package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"zonegate/internal/lab"
)

// A family is an IP version, by the internet host's address in it.
type family string

const (
	ip4 family = "198.51.100.10"
	ip6 family = "2001:db8:ffff::10"
)

func (f family) addr(port string) string { return net.JoinHostPort(string(f), port) }

func (f family) String() string {
	if f == ip4 {
		return "IPv4"
	}
	return "IPv6"
}

// endless is the size of a transfer that something else ends.
const endless uint64 = 1 << 50

// A load is traffic that runs until it is stopped. A flow that is cut or
// refused is tried again at once, as a phone's would be.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newLoad(ctx context.Context) (*load, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	return &load{cancel: cancel}, ctx
}

func (t *load) stop() {
	t.cancel()
	t.wg.Wait()
}

// again repeats f until the load is stopped.
func (t *load) again(ctx context.Context, f func(context.Context) error) {
	t.wg.Go(func() {
		for ctx.Err() == nil {
			if err := f(ctx); err != nil {
				_ = wait(ctx, 20*time.Millisecond)
			}
		}
	})
}

// tcpDown downloads over n connections.
func (t *load) tcpDown(ctx context.Context, l *lab.Lab, host string, f family, n int) {
	for range n {
		t.again(ctx, func(ctx context.Context) error {
			conn, err := dial(ctx, l, host, "tcp", f.addr("80"))
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			fmt.Fprintf(conn, "GET /bytes?n=%d HTTP/1.0\r\n\r\n", endless)
			buf := make([]byte, 64<<10)
			for {
				// A stalled flow is given up, so that a stopped customer who
				// pays again is not found in a long TCP backoff.
				conn.SetReadDeadline(time.Now().Add(3 * time.Second))
				if _, err := conn.Read(buf); err != nil {
					return err
				}
			}
		})
	}
}

// tcpUp uploads over n connections.
func (t *load) tcpUp(ctx context.Context, l *lab.Lab, host string, f family, n int) {
	for range n {
		t.again(ctx, func(ctx context.Context) error {
			conn, err := dial(ctx, l, host, "tcp", f.addr("80"))
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			fmt.Fprintf(conn, "POST /upload HTTP/1.0\r\nContent-Length: %d\r\n\r\n", endless)
			buf := make([]byte, 64<<10)
			for {
				conn.SetWriteDeadline(time.Now().Add(3 * time.Second))
				if _, err := conn.Write(buf); err != nil {
					return err
				}
			}
		})
	}
}

func dial(ctx context.Context, l *lab.Lab, host, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return l.Dial(ctx, host, network, addr)
}

// udpPayload makes IPv4 packets of 1228 bytes.
const udpPayload = 1200

// udpUp floods the internet at a rate in bit/s of payload.
func (t *load) udpUp(ctx context.Context, l *lab.Lab, host string, f family, rate uint64) {
	t.again(ctx, func(ctx context.Context) error {
		conn, err := l.Dial(ctx, host, "udp", f.addr("9999"))
		if err != nil {
			return err
		}
		defer conn.Close()
		pace(ctx, rate, func(p []byte) { _, _ = conn.Write(p) })
		return nil
	})
}

// udpDown floods a phone from the internet at a rate in bit/s of payload. The
// phone keeps asking for it, as a video call does.
func (t *load) udpDown(ctx context.Context, l *lab.Lab, host string, f family, rate uint64) error {
	server, err := l.ListenPacket("internet", "udp", f.addr("0"))
	if err != nil {
		return err
	}
	client, err := l.Dial(ctx, host, "udp", server.LocalAddr().String())
	if err != nil {
		server.Close()
		return err
	}
	var mu sync.Mutex
	var peer net.Addr // changes when address translation does
	t.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			_, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			mu.Lock()
			peer = from
			mu.Unlock()
		}
	})
	t.wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = client.Write([]byte("more"))
			_ = wait(ctx, 100*time.Millisecond)
		}
		client.Close()
	})
	t.wg.Go(func() {
		pace(ctx, rate, func(p []byte) {
			mu.Lock()
			to := peer
			mu.Unlock()
			if to != nil {
				_, _ = server.WriteTo(p, to)
			}
		})
		server.Close()
	})
	return nil
}

// pace calls send with packets so that their payload makes the rate, until the
// context ends.
func pace(ctx context.Context, rate uint64, send func([]byte)) {
	packet := make([]byte, udpPayload)
	start := time.Now()
	var sent uint64 // bits
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		due := uint64(time.Since(start).Seconds() * float64(rate))
		for n := 0; sent < due && n < 1000; n++ {
			send(packet)
			sent += udpPayload * 8
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A witness at the internet host notes which packets arrive: each carries the
// number of its sender.
type witness struct {
	conn net.PacketConn
	done sync.WaitGroup
	mu   sync.Mutex
	seen map[uint32][]time.Time
}

const witnessPort = "7777"

func newWitness(l *lab.Lab) (*witness, error) {
	conn, err := l.ListenPacket("internet", "udp", ":"+witnessPort)
	if err != nil {
		return nil, err
	}
	w := &witness{conn: conn, seen: make(map[uint32][]time.Time)}
	w.done.Go(func() {
		buf := make([]byte, 64)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n >= 4 {
				id := binary.BigEndian.Uint32(buf)
				w.mu.Lock()
				w.seen[id] = append(w.seen[id], time.Now())
				w.mu.Unlock()
			}
		}
	})
	return w, nil
}

func (w *witness) close() {
	w.conn.Close()
	w.done.Wait()
}

// count is how many packets of a sender have arrived.
func (w *witness) count(id uint32) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen[id])
}

// firstSince is when the first packet of a sender arrived after t.
func (w *witness) firstSince(id uint32, t time.Time) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.seen[id] {
		if at.After(t) {
			return at, true
		}
	}
	return time.Time{}, false
}

// last is when the last packet of a sender arrived.
func (w *witness) last(id uint32) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.seen[id]; len(s) > 0 {
		return s[len(s)-1]
	}
	return time.Time{}
}

// knocks sends the witness a packet of that sender every period. From is the
// local address, or nil.
func (t *load) knocks(ctx context.Context, l *lab.Lab, host string, from net.IP, f family, id uint32, every time.Duration) error {
	var d net.Dialer
	if from != nil {
		d.LocalAddr = &net.UDPAddr{IP: from}
	}
	conn, err := l.DialFrom(ctx, host, d, "udp", f.addr(witnessPort))
	if err != nil {
		return err
	}
	t.wg.Go(func() {
		defer conn.Close()
		packet := binary.BigEndian.AppendUint32(nil, id)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			// A refusal by ICMP shows as an error of the next write.
			_, _ = conn.Write(packet)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// redeem types a code at a host (from nil) or as a member of the crowd.
func redeem(ctx context.Context, l *lab.Lab, host string, from net.IP, code string) error {
	var d net.Dialer
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	conn, err := l.DialFrom(ctx, host, d, "tcp", lab.PortalAddr)
	if err != nil {
		return fmt.Errorf("redeeming at %s: %w", host, err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, lab.PortalURL+"voucher", strings.NewReader("code="+code))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("redeeming at %s: %w", host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("redeeming at %s: %w", host, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("redeeming at %s: portal answered %s: %s", host, resp.Status, body)
	}
	return nil
}

// buy makes a voucher of a plan and redeems it at a phone.
func buy(ctx context.Context, l *lab.Lab, host, plan string) error {
	v, err := l.MakeVouchers(ctx, plan, 1)
	if err != nil {
		return err
	}
	return redeem(ctx, l, host, nil, v[0].Code)
}

// crowdIn puts members from to up to, but not including, to of the crowd online.
func crowdIn(ctx context.Context, l *lab.Lab, plan string, from, to int) error {
	for from < to {
		n := min(to-from, 500)
		v, err := l.MakeVouchers(ctx, plan, n)
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for w := range errs {
			wg.Go(func() {
				for i := w; i < n && errs[w] == nil; i += len(errs) {
					errs[w] = redeem(ctx, l, "crowd", lab.Member(from+i).IPv4.AsSlice(), v[i].Code)
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}
