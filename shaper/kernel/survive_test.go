package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/kernel"
)

// TestFlushedTable deletes every table while nobody is there to make ours
// anew: neither a stranger nor a payer passes, in either direction.
func TestFlushedTable(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	z.meterWire()
	c := z.config()
	c.Shared = true
	s := z.open(c)
	o := order(1, z.phones[0], 10)
	o.Allowance = 50e6
	if err := s.Apply(t.Context(), []zonegate.Order{o}); err != nil {
		t.Fatal(err)
	}
	payer := z.phones[0]
	if !payer.echo(site4, 10) || !payer.echo(site6, 10) {
		t.Fatal("the payer does not pass")
	}
	l := newLoad(t)
	l.flood(z, payer, site4, 5, 1000)
	l.flood(z, payer, site6, 5, 1000)
	tcp, err := payer.dial("tcp", site4, 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	fmt.Fprintf(tcp, "%8d", 20_000_000)
	time.Sleep(100 * time.Millisecond)
	z.gw.sh("nft flush ruleset")
	time.Sleep(500 * time.Millisecond) // the queues
	down, up := z.wired()
	for _, p := range z.phones {
		if p.echo(site4, 2) || p.echo(site6, 2) {
			t.Errorf("phone %s passes without the table", p.v4)
		}
	}
	if d, u := z.wired(); d != down || u != up {
		t.Errorf("without the table %d bytes came down and %d went up", d-down, u-up)
	}
	// The portal still answers.
	if _, err := payer.dial("tcp", "10.77.0.1", 8080); err == nil || !isRefused(err) {
		t.Errorf("the gateway itself is not reached: %v", err)
	}
	before, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), []zonegate.Order{o}); err != nil {
		t.Fatal(err)
	}
	if !payer.echo(site4, 10) || !payer.echo(site6, 10) || z.phones[1].echo(site4, 2) {
		t.Error("the gate is not as it was")
	}
	after, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != 1 || len(after) != 1 || after[0].Octets.Down < before[0].Octets.Down || before[0].Octets.Down == 0 {
		t.Errorf("consumption before %+v, after %+v", before, after)
	}
	s.Close()
}

func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Err.Error() == "connect: connection refused"
}

// TestRepair has others delete what is ours while the task runs.
func TestRepair(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(7000)
	c := z.config()
	c.Shared = true
	e := z.start(c)
	payer := z.phones[0]
	o := order(1, payer, 10)
	o.Allowance = 50e6
	e.apply(o)
	tcp, err := payer.dial("tcp", site4, 7000)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	fmt.Fprintf(tcp, "%8d", 50_000_000)
	var last zonegate.Octets
	check := func(what string) {
		t.Helper()
		tcp.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.CopyN(io.Discard, tcp, 500_000); err != nil {
			t.Fatalf("after %s the flow is cut: %v", what, err)
		}
		if z.phones[1].echo(site4, 1) {
			t.Errorf("after %s a stranger passes", what)
		}
		deadline := time.Now().Add(10 * time.Second)
		for {
			u, err := e.Usage(t.Context())
			if err != nil || len(u) != 1 {
				t.Fatalf("usage %+v, %v", u, err)
			}
			if u[0].Octets.Down >= last.Down+400_000 {
				last = u[0].Octets
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %s usage is %+v, before %+v", what, u, last)
			}
			io.CopyN(io.Discard, tcp, 50_000)
		}
	}
	check("the start")
	z.gw.sh("nft flush ruleset")
	check("a flush")
	z.gw.sh("tc qdisc del dev br-lan root; tc qdisc del dev wan root")
	check("the loss of the shapers")
	z.gw.sh("ip rule del pref 20; ip rule del pref 20; ip -6 rule del pref 20")
	check("the loss of the rules")
	awaitLines(t, 4, "20:", func() string { return z.gw.sh("ip rule; ip -6 rule") })
	z.gw.sh("tc class del dev br-lan classid 1:2")
	check("the loss of a class")
	// The device goes and comes back under another index.
	z.gw.sh(`ip link del wan
ip link add wan type veth peer name eth0 netns ` + z.inet.name + `
ip addr add 192.0.2.1/24 dev wan; ip addr add 2001:db8::1/64 dev wan nodad
ip link set wan up`)
	z.inet.sh(`ip link set eth0 up; ip addr add 192.0.2.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 nodad
ip route add 10.77.0.0/24 via 192.0.2.1; ip route add fd77::/64 via 2001:db8::1`)
	z.gw.sh(`ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2`)
	check("the loss of the WAN")
	awaitLines(t, 1, "2:2 ", func() string { return z.gw.sh("tc class show dev wan") })
}

