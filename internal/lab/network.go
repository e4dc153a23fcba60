package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Addresses of the lab. The prefixes are those set aside for documentation and
// private use, so that nothing can leak to a real host.
var (
	gatewayLAN4 = netip.MustParseAddr("10.77.0.1")
	gatewayLAN6 = netip.MustParseAddr("2001:db8:77::1")
	gatewayWAN4 = netip.MustParseAddr("198.51.100.1")
	gatewayWAN6 = netip.MustParseAddr("2001:db8:ffff::1")
	internet4   = netip.MustParseAddr("198.51.100.10")
	internet6   = netip.MustParseAddr("2001:db8:ffff::10")
	garden4     = netip.MustParseAddr("198.51.100.11")
	garden6     = netip.MustParseAddr("2001:db8:ffff::11")
	pay4        = netip.MustParseAddr("198.51.100.12")
	nas4        = netip.MustParseAddr("10.77.0.2")
	nas6        = netip.MustParseAddr("2001:db8:77::2")
)

// Names of the gateway's interfaces.
const (
	lanBridge = "br-lan"
	wanLink   = "wan0"
	phoneLink = "eth0"
)

// labNAT plays the system's own firewall: it masquerades IPv4. IPv6 is routed.
const labNAT = `table ip labnat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "` + wanLink + `" masquerade
	}
}
`

// A Host is one machine of the lab.
type Host struct {
	Netns string `json:"netns"`
	IPv4  string `json:"ipv4"`
	IPv6  string `json:"ipv6"`
	MAC   string `json:"mac"`
}

// lanBits is the length of the LAN's IPv4 prefix for a number of phones.
func lanBits(phones, crowd int) int {
	if phones > 240 || crowd > 0 {
		return 16
	}
	return 24
}

// phone returns the addresses of phone i, counted from 1.
func phone(i int) (netip.Addr, netip.Addr, net.HardwareAddr) {
	n := 10 + i
	ip4 := netip.AddrFrom4([4]byte{10, 77, byte(n / 250), byte(n % 250)})
	ip6 := gatewayLAN6.As16()
	ip6[14], ip6[15] = byte(n>>8), byte(n)
	return ip4, netip.AddrFrom16(ip6), net.HardwareAddr{0x02, 0x77, 0, 0, byte(n >> 8), byte(n)}
}

// buildNetwork makes the namespaces and everything between them.
func (l *Lab) buildNetwork() error {
	if err := l.makeSpaces(); err != nil {
		return err
	}
	// Links exist before their addresses: defaults that new links take over
	// (no duplicate address detection: it would cost a second) come first.
	for name, s := range l.spaces {
		if err := s.do(func() error { return prepareHost(name == l.middle()) }); err != nil {
			return fmt.Errorf("preparing %s: %w", name, err)
		}
	}
	if err := l.buildGateway(); err != nil {
		return fmt.Errorf("building gateway: %w", err)
	}
	if err := l.buildInternet(); err != nil {
		return fmt.Errorf("building internet: %w", err)
	}
	if l.opts.MikroTik {
		if err := l.buildBox(); err != nil {
			return fmt.Errorf("building the gateway's link: %w", err)
		}
	}
	for i := 1; i <= l.opts.Phones; i++ {
		if err := l.buildPhone(i); err != nil {
			return fmt.Errorf("building phone%d: %w", i, err)
		}
	}
	if l.opts.NAS {
		if err := l.joinLAN(nasHost, "lannas", nas4, nas6, net.HardwareAddr{0x02, 0x77, 0, 0, 0, 2}); err != nil {
			return fmt.Errorf("building nas: %w", err)
		}
	}
	if l.opts.Crowd > 0 {
		if err := l.buildCrowd(); err != nil {
			return fmt.Errorf("building crowd: %w", err)
		}
	}
	return l.RestoreNAT()
}

func (l *Lab) makeSpaces() error {
	if err := os.MkdirAll(l.state.NetnsDir, 0o755); err != nil {
		return fmt.Errorf("creating namespace directory: %w", err)
	}
	for _, host := range l.state.Hosts {
		s, err := newSpace(l.state.netnsPath(host))
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("network namespace %s exists and is not this lab's: choose another --name, or remove it with: ip netns del %[1]s",
				l.state.netnsName(host))
		}
		if err != nil {
			return err
		}
		l.spaces[host] = s
	}
	return nil
}

