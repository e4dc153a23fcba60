package coa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate"
	"zonegate/radius/coa/fakenas"
	"zonegate/radius/nas"
)

// sentThree awaits the three sendings of one request that gets no answer, and
// lets it be given up.
func (b *bench) sentThree(n *fakenas.NAS) {
	b.t.Helper()
	var first fakenas.Request
	for i := range sendings {
		r := b.request(n)
		if i == 0 {
			first = r
		} else if !bytes.Equal(r.Raw, first.Raw) || r.From != first.From {
			b.t.Errorf("sending %d differs", i)
		}
		b.clock.advance(3 * time.Second)
	}
}

func TestLostAnswers(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(n, path, "s1")
	n.Break(fakenas.Faults{Deaf: 1, Drop: 1})
	b.client.Dispatch(stop(s))
	first := b.request(n)
	b.clock.advance(2999 * time.Millisecond)
	b.client.Dispatch(stop(s)) // the same again: it is being asked
	b.clock.advance(time.Millisecond)
	second := b.request(n)
	if first.Answer != fakenas.Silent || second.Answer != fakenas.DisconnectACK || second.Again {
		t.Errorf("answers %d and %d", first.Answer, second.Answer)
	}
	b.clock.advance(3 * time.Second)
	third := b.request(n)
	if !third.Again || !bytes.Equal(third.Raw, first.Raw) || third.From != first.From {
		t.Error("the third sending is not the same request")
	}
	b.state(s, Acked)
	b.quiet(n)
}

func TestForgedDoubledPaddedAnswers(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	for i, f := range []fakenas.Faults{{Forge: true}, {Twice: true}, {Padding: 7}, {Unsigned: true}, {Forge: true, Twice: true, Padding: 4000}} {
		s := session(n, path, fmt.Sprint("s", i))
		n.Break(f)
		b.client.Dispatch(stop(s))
		b.request(n)
		b.state(s, Acked)
	}
	// A wrong signature is no answer at all.
	s := session(n, path, "last")
	n.Break(fakenas.Faults{BadMA: true})
	b.client.Dispatch(stop(s))
	b.request(n)
	n.Break(fakenas.Faults{Forge: true})
	b.clock.advance(3 * time.Second)
	if r := b.request(n); !r.Again { // it answers as it did
		t.Error("no retransmission")
	}
	b.clock.advance(3 * time.Second)
	b.request(n)
	b.clock.advance(3 * time.Second)
	b.state(s, Unreachable)
	b.quiet(n)
}

// An answer that comes when nobody waits for it any more changes nothing.
func TestLateAnswer(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(n, path, "s1")
	n.Break(fakenas.Faults{Hold: true})
	b.client.Dispatch(faster(s))
	b.sentThree(n)
	b.state(s, Unreachable)
	n.Release()
	b.client.Seen(seen(s, zonegate.ReportInterim)) // tries again, with another identifier
	b.request(n)
	b.told()
	b.state(s, Acked)
	b.noMessages()
}

// A NAS that does not answer is left alone until it shows that it lives.
func TestUnreachable(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	other, otherPath := b.nas(nas.MikroTik, fakenas.MikroTik)
	s1, s2, s3 := session(n, path, "s1"), session(n, path, "s2"), session(n, path, "s3")
	n.Break(fakenas.Faults{Deaf: 1000})
	b.client.Dispatch(stop(s1))
	b.sentThree(n)
	b.state(s1, Unreachable)

	// More for it waits, and others are not held up.
	b.client.Dispatch(stop(s2))
	b.client.Dispatch(faster(s3))
	b.state(s2, Unreachable)
	b.state(s3, Unreachable)
	o := session(other, otherPath, "o1")
	b.client.Dispatch(stop(o))
	b.state(o, Acked)
	b.clock.advance(time.Hour)
	b.client.Dispatch(stop(session(other, otherPath, "o2")))
	b.request(other)
	b.request(other)
	b.quiet(n)

	// A report has its own session's errand tried.
	b.client.Seen(seen(s2, zonegate.ReportInterim))
	b.sentThree(n)
	b.state(s2, Unreachable)
	b.quiet(n)

	// It has failed although it reports: a pause, though reports come.
	b.client.Seen(seen(s3, zonegate.ReportInterim))
	b.clock.advance(29 * time.Second)
	b.client.Seen(seen(s1, zonegate.ReportInterim))
	b.client.Dispatch(stop(session(other, otherPath, "o3")))
	b.request(other)
	b.quiet(n)
	b.clock.advance(time.Second)
	n.Break(fakenas.Faults{Hold: true})
	b.client.Seen(seen(s1, zonegate.ReportInterim))
	first := b.request(n)
	b.client.Dispatch(stop(session(other, otherPath, "o4")))
	b.request(other)
	b.quiet(n) // one tries for all

	// Its answer lets all go.
	n.Release()
	b.request(n)
	b.request(n)
	for _, s := range []zonegate.Session{s1, s2, s3} {
		b.state(s, Acked)
	}
	if first.Code != fakenas.DisconnectRequest {
		t.Errorf("sent %d", first.Code)
	}
	b.told()
	b.quiet(n)
	b.noMessages()
}

