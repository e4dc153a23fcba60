package kernel_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/kernel"
)

var payAddrs = []netip.Addr{netip.MustParseAddr(garden4), netip.MustParseAddr(garden6)}

// payers tells who may pay, and where.
func (e *enforced) payers(want ...kernel.Payer) (busy []zonegate.MAC) {
	e.t.Helper()
	busy, err := e.SetPayers(e.t.Context(), want)
	if err != nil {
		e.t.Fatalf("setting payers: %v", err)
	}
	return busy
}

func (e *enforced) payPages(ttl time.Duration) {
	e.t.Helper()
	if err := (kernel.PayHosts{Shaper: e.Shaper}).Allow(e.t.Context(), payAddrs, ttl); err != nil {
		e.t.Fatal(err)
	}
}

func payer(p *phone, d time.Duration, octets uint64) kernel.Payer {
	return kernel.Payer{Device: p.mac, Until: until(d), Octets: octets}
}

// reaches checks who gets to the pages of the provider, by QUIC's port and by
// TCP, in both families.
func reaches(t *testing.T, p *phone, name string, want bool) {
	t.Helper()
	tries := 2
	if want {
		tries = 10
	}
	for _, host := range []string{garden4, garden6} {
		if got := p.echoAt(host, 443, tries); got != want {
			t.Errorf("%s reaches %s over UDP: %v, want %v", name, host, got, want)
		}
		c, err := p.dial("tcp", host, 443)
		if (err == nil) != want {
			t.Errorf("%s connects to %s: %v, want %v", name, host, err, want)
		}
		if err == nil {
			c.Close()
		}
	}
}

// fetch has the internet send octets over TCP and returns how many came, and
// that it then was silent.
func fetch(t *testing.T, p *phone, host string, octets int) int {
	t.Helper()
	c, err := p.dial("tcp", host, 443)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := []byte("        ")
	copy(ask, []byte(itoa(octets)))
	if _, err := c.Write(ask); err != nil {
		t.Fatal(err)
	}
	buf, got := make([]byte, 64<<10), 0
	for got < octets {
		c.SetReadDeadline(time.Now().Add(700 * time.Millisecond))
		n, err := c.Read(buf)
		got += n
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) {
				break
			}
			t.Fatal(err)
		}
	}
	return got
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// TestPayer opens the page of a provider to who pays and to nobody else, for
// HTTPS and nothing else, and closes it again.
func TestPayer(t *testing.T) {
	t.Parallel()
	z := newZone(t, 3)
	z.serve(443)
	z.serve(80)
	z.serve(7000)
	e := z.start(z.config())
	e.apply(order(7, z.phones[2], 10))
	stranger, pays, online := z.phones[0], z.phones[1], z.phones[2]
	e.payPages(time.Millisecond) // not shorter than a payment
	reaches(t, stranger, "a stranger", false)
	reaches(t, pays, "the payer before it pays", false)

	p := payer(pays, time.Hour, 20e6)
	e.payers(p)
	reaches(t, pays, "the payer", true)
	reaches(t, stranger, "another device", false)
	reaches(t, online, "who is online", true)
	for _, host := range []string{garden4, garden6} {
		if pays.echoAt(host, 80, 2) || pays.echoAt(host, 7000, 2) {
			t.Errorf("the payer reaches %s at another port", host)
		}
	}
	for _, host := range []string{site4, site6} {
		if pays.echoAt(host, 443, 2) {
			t.Errorf("the payer reaches %s, which is no provider", host)
		}
		if !online.echoAt(host, 443, 10) {
			t.Errorf("who is online does not reach %s", host)
		}
	}
	// The web goes to the portal, and the data path knows no other session.
	usage, err := e.Usage(t.Context())
	if err != nil || len(usage) != 1 || usage[0].Session != 7 {
		t.Errorf("usage %+v, %v", usage, err)
	}

	// Set again, nothing changes: a connection goes on.
	c, err := pays.dial("udp", garden4, 443)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !exchange(c, 10) {
		t.Fatal("no answer")
	}
	if busy := e.payers(p); len(busy) != 1 || busy[0] != p.Device {
		t.Errorf("busy %v", busy)
	}
	if busy := e.payers(p); len(busy) != 0 {
		t.Errorf("busy without a packet: %v", busy)
	}
	if !exchange(c, 1) {
		t.Error("telling the same again has cut the payer")
	}
	// Paid: it is online, with its connection, and not only to the provider.
	e.change([]zonegate.Order{order(8, pays, 10)})
	e.payers()
	if !exchange(c, 10) || !pays.echo(site4, 10) {
		t.Error("who has paid lost the connection, or is not online")
	}
	e.change(nil, 8)
	reaches(t, pays, "who is offline again", false)

	// Gone without paying.
	e.payers(payer(pays, time.Hour, 20e6))
	reaches(t, pays, "the payer again", true)
	c, err = pays.dial("udp", garden4, 443)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !exchange(c, 10) {
		t.Fatal("no answer")
	}
	e.payers()
	if exchange(c, 3) {
		t.Error("a connection goes on after the payment")
	}
	reaches(t, pays, "who has stopped", false)
	// But the word to which session its flows passed.
	if out := z.gw.sh("nft list table inet zonegate"); countLines(out, "0xffff") != countLines(out, " : 0x00000008") || countLines(out, "quota pay") > 0 {
		t.Errorf("something is left of payers: %s", out)
	}
	// The next process does not give such a mark again.
	e.stop()
	e = z.start(z.config())
	e.apply()
	e.payers(payer(pays, time.Hour, 20e6))
	reaches(t, pays, "the payer of the next process", true)
}