func prepareHost(routes bool) error {
	for _, kv := range [][2]string{
		{"net/ipv6/conf/all/disable_ipv6", "0"},
		{"net/ipv6/conf/default/disable_ipv6", "0"},
		{"net/ipv6/conf/default/accept_dad", "0"},
		{"net/ipv6/conf/default/accept_ra", "0"},
		{"net/ipv4/ping_group_range", "0 0"},
	} {
		if err := sysctl(kv[0], kv[1]); err != nil {
			return err
		}
	}
	if routes {
		if err := errors.Join(
			sysctl("net/ipv4/ip_forward", "1"),
			sysctl("net/ipv6/conf/all/forwarding", "1"),
		); err != nil {
			return err
		}
		// As on a router, where bridged frames do not pass the IP firewall too.
		for _, key := range []string{"iptables", "ip6tables", "arptables"} {
			err := sysctl("net/bridge/bridge-nf-call-"+key, "0")
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

func (l *Lab) buildGateway() error {
	bits := lanBits(l.opts.Phones, l.opts.Crowd)
	mac := net.HardwareAddr{0x02, 0x77, 0, 0, 0, 1}
	snooping := false // IPv6 neighbour discovery must pass at once
	return l.spaces[l.middle()].do(func() error {
		br := &netlink.Bridge{
			LinkAttrs:         netlink.LinkAttrs{Name: lanBridge, HardwareAddr: mac},
			MulticastSnooping: &snooping,
		}
		if err := netlink.LinkAdd(br); err != nil {
			return fmt.Errorf("adding %s: %w", lanBridge, err)
		}
		if err := setAddresses(br, netip.PrefixFrom(gatewayLAN4, bits), netip.PrefixFrom(gatewayLAN6, 64)); err != nil {
			return err
		}
		l.addHost(l.middle(), gatewayLAN4, gatewayLAN6, mac)
		return nil
	})
}

func (l *Lab) buildInternet() error {
	mac := net.HardwareAddr{0x02, 0x77, 0xff, 0, 0, 0x10}
	if err := l.joinGateway("internet", wanLink, net.HardwareAddr{0x02, 0x77, 0xff, 0, 0, 1}, mac); err != nil {
		return err
	}
	err := l.spaces[l.middle()].do(func() error {
		link, err := netlink.LinkByName(wanLink)
		if err != nil {
			return err
		}
		if err := setAddresses(link, netip.PrefixFrom(gatewayWAN4, 24), netip.PrefixFrom(gatewayWAN6, 64)); err != nil {
			return err
		}
		return defaultRoutes(link, internet4, internet6)
	})
	if err != nil {
		return err
	}
	l.addHost("internet", internet4, internet6, mac)
	return l.spaces["internet"].do(func() error {
		link, err := netlink.LinkByName(phoneLink)
		if err != nil {
			return err
		}
		// Only IPv6 has a way back to the LAN; IPv4 comes masqueraded.
		if err := setAddresses(link,
			netip.PrefixFrom(internet4, 24), netip.PrefixFrom(garden4, 24), netip.PrefixFrom(pay4, 24),
			netip.PrefixFrom(internet6, 64), netip.PrefixFrom(garden6, 64)); err != nil {
			return err
		}
		return addRoute(link, netip.PrefixFrom(gatewayLAN6, 64).Masked(), gatewayWAN6)
	})
}

// buildBox joins the gateway to a MikroTik that has everything else.
func (l *Lab) buildBox() error {
	mac := net.HardwareAddr{0x02, 0x77, 0x88, 0, 0, 2}
	if err := l.joinGateway("gateway", boxLink, net.HardwareAddr{0x02, 0x77, 0x88, 0, 0, 1}, mac); err != nil {
		return err
	}
	l.Info.Hosts["gateway"] = Host{Netns: l.state.netnsName("gateway"), IPv4: gatewayBox4.String(), MAC: mac.String()}
	err := l.spaces[l.middle()].do(func() error {
		link, err := netlink.LinkByName(boxLink)
		if err != nil {
			return err
		}
		return setAddresses(link, netip.PrefixFrom(routerBox4, 24))
	})
	if err != nil {
		return err
	}
	return l.spaces["gateway"].do(func() error {
		link, err := netlink.LinkByName(phoneLink)
		if err != nil {
			return err
		}
		if err := setAddresses(link, netip.PrefixFrom(gatewayBox4, 24)); err != nil {
			return err
		}
		return addRoute(link, netip.PrefixFrom(netip.IPv4Unspecified(), 0), routerBox4)
	})
}

func (l *Lab) buildPhone(i int) error {
	name := fmt.Sprintf("phone%d", i)
	ip4, ip6, mac := phone(i)
	return l.joinLAN(name, fmt.Sprintf("lan%d", i), ip4, ip6, mac)
}

// joinLAN connects a host to the gateway's LAN by a port.
func (l *Lab) joinLAN(name, port string, ip4, ip6 netip.Addr, mac net.HardwareAddr) error {
	if err := l.joinGateway(name, port, nil, mac); err != nil {
		return err
	}
	if err := l.bridgePort(port); err != nil {
		return err
	}
	l.addHost(name, ip4, ip6, mac)
	return l.spaces[name].do(func() error {
		link, err := netlink.LinkByName(phoneLink)
		if err != nil {
			return err
		}
		if err := setAddresses(link,
			netip.PrefixFrom(ip4, lanBits(l.opts.Phones, l.opts.Crowd)), netip.PrefixFrom(ip6, 64)); err != nil {
			return err
		}
		return defaultRoutes(link, gatewayLAN4, gatewayLAN6)
	})
}

// joinGateway makes a veth pair: name at the host in the middle, eth0 at the
// other.
func (l *Lab) joinGateway(host, name string, gatewayMAC, hostMAC net.HardwareAddr) error {
	peer, err := netns.GetFromPath(l.state.netnsPath(host))
	if err != nil {
		return fmt.Errorf("opening namespace of %s: %w", host, err)
	}
	defer peer.Close()
	return l.spaces[l.middle()].do(func() error {
		veth := &netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: name, HardwareAddr: gatewayMAC},
			PeerName:         phoneLink,
			PeerHardwareAddr: hostMAC,
			PeerNamespace:    netlink.NsFd(peer),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("adding veth %s: %w", name, err)
		}
		return netlink.LinkSetUp(veth)
	})
}

// bridgePort makes a link of the host in the middle a port of its LAN bridge.
func (l *Lab) bridgePort(name string) error {
	return l.spaces[l.middle()].do(func() error {
		port, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("finding %s: %w", name, err)
		}
		br, err := netlink.LinkByName(lanBridge)
		if err != nil {
			return fmt.Errorf("finding %s: %w", lanBridge, err)
		}
		if err := netlink.LinkSetMaster(port, br); err != nil {
			return fmt.Errorf("joining %s to %s: %w", name, lanBridge, err)
		}
		return nil
	})
}

