package fakenas

import (
	"bytes"
	"crypto/md5"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

const secret = "a secret of the lab"

// countingScript sends accounting requests and counts what it is told.
type countingScript struct{ asked, answered int }

func (s *countingScript) Next(_ int, id byte, r *Request) byte {
	s.asked++
	r.Begin(AccountingRequest, id, []byte(secret))
	r.Uint32(AcctStatusType, Start)
	return AccountingResponse
}

func (s *countingScript) Answered(int, []byte) { s.answered++ }

// serve answers with whatever reply makes of a request, until the test ends.
func serve(t *testing.T, reply func(request []byte) []byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if answer := reply(buf[:size]); answer != nil {
				if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func answer(request []byte, code byte) []byte {
	p := []byte{code, request[1], 0, 20}
	sum := md5.Sum(append(append(bytes.Clone(p), request[4:20]...), secret...))
	return append(p, sum[:]...)
}

func open(t *testing.T, server netip.AddrPort, n int) *Sockets {
	t.Helper()
	s, err := Open(server, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestLoad(t *testing.T) {
	server := serve(t, func(request []byte) []byte { return answer(request, AccountingResponse) })
	var s countingScript
	r, err := Load{From: open(t, server, 8), Wait: 10 * time.Second, Tries: 1, Requests: 1000}.Run(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Answered != 1000 || r.TimeOuts+r.GivenUp+r.Wrong+r.Late > 0 || s.asked != 1000 || s.answered != 1000 {
		t.Errorf("%+v, script %+v", r, s)
	}
	if r.Percentile(0) <= 0 || r.Percentile(50) > r.Percentile(99) || r.Percentile(100) > r.Elapsed {
		t.Errorf("percentiles %s %s %s of %s", r.Percentile(0), r.Percentile(50), r.Percentile(100), r.Elapsed)
	}
}

// What is counted of a bad server.
func TestLoadCounts(t *testing.T) {
	seen := map[byte]bool{}
	server := serve(t, func(request []byte) []byte {
		id := request[1]
		again := seen[id]
		seen[id] = true
		switch {
		case id%3 == 1 && !again:
			return nil // lost: the same packet will come again
		case id%3 == 1:
			return answer(request, AccountingResponse)
		case id%3 == 2:
			return answer(request, AccessReject)
		}
		wrong := answer(request, AccountingResponse)
		wrong[19]++
		return wrong
	})
	var s countingScript
	r, err := Load{From: open(t, server, 1), Wait: 50 * time.Millisecond, Tries: 100, Requests: 6}.Run(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Answered != 2 || r.Wrong != 4 || r.TimeOuts < 2 || r.GivenUp > 0 || r.WhyWrong == nil || s.answered != 2 {
		t.Errorf("%+v, script %+v", r, s)
	}
}

// Signatures are also checked when that is put off.
func TestLoadChecksLater(t *testing.T) {
	server := serve(t, func(request []byte) []byte {
		p := answer(request, AccountingResponse)
		if request[1] == 3 {
			p[19]++
		}
		return p
	})
	var s countingScript
	sockets := open(t, server, 1)
	for _, wrong := range []int{1, 0} { // what is kept is used again
		r, err := Load{From: sockets, Wait: 10 * time.Second, Tries: 1, Requests: 10, Later: true}.Run(t.Context(), &s)
		if err != nil {
			t.Fatal(err)
		}
		if r.Answered != 10 || r.Wrong != wrong || wrong > 0 && !errors.Is(r.WhyWrong, ErrAuthenticator) {
			t.Errorf("%+v", r)
		}
	}
}

func TestLoadGivesUp(t *testing.T) {
	server := serve(t, func([]byte) []byte { return nil })
	var s countingScript
	r, err := Load{From: open(t, server, 2), Wait: 10 * time.Millisecond, Tries: 3, Requests: 4}.Run(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Answered != 0 || r.GivenUp != 4 || r.TimeOuts != 12 || s.asked != 4 {
		t.Errorf("%+v, script %+v", r, s)
	}
}

func TestLoadWithoutServer(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	if _, err := (Load{From: open(t, server, 2), Wait: time.Second, Tries: 1, For: time.Minute}).Run(t.Context(), new(countingScript)); err == nil {
		t.Error("nobody there, and no error")
	}
}