func TestOneErrandPerSession(t *testing.T) {
	b := idleBench(t)
	n, path := b.nas(nas.CoovaChilli, fakenas.Chilli)
	s := session(n, path, "s1")
	newer := s
	newer.ID = 8
	waits := func() Status {
		t.Helper()
		list := b.client.Snapshot()
		if len(list) != 1 || len(b.client.waiting) != 1 {
			t.Fatalf("%d sessions, %d errands", len(list), len(b.client.waiting))
		}
		return list[0]
	}
	b.client.Dispatch(faster(s))
	b.client.Dispatch(topUp(s)) // the newer counts
	if got := b.client.known[key{path, "s1"}].errand; waits().Stop || got.Terms != topUp(s).Terms {
		t.Errorf("it carries %+v", got)
	}
	b.client.Dispatch(stop(s))
	b.client.Dispatch(topUp(s)) // a stop stays a stop
	if x := waits(); !x.Stop {
		t.Errorf("it carries %+v", x)
	}
	b.client.Dispatch(topUp(newer)) // unless the name has passed to another session
	if x := waits(); x.Stop || x.Session != 8 {
		t.Errorf("it carries %+v", x)
	}
	b.client.Dispatch(stop(s)) // of the earlier one there is nothing left to stop
	if x := waits(); x.Stop || x.Session != 8 {
		t.Errorf("it carries %+v", x)
	}
	b.run()
	b.sent(n, fakenas.CoARequest, fakenas.CoAACK, fMA, fUser, fSession, fTimeout, fIdle, fInterim, fVendor, fVendor, fVendor, fVendor, fVendor, fVendor)
	b.told()
	b.quiet(n)
}

// A newer errand that comes while the session is asked is asked after it.
func TestErrandWhileAsked(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(n, path, "s1")
	n.Break(fakenas.Faults{Hold: true})
	b.client.Dispatch(faster(s))
	b.request(n)
	b.client.Dispatch(stop(s))
	b.client.Dispatch(faster(s)) // an echo of the first
	if x := b.client.Snapshot(); len(x) != 1 || x[0].State != Asked || !x[0].Stop {
		t.Errorf("it says %+v", x)
	}
	b.quiet(n)
	n.Release()
	b.told()
	b.sent(n, fakenas.DisconnectRequest, fakenas.DisconnectACK, fMA, fUser, fNASIP, fFramedIP, fSession)
	b.state(s, Acked)
	b.quiet(n)
}

// A session that ends takes its errand with it.
func TestSessionEndsFirst(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(n, path, "s1")
	n.Break(fakenas.Faults{Hold: true})
	b.client.Dispatch(faster(s))
	b.request(n)
	b.client.Dispatch(stop(s))
	b.client.Seen(seen(s, zonegate.ReportStop))
	b.state(s, Confirmed)
	n.Release()
	b.told() // the gate knows that there is nothing to tell
	o := session(n, path, "s2")
	b.client.Dispatch(stop(o))
	b.state(o, Acked)
	b.request(n)
	b.quiet(n)
}

func TestErrandsThatCannotGo(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	for name, change := range map[string]func(*zonegate.Session){
		"no handle":     func(s *zonegate.Session) { s.Handle = "" },
		"damaged":       func(s *zonegate.Session) { s.Handle = s.Handle[:9] },
		"no session id": func(s *zonegate.Session) { s.Handle = nas.Handle{UserName: "u"}.Encode() },
	} {
		s := session(n, path, name)
		change(&s)
		b.client.Dispatch(stop(s))
		b.state(s, Refused)
	}
	gone := session(n, "nobody", "s1")
	b.client.Dispatch(stop(gone))
	b.state(gone, Unreachable)
	unnamed := session(n, path, "")
	b.client.Dispatch(stop(unnamed))
	local := session(n, "", "s1")
	b.client.Dispatch(stop(local))
	if got := len(b.client.Snapshot()); got != 4 {
		t.Errorf("%d are known", got)
	}
	b.quiet(n)
	b.noMessages()
}