// TestPayerCapAndTime ends what a payer may do by its octets, both ways
// together, and by its time with no process there.
func TestPayerCapAndTime(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(443)
	c := z.config()
	e := z.start(c)
	e.apply()
	e.payPages(time.Hour)
	const most = 1_000_000
	p := payer(z.phones[0], time.Hour, most)
	e.payers(p, payer(z.phones[1], time.Hour, 10*most))
	if got := fetch(t, z.phones[0], garden4, 3*most); got < most/2 || got > most {
		t.Errorf("%d octets came of %d allowed", got, most)
	}
	reaches(t, z.phones[0], "who has had all", false)
	if got := fetch(t, z.phones[1], garden6, 2*most); got != 2*most {
		t.Errorf("another payer got %d octets", got)
	}
	// The same payment gets no more, a new one does.
	e.payers(p)
	if z.phones[0].echoAt(garden4, 443, 2) {
		t.Error("telling again gave new octets")
	}
	e.payers(payer(z.phones[0], 2*time.Hour, most))
	reaches(t, z.phones[0], "who pays anew", true)

	end := until(1500 * time.Millisecond)
	e.payers(kernel.Payer{Device: z.phones[1].mac, Until: end, Octets: most})
	conn, err := z.phones[1].dial("udp", garden4, 443)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !exchange(conn, 10) {
		t.Error("the payer's time is not given")
	}
	e.stop()
	time.Sleep(time.Until(theClock.start.Add(end - time.Hour + 50*time.Millisecond)))
	if exchange(conn, 3) {
		t.Error("a connection goes on after its time")
	}
	reaches(t, z.phones[1], "whose time is over", false)

	// The next process cleans up after it.
	e = z.start(c)
	e.apply()
	e.payers()
	if out := z.gw.sh("nft list table inet zonegate"); countLines(out, "0xffff") > 0 || countLines(out, "quota pay") > 0 {
		t.Errorf("something is left of payers: %s", out)
	}
}

// TestPayerSurvives has payers go on while the process restarts, and after
// somebody has deleted the table, with what they have used.
func TestPayerSurvives(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(443)
	c := z.config()
	c.Shared = true
	e := z.start(c)
	e.apply()
	e.payPages(time.Hour)
	const most = 1_000_000
	p := payer(z.phones[0], time.Hour, most)
	e.payers(p)
	if got := fetch(t, z.phones[0], garden4, most/2); got != most/2 {
		t.Fatalf("%d octets", got)
	}
	conn, err := z.phones[0].dial("udp", garden4, 443)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !exchange(conn, 10) {
		t.Fatal("no answer")
	}
	e.stop()
	if !exchange(conn, 2) {
		t.Error("the payer is cut when the process ends")
	}
	e = z.start(c)
	// Before anybody says who pays, and before the first orders.
	if !exchange(conn, 2) {
		t.Error("the payer is cut when the next process begins")
	}
	if _, err := e.SetPayers(t.Context(), nil); err == nil {
		t.Error("payers were taken before the first orders")
	}
	e.apply(order(5, z.phones[1], 10))
	e.payers(p)
	if got := fetch(t, z.phones[0], garden4, most/2); got != most/2 {
		t.Fatalf("%d octets", got)
	}
	e.payers(p)
	if !exchange(conn, 2) {
		t.Error("the payer is cut when the next process is told")
	}
	e.payPages(time.Hour)
	z.gw.sh("nft delete table inet zonegate")
	awaitLines(t, 1, "quota pay", func() string { return z.gw.sh("nft list ruleset") })
	if !z.phones[0].echoAt(garden6, 443, 20) {
		t.Error("the payer is out after the table was deleted")
	}
	if got := fetch(t, z.phones[0], garden4, most); got > most/2 {
		t.Errorf("%d octets came after %d of %d were used", got, most/2, most)
	}
	e.payers()
	reaches(t, z.phones[0], "who has stopped", false)
	if !z.phones[1].echoAt(site4, 443, 10) {
		t.Error("a customer is out")
	}
}

// TestPayerWithoutHTB is the same on a kernel that cannot shape.
func TestPayerWithoutHTB(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(443)
	c := z.config()
	c.Police = true
	e := z.start(c)
	e.apply()
	e.payPages(time.Hour)
	e.payers(payer(z.phones[0], time.Hour, 20e6))
	reaches(t, z.phones[0], "the payer", true)
	reaches(t, z.phones[1], "a stranger", false)
	e.payers()
	reaches(t, z.phones[0], "who has stopped", false)
}
