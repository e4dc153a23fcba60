package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"zonegate/hub/server"
	"zonegate/sync/api"
)

// A fleet is gateways that keep a stream open and a connection for calls, as
// real ones do, both over TLS. They do not check what they get, and what they
// are told to do they acknowledge at once.
type fleet struct {
	addr     string
	gateways []*gatewaySim
	comments atomic.Int64
	opened   atomic.Int64
	slots    slots
	repeated atomic.Int64 // acknowledgements that had to be sent again
	dropped  atomic.Int64
	why      atomic.Pointer[error] // the first stream that ended
	broken   chan struct{}         // closed then
	closing  atomic.Bool
	readers  sync.WaitGroup

	mu   sync.Mutex
	took map[uint64][]time.Duration // by push
	// begun is when each push was asked for; heard gets a value for every
	// acknowledgement.
	begun time.Time
	heard chan struct{}
}

// A gatewaySim is one gateway of a fleet.
type gatewaySim struct {
	member
	applied atomic.Uint64
	addr    string
	from    *net.TCPAddr
	opened  *atomic.Int64 // connections for calls, of the whole fleet
	slots   slots

	stream *tls.Conn
	mu     sync.Mutex // calls go one after another
	calls  *tls.Conn
	in     *bufio.Reader
}

// slots bound the connections for calls of a fleet, which may have fewer files
// than it wants. Some are then left free for those that have no connection:
// they close it after their call.
type slots struct{ taken chan struct{} } // holds one for each that is open

// spareSlots are more than what begins a call at one time, but for a change
// for all: then those that had their answer give way.
const spareSlots = 64

func newSlots(keep int) slots { return slots{make(chan struct{}, max(1, keep)+spareSlots)} }

func (s slots) take() { s.taken <- struct{}{} }

func (s slots) give() { <-s.taken }

func (s slots) scarce() bool { return len(s.taken) > cap(s.taken)-spareSlots }

// raiseFiles lets this process, and the hub that it starts, have two
// connections for each gateway, and returns the limit that there is then. Where
// the system allows less, not all connections for calls are kept.
func raiseFiles(gateways int) (uint64, error) {
	wanted := uint64(3 * gateways)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	if limit.Cur >= wanted {
		return limit.Cur, nil
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: wanted, Max: max(limit.Max, wanted)}) == nil {
		return wanted, nil
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < uint64(gateways)*3/2 {
		return 0, fmt.Errorf("%d gateways need %d open files, and the system allows %d: raise its limit, or choose fewer with --gateways",
			gateways, wanted, limit.Max)
	}
	return limit.Max, nil
}

// openFleet opens all streams and connections.
func openFleet(ctx context.Context, addr string, members []member, files uint64) (*fleet, error) {
	// This process has no more files than the hub.
	f := &fleet{addr: addr, slots: newSlots(min(int(files)-len(members)-300-spareSlots, len(members))), gateways: make([]*gatewaySim, len(members)), took: map[uint64][]time.Duration{}, heard: make(chan struct{}, len(members)), broken: make(chan struct{})}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i, m := range members {
		g.Go(func() error {
			// An address of this machine has 28,000 ports for one peer.
			from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(i>>12), 1)}
			s := &gatewaySim{member: m, addr: addr, from: from, opened: &f.opened, slots: f.slots}
			s.applied.Store(m.Head)
			f.gateways[i] = s
			var err error
			if s.stream, err = dialHub(ctx, from, addr); err != nil {
				return fmt.Errorf("opening stream %d: %w", i, err)
			}
			if err := s.beat(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.stream, "GET %s%s HTTP/1.1\r\nHost: hub\r\nUser-Agent: zonegate\r\nAccept: text/event-stream\r\nLast-Event-ID: %d\r\nAuthorization: Bearer %s\r\n\r\n",
				server.Base, api.PathEvents, m.Head, m.Token)
			if err != nil {
				return fmt.Errorf("opening stream %d: %w", i, err)
			}
			opened := make(chan error, 1)
			f.readers.Go(func() {
				if err := f.read(s, opened); !f.closing.Load() { // it never ends well
					f.dropped.Add(1)
					if f.why.CompareAndSwap(nil, &err) {
						close(f.broken)
					}
				}
			})
			return <-opened
		})
	}
	if err := g.Wait(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func dialHub(ctx context.Context, from *net.TCPAddr, addr string) (*tls.Conn, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: from, KeepAlive: -1, Timeout: time.Minute}, Config: &tls.Config{InsecureSkipVerify: true}}
	c, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

func (f *fleet) close() {
	f.closing.Store(true)
	for _, s := range f.gateways {
		if s == nil {
			continue
		}
		if s.stream != nil {
			s.stream.NetConn().Close()
		}
		s.hangUp()
	}
	f.readers.Wait()
}

// read takes what comes on a stream until it ends. The first sign of life, or
// the refusal, goes to opened.
func (f *fleet) read(s *gatewaySim, opened chan<- error) error {
	in := bufio.NewReaderSize(s.stream, 2048)
	first := true
	tell := func(err error) {
		if first {
			opened <- err
			first = false
		}
	}
	line, err := in.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		err = fmt.Errorf("the stream was answered with %q", line)
	}
	var seq uint64
	for err == nil {
		if line, err = in.ReadString('\n'); err != nil {
			break
		}
		switch {
		case strings.HasPrefix(line, ":"):
			f.comments.Add(1)
			tell(nil)
		case strings.HasPrefix(line, "id: "):
			seq, err = strconv.ParseUint(strings.TrimSpace(line[4:]), 10, 64)
		case strings.HasPrefix(line, "data: ") && seq > s.applied.Load():
			s.applied.Store(seq)
			if err = f.acknowledge(s, seq); err != nil {
				break
			}
			f.mu.Lock()
			f.took[seq] = append(f.took[seq], time.Since(f.begun))
			f.mu.Unlock()
			f.heard <- struct{}{}
		}
	}
	tell(err)
	return err
}