// However much there is to do, a NAS gets it in portions, and each request has
// an identifier of its own.
func TestManyErrands(t *testing.T) {
	b := newBench(t)
	n, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	n.Break(fakenas.Faults{Hold: true})
	const many = 600
	for i := range many {
		b.client.Dispatch(stop(session(n, path, fmt.Sprintf("s%03d", i))))
	}
	ids := map[byte]bool{}
	for range maxFlyingPeer {
		r := b.request(n)
		if ids[r.ID] {
			t.Errorf("identifier %d twice", r.ID)
		}
		ids[r.ID] = true
	}
	other, otherPath := b.nas(nas.MikroTik, fakenas.MikroTik)
	b.client.Dispatch(stop(session(other, otherPath, "o")))
	b.request(other)
	b.quiet(n)
	n.Release()
	for range many - maxFlyingPeer {
		if r := b.request(n); r.Again || r.Answer != fakenas.DisconnectACK {
			t.Fatalf("%+v", r)
		}
	}
	for i := range many {
		if _, there := n.Session(fmt.Sprintf("s%03d", i)); there {
			t.Fatalf("session %d goes on", i)
		}
	}
}

func TestBounds(t *testing.T) {
	b := idleBench(t)
	b.add("one", "10.0.0.1", nas.MikroTik, 0)
	for i := range maxWaiting + 10 {
		b.client.Dispatch(faster(session(nil, "one", fmt.Sprint("c", i))))
	}
	for i := range 5 {
		b.client.Dispatch(stop(session(nil, "one", fmt.Sprint("s", i))))
	}
	stops := 0
	for _, x := range b.client.Snapshot() {
		if x.Stop {
			stops++
		}
	}
	if len(b.client.waiting) != maxWaiting || len(b.client.known) != maxWaiting || stops != 5 {
		t.Errorf("%d wait, %d known, %d stops", len(b.client.waiting), len(b.client.known), stops)
	}
	for i := range maxHeard + 10 {
		b.client.Seen(zonegate.Report{NAS: "one", Key: fmt.Sprint("h", i), Lasted: time.Second})
	}
	if got := len(b.client.heard); got != maxHeard {
		t.Errorf("%d are heard", got)
	}
	b.client.Seen(zonegate.Report{NAS: "one", Key: "new", Lasted: time.Second})
	if _, ok := b.client.heard[key{"one", "new"}]; !ok {
		t.Error("a new session is not heard when there is no room")
	}
	// What is settled makes room.
	b.client.mu.Lock()
	for k, x := range b.client.known {
		b.client.drop(k, x)
	}
	for i := range maxKnown + 10 {
		b.client.forget()
		x := &entry{}
		b.client.known[key{"one", fmt.Sprint("k", i)}] = x
		b.client.settle(x, Refused, 0)
	}
	got := len(b.client.known)
	b.client.mu.Unlock()
	if got > maxKnown {
		t.Errorf("%d are known", got)
	}
	for range maxOutbox + 10 {
		b.client.say(message{told: true})
	}
	if got := len(b.client.outbox); got != maxOutbox {
		t.Errorf("%d messages wait", got)
	}
}