// TestAdoption kills a process and starts another.
func TestAdoption(t *testing.T) {
	t.Parallel()
	z := newZone(t, 3)
	z.serve(7000)
	z.meterWire()
	first := z.open(z.config())
	var orders []zonegate.Order
	for i, p := range z.phones {
		o := order(zonegate.SessionID(i+1), p, 10)
		o.Until = until(time.Hour)
		if i == 1 {
			o.Allowance = 20e6
		}
		if i == 2 {
			o.Devices = 3
		}
		orders = append(orders, o)
	}
	if err := first.Apply(t.Context(), orders); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, p := range z.phones {
		c, err := p.dial("tcp", site6, 7000)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "%8d", 20_000_000)
		if _, err := io.CopyN(io.Discard, c, 200_000); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	classes := z.gw.sh("tc class show dev br-lan | sort")
	first.Close() // as the kernel does for a killed process
	for i, c := range conns {
		if _, err := io.CopyN(io.Discard, c, 200_000); err != nil {
			t.Fatalf("phone %d is cut off with the process: %v", i, err)
		}
	}
	second := z.start(z.config())
	usage, err := second.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(usage) != 3 {
		t.Fatalf("usage of what was left: %+v", usage)
	}
	for i, u := range usage {
		if u.Session != orders[i].Session || u.Octets.Down < 400_000 || u.Octets.Up < 1000 {
			t.Errorf("usage of what was left: %+v", u)
		}
	}
	// The third is not wanted any more.
	second.apply(orders[:2]...)
	if u := second.book.awaitFinal(t, 3); u.Octets.Down != z.phones[2].wire() {
		t.Errorf("final counters %+v, delivered %d", u, z.phones[2].wire())
	}
	if z.phones[2].echo(site4, 2) {
		t.Error("a session that is not wanted passes")
	}
	for i, c := range conns[:2] {
		if _, err := io.CopyN(io.Discard, c, 200_000); err != nil {
			t.Fatalf("phone %d is cut off by the adoption: %v", i, err)
		}
	}
	now := z.gw.sh("tc class show dev br-lan | sort")
	for _, line := range []string{"class htb 1:2 ", "class htb 1:3 "} {
		if countLines(now, line) != 1 || countLines(classes, line) != 1 {
			t.Errorf("classes were\n%s\nand are\n%s", classes, now)
		}
	}
	if n := countLines(now, "class htb"); n != 5 {
		t.Errorf("%d classes are left, want 5:\n%s", n, now)
	}
	// The cap counts from the session's beginning.
	o := orders[1]
	o.Allowance = 1e6
	second.change([]zonegate.Order{o})
	io.Copy(io.Discard, conns[1])
	u := second.book.awaitSpent(t, 2)
	if down := z.phones[1].wire(); down != u.Octets.Down || down > 1e6 || u.Octets.Total()+zonegate.SpentBelow < 1e6 {
		t.Errorf("delivered %d, reported %+v", down, u)
	}
}