// acknowledge is repeated as a real gateway does it: a hub that has no file
// left closes new connections at once.
func (f *fleet) acknowledge(s *gatewaySim, seq uint64) (err error) {
	for wait := 2 * time.Second; wait < time.Minute && !f.closing.Load(); wait *= 2 {
		var status int
		status, err = s.call(api.PathAcks, api.Acks{Instance: s.instance, Acks: []api.Ack{{Seq: seq, Outcome: api.Applied}}}, nil)
		if err == nil && status == http.StatusNoContent {
			return nil
		}
		err = fmt.Errorf("acknowledging push %d: status %d, %w", seq, status, err)
		f.repeated.Add(1)
		s.hangUp()
		time.Sleep(wait/2 + rand.N(wait/2))
	}
	return err
}

// hangUp closes the connection for calls.
func (s *gatewaySim) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// drop is hangUp for who holds mu.
func (s *gatewaySim) drop() {
	if s.calls != nil {
		s.calls.NetConn().Close()
		s.calls = nil
		s.slots.give()
	}
}

// call does one call over the kept connection, or a new one. A hub may close
// what it has kept: then there is one more try, as with net/http.
func (s *gatewaySim) call(path string, body, into any) (status int, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.calls != nil
	a, err := s.exchange(path, text)
	if err != nil && kept {
		s.drop()
		a, err = s.exchange(path, text)
	}
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if a.Close || s.slots.scarce() {
		defer s.drop()
	}
	switch {
	case err != nil:
		return a.StatusCode, err
	case a.StatusCode >= 300:
		return a.StatusCode, fmt.Errorf("%.200s", got)
	case into != nil:
		return a.StatusCode, json.Unmarshal(got, into)
	}
	return a.StatusCode, nil
}

// exchange sends a call and takes the head of its answer.
func (s *gatewaySim) exchange(path string, text []byte) (_ *http.Response, err error) {
	if s.calls == nil {
		s.slots.take()
		if s.calls, err = dialHub(context.Background(), s.from, s.addr); err != nil {
			s.calls = nil
			s.slots.give()
			return nil, fmt.Errorf("opening a connection: %w", err)
		}
		s.in = bufio.NewReaderSize(s.calls, 1024)
		s.opened.Add(1)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "POST %s%s HTTP/1.1\r\nHost: hub\r\nUser-Agent: zonegate\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n\r\n%s",
		server.Base, path, len(text), s.Token, text)
	s.calls.SetDeadline(time.Now().Add(time.Minute))
	if _, err := s.calls.Write(out.Bytes()); err != nil {
		return nil, err
	}
	return http.ReadResponse(s.in, nil)
}

// beat sends a heartbeat, and holds that the time in its answer was signed.
func (s *gatewaySim) beat() error {
	var answer api.Beat
	status, err := s.call(api.PathHeartbeat, api.Heartbeat{
		Instance: s.instance, Boot: "00112233445566778899aabbccddeeff", Version: "bench", Nonce: "AAAAAAAAAAAAAAAAAAAAAA==", Uptime: 86400,
		Applied: s.applied.Load(), Plans: 1, Sessions: 20, Vouchers: 400, ClockTrusted: true,
	}, &answer)
	if err == nil && answer.Signature == "" {
		err = errors.New("the answer is not signed")
	}
	if err != nil {
		return fmt.Errorf("heartbeat of %s: status %d, %w", s.instance, status, err)
	}
	return nil
}

// idle lets time pass with a heartbeat of each gateway every so often, and
// returns how many there were.
func (f *fleet) idle(ctx context.Context, every, d time.Duration) (beats int, err error) {
	const workers = 8
	var n atomic.Int64
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	due := make(chan *gatewaySim, workers)
	for range workers {
		g.Go(func() error {
			for s := range due {
				if err := s.beat(); err != nil {
					return err
				}
				n.Add(1)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(due)
		begun := time.Now()
		for i := 0; ; i++ {
			// Late ones are made up for.
			at := begun.Add(every * time.Duration(i) / time.Duration(len(f.gateways)))
			select {
			case <-time.After(time.Until(at)):
			case <-ctx.Done():
				return nil
			}
			select {
			case due <- f.gateways[i%len(f.gateways)]:
			case <-ctx.Done():
				return nil
			}
		}
	})
	err = g.Wait()
	return int(n.Load()), err
}

// reached waits until every gateway has acknowledged one push more, and
// returns how long each took.
func (f *fleet) reached(ctx context.Context, change func() (seq uint64, err error)) ([]time.Duration, error) {
	f.mu.Lock()
	f.begun = time.Now()
	f.mu.Unlock()
	seq, err := change()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for i := range f.gateways {
		select {
		case <-f.heard:
		case <-f.broken:
			return nil, f.failure()
		case <-ctx.Done():
			return nil, fmt.Errorf("only %d of %d gateways have acknowledged push %d: %w", i, len(f.gateways), seq, f.failure())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.took[seq]); n != len(f.gateways) {
		return nil, fmt.Errorf("%d of %d gateways have acknowledged push %d once", n, len(f.gateways), seq)
	}
	return f.took[seq], nil
}

func (f *fleet) failure() error {
	if p := f.why.Load(); p != nil {
		return *p
	}
	return errors.New("no stream has ended")
}