// Dispatch, Seen and Snapshot may come from everywhere at once, with answers
// that get lost.
func TestConcurrently(t *testing.T) {
	b := newBench(t)
	const each = 40
	type one struct {
		zonegate.Session
		at *fakenas.NAS
	}
	var group errgroup.Group
	var all []one
	for range 3 {
		n, path := b.nas(nas.CoovaChilli, fakenas.Chilli)
		n.Break(fakenas.Faults{Twice: true, Forge: true, Deaf: 3, Drop: 3})
		var mine []one
		for i := range each {
			mine = append(mine, one{session(n, path, fmt.Sprint("s", i)), n})
		}
		all = append(all, mine...)
		group.Go(func() error {
			for _, s := range mine {
				b.client.Dispatch(topUp(s.Session))
				b.client.Dispatch(stop(s.Session))
				b.client.Seen(seen(s.Session, zonegate.ReportInterim))
			}
			return nil
		})
		group.Go(func() error {
			for range 50 {
				b.client.Snapshot()
			}
			return nil
		})
	}
	group.Wait()
	// The clock runs ahead, but slowly enough for answers to be in time.
	deadline := time.Now().Add(3 * patience)
	for _, s := range all {
		for {
			if _, there := s.at.Session(s.Key); !there {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s at %s has not ended", s.Key, s.Path)
			}
			b.clock.advance(100 * time.Millisecond)
			b.client.Seen(seen(s.Session, zonegate.ReportInterim))
			select {
			case <-b.changed:
			case <-time.After(5 * time.Millisecond): // nothing is due yet
			}
		}
	}
}

func TestRunEnds(t *testing.T) {
	b := idleBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.client.Run(ctx); err != nil {
		t.Errorf("a cancelled run: %v", err)
	}
	b.client.o.Listen = netip.MustParseAddrPort("192.0.2.1:0")
	if err := b.client.Run(context.Background()); err == nil {
		t.Error("it runs from another machine's address")
	}
}

func TestDefaults(t *testing.T) {
	o := New(Options{}).o
	for i := range 200 {
		if d := o.Wait(i % 3); d < 2*time.Second || d > 3*time.Second {
			t.Fatalf("waits %v", d)
		}
	}
	if o.Interim != nas.DefaultInterim {
		t.Errorf("interim %v", o.Interim)
	}
}

func TestProbe(t *testing.T) {
	b := idleBench(t)
	var log bytes.Buffer
	b.client.log = slog.New(slog.NewTextHandler(io.MultiWriter(&log), nil))
	b.client.o.Wait = func(int) time.Duration { return patience }
	soon := func(int) time.Duration { return time.Millisecond }

	for _, m := range []struct {
		vendor nas.Vendor
		make   fakenas.Make
	}{{nas.MikroTik, fakenas.MikroTik}, {nas.CoovaChilli, fakenas.Chilli}, {nas.Uspot, fakenas.Uspot}, {nas.Hostapd, fakenas.Hostapd}} {
		n, path := b.nas(m.vendor, m.make)
		n.Put(fakenas.Session{User: "u", ID: "s1"})
		n.Break(fakenas.Faults{Forge: true})
		if err := b.client.Probe(context.Background(), path); err != nil {
			t.Errorf("%s: %v", m.vendor, err)
		}
		if _, there := n.Session("s1"); !there {
			t.Errorf("%s: the probe has ended a session", m.vendor)
		}
		if got := b.request(n); got.Code != fakenas.DisconnectRequest || got.Answer != fakenas.DisconnectNAK {
			t.Errorf("%s: %+v", m.vendor, got)
		}
	}
	_, obeys := b.nas(nas.Generic, func(*fakenas.NAS, *fakenas.Request) (byte, uint32) { return fakenas.DisconnectACK, 0 })
	if err := b.client.Probe(context.Background(), obeys); !errors.Is(err, ErrObeys) {
		t.Errorf("one that obeys: %v", err)
	}
	_, pfsense := b.nas(nas.PfSense, fakenas.PfSense)
	if err := b.client.Probe(context.Background(), pfsense); !errors.Is(err, ErrNotAsked) {
		t.Errorf("pfSense: %v", err)
	}
	b.add("range", "10.9.0.0/24", nas.MikroTik, 0)
	if err := b.client.Probe(context.Background(), "range"); !errors.Is(err, ErrNotAsked) {
		t.Errorf("a range: %v", err)
	}
	if err := b.client.Probe(context.Background(), "nobody"); !errors.Is(err, nas.ErrNoSuchNAS) {
		t.Errorf("nobody: %v", err)
	}
	// A port that nobody has: it is known at once.
	l, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 2, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := l.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	l.Close()
	b.add("closed", "127.0.2.1", nas.MikroTik, port)
	if err := b.client.Probe(context.Background(), "closed"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed port: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	silent, path := b.nas(nas.Generic, fakenas.PfSense)
	done := make(chan error, 1)
	go func() { done <- b.client.Probe(ctx, path) }()
	b.request(silent)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	b.client.o.Wait = soon
	if err := b.client.Probe(context.Background(), path); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("silent: %v", err)
	}
}