// TestSpentSurvives has a process die after a cap was reached: the next one
// still knows.
func TestSpentSurvives(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.meterWire()
	e := z.start(z.config())
	o := order(1, z.phones[0], 20)
	o.Allowance = 1e6
	e.apply(o)
	l := newLoad(t)
	l.download(z.phones[0], site4, 5e6, 0)
	was := e.book.awaitSpent(t, 1)
	e.stop()
	next := z.start(z.config())
	usage, err := next.Usage(t.Context())
	if err != nil || len(usage) != 1 || usage[0].Octets != was.Octets {
		t.Fatalf("usage is %+v, %v; was %+v", usage, err, was)
	}
	next.apply(o)
	if got := next.book.awaitSpent(t, 1); got.Octets != was.Octets {
		t.Errorf("usage is %+v, was %+v", got, was)
	}
	l.stop()
	if z.phones[0].echo(site4, 2) {
		t.Error("a spent session passes")
	}
}

// TestForeignShaper refuses a device that somebody else shapes.
func TestForeignShaper(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	z.gw.sh("tc qdisc add dev wan root handle 1: htb default 12")
	s := z.open(z.config())
	defer s.Close()
	err := s.Apply(t.Context(), []zonegate.Order{order(1, z.phones[0], 10)})
	if !errors.Is(err, kernel.ErrForeignQdisc) {
		t.Errorf("applying beside SQM: %v", err)
	}
	if z.gw.sh("tc qdisc show dev wan root") == "" || countLines(z.gw.sh("tc qdisc show dev wan"), "default 0x12") != 1 {
		t.Error("the foreign shaper was changed")
	}
	// The payer still passes, and when the other is gone everything is right.
	if !z.phones[0].echo(site4, 10) {
		t.Error("the payer does not pass")
	}
	z.gw.sh("tc qdisc del dev wan root")
	if err := s.Apply(t.Context(), []zonegate.Order{order(1, z.phones[0], 10)}); err != nil {
		t.Error(err)
	}
	if countLines(z.gw.sh("tc class show dev wan"), "2:2 ") != 1 {
		t.Error("the session has no class on the WAN")
	}
}

// TestReserved has the table refuse others while the process lives.
func TestReserved(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	s := z.open(z.config())
	if err := s.Apply(t.Context(), []zonegate.Order{order(1, z.phones[0], 10)}); err != nil {
		t.Fatal(err)
	}
	z.gw.sh("nft flush ruleset")
	if !z.phones[0].echo(site4, 10) {
		t.Error("a flush took the reserved table")
	}
	other := z.open(z.config())
	defer other.Close()
	if err := other.Apply(t.Context(), nil); !errors.Is(err, kernel.ErrOwned) {
		t.Errorf("a second process enforces: %v", err)
	}
	s.Close()
	if err := other.Apply(t.Context(), []zonegate.Order{order(1, z.phones[0], 10)}); err != nil {
		t.Errorf("the next process cannot adopt: %v", err)
	}
	if !z.phones[0].echo(site4, 10) {
		t.Error("the payer does not pass")
	}
}

