package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

func TestMain(m *testing.M) {
	RunHelper()
	lab.RunHelper()
	if !lab.Privileged() {
		code, err := lab.Rerun(0, os.Args[1:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	code := m.Run()
	if hubDir != "" {
		os.RemoveAll(hubDir)
	}
	os.Exit(code)
}

// network is a lab without a daemon: everything passes.
func network(t *testing.T, opts lab.Options) *lab.Lab {
	t.Helper()
	opts.Name = fmt.Sprintf("zb%d", os.Getpid())
	l, err := lab.Up(t.Context(), opts)
	if err != nil {
		t.Fatalf("building lab: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing lab: %v", err)
		}
	})
	return l
}

func TestMeterCountsWirePackets(t *testing.T) {
	l := network(t, lab.Options{})
	m, err := newMeter(l, "phone1", "phone2")
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	for _, f := range []family{ip4, ip6} {
		t.Run(f.String(), func(t *testing.T) {
			server, err := l.ListenPacket("internet", "udp", f.addr("0"))
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			conn, err := l.Dial(t.Context(), "phone1", "udp", server.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			upBefore, downBefore := mustRead(t, m.up), mustRead(t, func() (tally, error) { return m.down("phone1") })
			buf := make([]byte, 2000)
			for range n { // an echo each, so that nothing is lost in a queue
				if _, err := conn.Write(buf[:1000]); err != nil {
					t.Fatal(err)
				}
				_, from, err := server.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := server.WriteTo(buf[:500], from); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Read(buf); err != nil {
					t.Fatal(err)
				}
			}
			header := uint64(28)
			if f == ip6 {
				header = 48
			}
			if got, want := mustRead(t, m.up).minus(upBefore), (tally{n, n * (1000 + header)}); got != want {
				t.Errorf("up: counted %+v, want %+v", got, want)
			}
			got := mustRead(t, func() (tally, error) { return m.down("phone1") }).minus(downBefore)
			if want := (tally{n, n * (500 + header)}); got != want {
				t.Errorf("down: counted %+v, want %+v", got, want)
			}
			if got := mustRead(t, func() (tally, error) { return m.down("phone2") }); got != (tally{}) {
				t.Errorf("phone2: counted %+v, want nothing", got)
			}
		})
	}
}

// A download arrives in packets of wire size, so that the meter's bytes are
// those of a radio and not of merged packets.
func TestMeterSeesNoMergedPackets(t *testing.T) {
	l := network(t, lab.Options{Phones: 1})
	m, err := newMeter(l, "phone1")
	if err != nil {
		t.Fatal(err)
	}
	for _, down := range []bool{true, false} {
		load := saturate(t.Context(), l, []string{"phone1"}, down)
		got := awaitTally(t, func() (tally, error) {
			if down {
				return m.down("phone1")
			}
			return m.upOf("phone1")
		}, 10<<20)
		load.stop()
		if mean := got.bytes / got.packets; mean < 1000 || mean > 1500 {
			t.Errorf("%s: mean packet of %d bytes, want a little below 1500", word(down), mean)
		}
	}
}

func TestUDPFloodsBothWays(t *testing.T) {
	l := network(t, lab.Options{Phones: 1})
	m, err := newMeter(l, "phone1")
	if err != nil {
		t.Fatal(err)
	}
	load, ctx := newLoad(t.Context())
	defer load.stop()
	load.udpUp(ctx, l, "phone1", ip4, 20e6)
	if err := load.udpDown(ctx, l, "phone1", ip6, 20e6); err != nil {
		t.Fatal(err)
	}
	awaitTally(t, m.up, 1<<20)
	awaitTally(t, func() (tally, error) { return m.down("phone1") }, 1<<20)
}

func TestWitnessKnowsItsSenders(t *testing.T) {
	l := network(t, lab.Options{Crowd: 20})
	w, err := newWitness(l)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	start := time.Now()
	load, ctx := newLoad(t.Context())
	defer load.stop()
	if err := load.knocks(ctx, l, "phone2", nil, ip6, 1<<20, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := load.knocks(ctx, l, "crowd", lab.Member(i).IPv4.AsSlice(), ip4, uint32(i), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []uint32{0, 19, 1 << 20} {
		await(t, func() bool { return w.count(id) > 1 })
		if at, ok := w.firstSince(id, start); !ok || at.Before(start) || w.last(id).Before(at) {
			t.Errorf("sender %d: first at %v (%v), last at %v", id, at, ok, w.last(id))
		}
	}
	if n := w.count(21); n != 0 {
		t.Errorf("a sender that does not exist was seen %d times", n)
	}
}

func TestBlastIsForwarded(t *testing.T) {
	l := network(t, lab.Options{Phones: 1, Crowd: 1000})
	if err := l.NFT("internet", sinkTable); err != nil {
		t.Fatal(err)
	}
	frames := make([][]byte, 1000)
	for i := range frames {
		frames[i] = udpFrame(l.Info.Hosts["gateway"].MAC, lab.Member(i), 4000, 100)
	}
	through, idle, err := forwardRate(t.Context(), l, frames)
	if err != nil {
		t.Fatal(err)
	}
	if through < 1000 || idle < 0 || idle > 1.1 {
		t.Errorf("%.0f packets/s came through, processor idle %.2f of the time", through, idle)
	}
	out, err := l.Command("gateway", "cat", "/proc/sys/net/netfilter/nf_conntrack_count").Output()
	if err != nil {
		t.Fatal(err)
	}
	var flows int
	if _, err := fmt.Sscan(string(out), &flows); err != nil || flows < 1000 {
		t.Errorf("%d flows at the gateway (%v), want one for each of 1000 customers", flows, err)
	}
}

func TestFlowIsCutWhenItEnds(t *testing.T) {
	l := network(t, lab.Options{})
	load, ctx := newLoad(t.Context())
	defer load.stop()
	for _, down := range []bool{true, false} {
		fl, err := load.hold(ctx, l, "phone1", ip6, down)
		if err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return fl.got.Load() > 1<<20 })
		if fl.cut.Load() {
			t.Errorf("%s: a running flow counts as cut", fl.name)
		}
		// The other way round: resets must show.
		if err := l.NFT("gateway", "table inet zbcut {\n chain f {\n type filter hook forward priority 0\n ip6 saddr 2001:db8:77::/64 meta l4proto tcp reject with tcp reset\n }\n}\n"); err != nil {
			t.Fatal(err)
		}
		await(t, fl.cut.Load)
		if err := l.NFT("gateway", "delete table inet zbcut\n"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiskCountsWrites(t *testing.T) {
	d, err := newDisk(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.remove)
	before, err := d.written()
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	if err := os.WriteFile(d.mount+"/file", make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := d.written()
	if err != nil {
		t.Fatal(err)
	}
	if n := after - before; n < size || n > 2*size {
		t.Errorf("a file of %d bytes cost the device %d", size, n)
	}
}

func TestMemoryOfAProcess(t *testing.T) {
	rss, peak, err := memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if rss < 1<<20 || peak < rss {
		t.Errorf("resident %d, peak %d", rss, peak)
	}
}

func TestTableSaysWhatWasMissed(t *testing.T) {
	var out strings.Builder
	b := &bench{opts: Options{Out: &out, Progress: io.Discard}, row: "mir"}
	b.add("a rate", "within 3 %", "5 Mbit/s", false)
	b.add("another", "within 3 %", "6 Mbit/s", true)
	if err := b.print(); err != nil {
		t.Fatal(err)
	}
	want := "what          figure wanted  measured  ok\n" +
		"mir: a rate   within 3 %     5 Mbit/s  NO\n" +
		"mir: another  within 3 %     6 Mbit/s  ok\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestUnknownRowIsRefused(t *testing.T) {
	err := Run(context.Background(), Options{Only: []string{"nonsense"}, Out: io.Discard, Progress: io.Discard})
	if err == nil || !strings.Contains(err.Error(), `no row "nonsense"`) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func mustRead(t *testing.T, read func() (tally, error)) tally {
	t.Helper()
	got, err := read()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// await waits for something that must come.
func await(t *testing.T, come func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !come() {
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			t.Fatal("it did not come in 20 s")
		}
	}
}

func awaitTally(t *testing.T, read func() (tally, error), bytes uint64) tally {
	t.Helper()
	var got tally
	await(t, func() bool {
		got = mustRead(t, read)
		return got.bytes >= bytes
	})
	return got
}
