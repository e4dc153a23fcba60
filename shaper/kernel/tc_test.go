package kernel

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zonegate/shaper"
)

// hostOrder turns big-endian 32-bit words of a hex dump into host order where
// they are marked with a dot in front.
func hostOrder(t *testing.T, words string) []byte {
	t.Helper()
	var out []byte
	for _, w := range strings.Fields(words) {
		host := strings.HasPrefix(w, ".")
		b, err := hex.DecodeString(strings.TrimPrefix(w, "."))
		if err != nil {
			t.Fatal(err)
		}
		if host {
			switch len(b) {
			case 2:
				b = binary.NativeEndian.AppendUint16(nil, binary.BigEndian.Uint16(b))
			case 4:
				b = binary.NativeEndian.AppendUint32(nil, binary.BigEndian.Uint32(b))
			case 8:
				b = binary.NativeEndian.AppendUint64(nil, binary.BigEndian.Uint64(b))
			}
		}
		out = append(out, b...)
	}
	return out
}

// TestClassMessage pins the message of a class, in either byte order.
func TestClassMessage(t *testing.T) {
	var r requests
	r.setClass(3, majorDown, 0x10, rootMinor, shaper.Class{Rate: 8e6, Ceil: 80e9, Burst: 5000, CeilBurst: 64000, Quantum: 1514}, classAdd)
	want := hostOrder(t, `
		.00000078 .0028 .0601 .00000000 .00000000
		.00000000 .00000003 .00010010 .00010001 .00000000
		.0008 .0001 68746200
		.0040 .0002
		.0030 .0001
			00 01 0000 00000000 .000f4240
			00 01 0000 00000000 .ffffffff
			.0001312d .00000064 .000005ea .00000000 .00000000
		.000c .0007 .00000002540be400`)
	binary.NativeEndian.PutUint32(want, uint32(len(want)))
	if diff := cmp.Diff(hex.Dump(want), hex.Dump(r.b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestClassAnswer reads what a kernel says about a class.
func TestClassAnswer(t *testing.T) {
	body := hostOrder(t, `
		00000000 .00000003 .00020010 .00020001 .00000000
		.0008 .0001 68746200
		.0034 .0002
		.0030 .0001
			00 01 0000 00000000 .000f4240
			00 01 0000 00000000 .001e8480
			.00013880 .00000064 .000005ea .00000000 .00000000
		.003c .0007
		.0014 .0001 .0000000100000000 .00000005 00000000
		.0018 .0003 .00000002 .00000bd4 .00000007 .00000000 .00000000
		.000c .0008 .0000000100000005`)
	c, ok := parseClass(body)
	want := class{
		major: 2, minor: 0x10, parent: 1, rate: 8e6, ceil: 16e6, quantum: 1514,
		counters: counters{bytes: 1 << 32, packets: 1<<32 + 5, backlog: 3028, queued: 2, drops: 7},
	}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(class{}, counters{})); diff != "" || !ok {
		t.Errorf("ok %v (-want +got):\n%s", ok, diff)
	}
	if got := c.waiting(14); got != 3000 {
		t.Errorf("waiting %d", got)
	}
	if got := (counters{bytes: 1514, packets: 1}).octets(14); got != 1500 {
		t.Errorf("octets %d", got)
	}
	for n := range body {
		parseClass(body[:n]) // must not panic
	}
}

func TestFlowtableDevices(t *testing.T) {
	body := hostOrder(t, `
		01 00 0000
		.0008 .0001 66773400
		.0024 .8003
			.0008 .0001 00000000
			.0018 .8003
				.000b .0001 62722d6c616e0000
				.0008 .0001 77616e00`)
	if diff := cmp.Diff([]string{"br-lan", "wan"}, flowtableDevices(body)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range body {
		flowtableDevices(body[:n])
	}
}

func TestOutermost(t *testing.T) {
	var in, want []netip.Prefix
	for _, p := range []string{"10.0.0.1/24", "10.0.0.2/24", "10.0.0.128/25", "fe80::1/64", "fd00::1/64", "10.0.1.1/24", "0.0.0.0/0", "127.0.0.1/8"} {
		in = append(in, netip.MustParsePrefix(p))
	}
	for _, p := range []string{"10.0.0.0/24", "10.0.1.0/24", "fd00::/64"} {
		want = append(want, netip.MustParsePrefix(p))
	}
	if diff := cmp.Diff(want, outermost(in), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMinors(t *testing.T) {
	var m minors
	m.take(3)
	seen := map[uint16]bool{}
	for {
		n, err := m.next()
		if err != nil {
			break
		}
		if n < firstMinor || n > lastMinor || n == 3 || seen[n] {
			t.Fatalf("class number %x", n)
		}
		seen[n] = true
	}
	if want := int(lastMinor-firstMinor) + 1 - 1; len(seen) != want {
		t.Errorf("%d class numbers, want %d", len(seen), want)
	}
	m.free(0x1234)
	if n, err := m.next(); n != 0x1234 || err != nil {
		t.Errorf("%x, %v", n, err)
	}
}

// TestPlace pins what a batch changes: a device passes from one session to
// another, and what times out by itself can be taken out.
func TestPlace(t *testing.T) {
	mac := [6]byte{2}
	var e edit
	old := placed{device: mac, live: true, until: 5, minor: 7, quota: "g1.1"}
	e.place(1, old, placed{}, 0)
	e.place(2, placed{}, placed{device: mac, live: true, minor: 8}, 0)
	if len(e.unlive) != 1 || len(e.undevice) != 1 || len(e.unquota) != 1 || len(e.undown) != 1 || len(e.unup) != 1 ||
		len(e.live) != 1 || len(e.device) != 1 || len(e.quota) != 0 || len(e.down) != 1 || len(e.up) != 1 {
		t.Errorf("edit %+v", e)
	}
	var same edit
	if same.place(1, old, old, 0); !same.empty() {
		t.Errorf("nothing changes: %+v", same)
	}
	var end edit
	later := old
	later.until = 6
	if end.place(1, old, later, 1); len(end.unlive) != 1 || len(end.live) != 1 || len(end.device) != 1 || len(end.undevice) != 1 || len(end.down)+len(end.quota) != 0 {
		t.Errorf("another end: %+v", end)
	}
}