func setAddresses(link netlink.Link, addrs ...netip.Prefix) error {
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("adding address %s: %w", a, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting link up: %w", err)
	}
	return nil
}

func defaultRoutes(link netlink.Link, via4, via6 netip.Addr) error {
	return errors.Join(
		addRoute(link, netip.PrefixFrom(netip.IPv4Unspecified(), 0), via4),
		addRoute(link, netip.PrefixFrom(netip.IPv6Unspecified(), 0), via6),
	)
}

func addRoute(link netlink.Link, to netip.Prefix, via netip.Addr) error {
	dst := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: via.AsSlice()}
	if err := netlink.RouteAdd(r); err != nil {
		return fmt.Errorf("adding route to %s: %w", to, err)
	}
	return nil
}

// RestoreNAT loads the lab's masquerading, as the gateway's system would after
// somebody flushed every table.
func (l *Lab) RestoreNAT() error {
	script := "table ip labnat\ndelete table ip labnat\n" + labNAT
	return l.NFT(l.middle(), script)
}

// NFT loads an nft script at a host.
func (l *Lab) NFT(host, script string) error {
	cmd := l.Command(host, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("nft is not installed: the lab needs it for address translation (package nftables)")
		}
		return fmt.Errorf("loading nft rules at %s: %w: %s", host, err, out)
	}
	return nil
}

func (l *Lab) addHost(name string, ip4, ip6 netip.Addr, mac net.HardwareAddr) {
	l.Info.Hosts[name] = Host{
		Netns: l.state.netnsName(name), IPv4: ip4.String(), IPv6: ip6.String(), MAC: mac.String()}
}
