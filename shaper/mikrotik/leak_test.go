package mikrotik_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3/proto"

	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// adapterStacks lists the goroutines of the adapter and of the library below
// it, without those of the tests.
func adapterStacks() (list []string) {
	b := make([]byte, 1<<20)
	for _, s := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(s, "go-routeros/") || strings.Contains(s, "shaper/mikrotik.(") {
			list = append(list, s)
		}
	}
	return list
}

// TestNothingIsLeft has commands end in every way there is, and closes: no
// goroutine of the adapter or its library goes on.
func TestNothingIsLeft(t *testing.T) {
	z := newZone(t, simros.Options{})
	c := z.config()
	c.Timeout = 200 * time.Millisecond
	r := z.open(c)
	kill := z.run(r)
	apply(t, r, order(1, 0), committed(order(2, 1)))
	z.sim.Stall("/ip/hotspot/user/print", true)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	for _, ctx := range []context.Context{ctx, t.Context()} { // cancelled, and late
		if err := r.Apply(ctx, nil); !errors.Is(err, mikrotik.ErrUnreachable) {
			t.Errorf("without an answer: %v", err)
		}
	}
	z.sim.Stall("/ip/hotspot/user/print", false)
	for cut := uint32(1); cut < 2000; cut += 333 {
		z.sim.DropAfter(cut)
		await(t, "the next connection", func() bool { return r.Apply(t.Context(), nil) == nil })
	}
	wrong := z.config()
	wrong.Password = "wrong"
	other := z.open(wrong)
	if err := other.Apply(t.Context(), nil); !errors.Is(err, mikrotik.ErrCredentials) {
		t.Error(err)
	}
	kill()
	other.Close()
	await(t, "the goroutines to end", func() bool { return len(adapterStacks()) == 0 })
}

// A script is a router of a few answers.
type script struct {
	l net.Listener
	// first and rest are the answer to the first /ip/hotspot/host/print; rest is sent
	// when the caller has given up.
	first, rest []string
	gaveUp      chan struct{}
	conns       chan int
}

func (s *script) serve() {
	for n := 1; ; n++ {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		s.conns <- n
		go s.talk(conn, n)
	}
}

func (s *script) talk(conn net.Conn, n int) {
	defer conn.Close()
	r, w := bufio.NewReader(conn), proto.NewWriter(conn)
	say := func(sentences ...[]string) {
		for _, words := range sentences {
			w.BeginSentence()
			for _, x := range words {
				w.WriteWord(x)
			}
			if w.EndSentence() != nil {
				return
			}
		}
	}
	for {
		command, err := readCommand(r)
		if err != nil {
			return
		}
		switch command {
		case "/system/resource/print":
			say([]string{"!re", "=version=7.16.1 (stable)"}, []string{"!done"})
		case "/ip/hotspot/host/print":
			if n > 1 {
				say([]string{"!re", "=mac-address=02:00:00:00:00:02", "=address=10.5.50.2"}, []string{"!done"})
				continue
			}
			say(s.first)
			<-s.gaveUp
			say(s.rest, []string{"!done"})
		default:
			say([]string{"!done"})
		}
	}
}

// readCommand reads a sentence of short words and returns the first.
func readCommand(r *bufio.Reader) (first string, err error) {
	for n := 0; ; n++ {
		size, err := r.ReadByte()
		if err != nil || size == 0 {
			return first, err
		}
		word := make([]byte, size)
		if _, err := io.ReadFull(r, word); err != nil {
			return "", err
		}
		if n == 0 {
			first = string(word)
		}
	}
}

// TestHalfAnAnswer has a caller give up in the middle of an answer: what comes
// of it later is not taken for the answer to the next command.
func TestHalfAnAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &script{
		l: l, gaveUp: make(chan struct{}), conns: make(chan int, 9),
		first: []string{"!re", "=mac-address=02:00:00:00:00:01", "=address=10.5.50.1"},
		rest:  []string{"!re", "=mac-address=02:00:00:00:00:09", "=address=10.5.50.9"},
	}
	go s.serve()
	z := zone{t: t, clock: simros.NewClock()}
	c := z.config()
	c.Address, c.Plain = l.Addr().String(), true
	r := z.open(c)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if got, err := r.Locate(ctx, addr(1)); !errors.Is(err, mikrotik.ErrUnreachable) {
		t.Fatalf("half an answer: %v, %v", got, err)
	}
	close(s.gaveUp)
	got, err := r.Locate(t.Context(), addr(2))
	if want := []byte{2, 0, 0, 0, 0, 2}; err != nil || !bytes.Equal(got[:], want) {
		t.Errorf("the next command is answered %v, %v", got, err)
	}
	if n := len(s.conns); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func addr(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 5, 50, i}) }
