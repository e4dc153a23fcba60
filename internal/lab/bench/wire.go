package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"zonegate/internal/lab"
)

// A tally counts IP packets that came over a wire.
type tally struct {
	packets uint64
	bytes   uint64 // layer 3: IP headers included, link headers not
}

func (t tally) plus(u tally) tally  { return tally{t.packets + u.packets, t.bytes + u.bytes} }
func (t tally) minus(u tally) tally { return tally{t.packets - u.packets, t.bytes - u.bytes} }

// linkBytes adds the Ethernet headers, which are what a shaper counts too.
func (t tally) linkBytes() uint64 { return t.bytes + 14*t.packets }

// A meter counts on the wires of a lab: what reaches a phone from the
// internet, and what reaches the internet from the gateway. Segments are cut
// before the wires, so that every packet counted is one that a radio would
// have sent.
type meter struct {
	l *lab.Lab
}

const (
	// A forwarded packet has lost one hop (64 to 63). What the gateway answers
	// in the internet's name (resets, redirects to the portal) has lost none,
	// and is nobody's traffic.
	phoneTable = `table netdev zlmeter {
	counter v4 { }
	counter v6 { }
	chain in {
		type filter hook ingress device eth0 priority -500; policy accept;
		ip saddr 198.51.100.0/24 ip ttl 63 counter name v4
		ip6 saddr 2001:db8:ffff::/64 ip6 hoplimit 63 counter name v6
	}
}
`
	// What the gateway itself sends has lost no hop either.
	internetTable = `table netdev zlmeter {
	counter v4 { }
%[1]s	chain in {
		type filter hook ingress device eth0 priority -500; policy accept;
		ip ttl 63 counter name v4
%[2]s	}
}
`
)

// newMeter puts counters at the phones given and at the internet.
func newMeter(l *lab.Lab, phones ...string) (*meter, error) {
	for _, p := range phones {
		port := "lan" + p[len("phone"):]
		if err := offloads(l, "gateway", port, false); err != nil {
			return nil, err
		}
		if err := offloads(l, p, "eth0", true); err != nil {
			return nil, err
		}
		if err := l.NFT(p, phoneTable); err != nil {
			return nil, err
		}
	}
	if err := offloads(l, "gateway", "wan0", false); err != nil {
		return nil, err
	}
	var counters, rules strings.Builder
	for _, p := range phones {
		fmt.Fprintf(&counters, "\tcounter %s { }\n", p)
		fmt.Fprintf(&rules, "\t\tip6 saddr %s ip6 hoplimit 63 counter name %s\n", l.Info.Hosts[p].IPv6, p)
	}
	return &meter{l: l}, l.NFT("internet", fmt.Sprintf(internetTable, counters.String(), rules.String()))
}

// down is what has reached a phone.
func (m *meter) down(phone string) (tally, error) { return m.read(phone, "") }

// up is what has reached the internet, from all the phones.
func (m *meter) up() (tally, error) { return m.read("internet", "") }

// upOf is what has reached the internet from one phone over IPv6; IPv4 comes
// translated and cannot be told apart.
func (m *meter) upOf(phone string) (tally, error) { return m.read("internet", phone) }

// total is what has passed in both directions, where no other phone sends over
// IPv4.
func (m *meter) total(phone string) (tally, error) {
	sum, err := m.down(phone)
	for _, name := range []string{"v4", phone} {
		var t tally
		if err == nil {
			t, err = m.read("internet", name)
		}
		sum = sum.plus(t)
	}
	return sum, err
}

// read adds the counters of a host, or takes the one of that name.
func (m *meter) read(host, name string) (tally, error) {
	out, err := m.l.Command(host, "nft", "-j", "list", "counters").Output()
	if err != nil {
		return tally{}, fmt.Errorf("reading counters of %s: %w", host, err)
	}
	var answer struct {
		NFTables []struct {
			Counter *struct {
				Table   string `json:"table"`
				Name    string `json:"name"`
				Packets uint64 `json:"packets"`
				Bytes   uint64 `json:"bytes"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return tally{}, fmt.Errorf("reading counters of %s: %w", host, err)
	}
	var sum tally
	for _, o := range answer.NFTables {
		if c := o.Counter; c != nil && c.Table == "zlmeter" && (name == "" || name == c.Name) {
			sum = sum.plus(tally{c.Packets, c.Bytes})
		}
	}
	return sum, nil
}

// A sample is a tally at a time.
type sample struct {
	tally
	at time.Time
}

func takeSample(read func(string) (tally, error), phone string) (sample, error) {
	before := time.Now()
	t, err := read(phone)
	// The kernel was asked somewhere in between.
	return sample{t, before.Add(time.Since(before) / 2)}, err
}

// rate is what passed between two samples in bit/s, on layer 2.
func rate(from, to sample) float64 {
	return float64(to.minus(from.tally).linkBytes()) * 8 / to.at.Sub(from.at).Seconds()
}

// Requests of ethtool's ioctl (linux/ethtool.h).
const (
	ethtoolSTSO = 0x1f
	ethtoolSGSO = 0x24
	ethtoolSGRO = 0x2c
)

// offloads switches generic receive offload off, and segmentation offload on
// or off: with it off, packets are cut to wire size before they leave.
func offloads(l *lab.Lab, host, link string, segmentation bool) error {
	on := uint32(0)
	if segmentation {
		on = 1
	}
	return l.Do(host, func() error {
		for _, v := range []ethtoolValue{{ethtoolSGRO, 0}, {ethtoolSTSO, on}, {ethtoolSGSO, on}} {
			if err := v.set(link); err != nil {
				return fmt.Errorf("setting offloads of %s at %s: %w", link, host, err)
			}
		}
		return nil
	})
}

type ethtoolValue struct{ cmd, data uint32 }

func (v ethtoolValue) set(link string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	req.data = unsafe.Pointer(&v)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}