// TestThousand times what has to be quick with many customers.
func TestThousand(t *testing.T) {
	z := newZone(t, 1)
	z.serve(7000)
	c := z.config()
	c.Shared = true
	orders := func(n int) []zonegate.Order {
		list := []zonegate.Order{order(1, z.phones[0], 10)}
		for i := 2; i <= n; i++ {
			o := list[0]
			o.Session, o.Grant = zonegate.SessionID(i), zonegate.GrantID(i)
			o.Device = zonegate.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}
			o.Allowance = 1e9
			o.Until = until(time.Hour)
			list = append(list, o)
		}
		return list
	}
	took := func(what string, f func()) {
		start := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(start))
	}
	first := z.open(c)
	took("applying 1,000 sessions", func() {
		if err := first.Apply(t.Context(), orders(1000)); err != nil {
			t.Fatal(err)
		}
	})
	first.Close()
	var e *enforced
	took("adopting 1,000 sessions", func() {
		e = z.start(c)
		e.apply(orders(1000)...)
	})
	took("applying them again", func() { e.apply(orders(1000)...) })
	o := orders(1001)[1000]
	var worst time.Duration
	start := time.Now()
	for i := range 100 {
		o.Session, o.Grant = zonegate.SessionID(2000+i), zonegate.GrantID(2000+i)
		o.Device[5] = byte(i)
		one := time.Now()
		e.change([]zonegate.Order{o})
		worst = max(worst, time.Since(one))
	}
	t.Logf("activating one: mean %v, worst %v", time.Since(start)/100, worst)
	start = time.Now()
	for i := range 100 {
		e.change(nil, zonegate.SessionID(2000+i))
	}
	t.Logf("stopping one: mean %v", time.Since(start)/100)
	took("reading usage", func() { e.Usage(context.Background()) })
	took("being back after a flush", func() {
		z.gw.sh("nft flush ruleset")
		if !z.phones[0].echo(site4, 50) {
			t.Error("the payer does not come back")
		}
	})
	took("being back after the loss of a shaper", func() {
		z.gw.sh("tc qdisc del dev br-lan root")
		awaitLines(t, 1003, "class htb", func() string { return z.gw.sh("tc class show dev br-lan") })
	})
	took("stopping 1,000 sessions", func() { e.apply() })
	if n := countLines(z.gw.sh("tc class show dev br-lan"), "class htb"); n != 3 {
		t.Errorf("%d classes are left, want 3", n)
	}
	if out := z.gw.sh("nft list map inet zonegate down; nft list quotas"); countLines(out, "1:") != 0 || countLines(out, "quota g") != 0 {
		t.Errorf("left in the table: %s", out)
	}
}

// TestCheckAndRemove has a machine with everything wrong, and takes everything
// off it again.
func TestCheckAndRemove(t *testing.T) {
	t.Parallel()
	z := newZone(t, 1)
	z.serve(7000)
	c := z.config()
	c.WAN = []string{"wan", "wan2"}
	s := z.open(c)
	defer s.Close()
	check := func() map[string]kernel.Finding {
		found := map[string]kernel.Finding{}
		z.gw.do(func() {
			for _, f := range s.Check(t.Context()) {
				if f.Problem == "" || f.Fix == "" {
					t.Errorf("finding %+v explains nothing", f)
				}
				found[f.Subject] = f
			}
		})
		return found
	}
	z.gw.sh(`echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter
tc qdisc add dev wan root handle 7: tbf rate 1mbit burst 10k limit 10k`)
	found := check()
	for _, subject := range []string{"wan2", "wan", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if _, ok := found[subject]; !ok {
			t.Errorf("nothing found about %s: %+v", subject, found)
		}
	}
	z.gw.sh(`echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo 2 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/wan/rp_filter
for i in iptables ip6tables; do f=/proc/sys/net/bridge/bridge-nf-call-$i; [ ! -e $f ] || echo 0 >$f; done
tc qdisc del dev wan root; ip link add wan2 type veth peer name wan3; ip link set wan2 up
ip -6 route replace default via 2001:db8::2`)
	delete(found, "fq_codel")
	if found := check(); len(found) > 1 || len(found) == 1 && found["fq_codel"].Problem == "" {
		t.Errorf("found on a good machine: %+v", found)
	}
	if err := s.Apply(t.Context(), []zonegate.Order{order(1, z.phones[0], 10)}); err != nil {
		t.Fatal(err)
	}
	if z.gw.sh("tc qdisc show dev wan2 root; bridge -d link show dev port0"); countLines(z.gw.sh("bridge -d link show dev port0"), "isolated on") != 1 {
		t.Error("the port is not isolated")
	}
	if found := check(); len(found) > 1 {
		t.Errorf("found while enforcing: %+v", found)
	}
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"nft list tables", "ip rule show pref 20", "ip -6 rule show pref 20", "tc class show dev br-lan", "tc class show dev wan"} {
		if out := z.gw.sh(list); out != "" {
			t.Errorf("%s: %s", list, out)
		}
	}
	if !z.phones[0].echo(site4, 10) {
		t.Error("the removed gate is closed")
	}
}
