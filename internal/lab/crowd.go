package lab

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
)

// crowdPort is the crowd's port of the gateway's bridge.
const crowdPort = "lancrowd"

// A Customer is one member of the crowd. The crowd has IPv4 only.
type Customer struct {
	IPv4 netip.Addr
	MAC  net.HardwareAddr
}

// Member returns member i of the crowd, counted from 0.
func Member(i int) Customer {
	return Customer{
		IPv4: netip.AddrFrom4([4]byte{10, 77, byte(16 + i/250), byte(1 + i%250)}),
		MAC:  net.HardwareAddr{0x02, 0xcc, 0, 0, byte(i >> 8), byte(i)},
	}
}

// buildCrowd makes one namespace look like many phones. All addresses stand on
// one link; an nft rule writes each customer's own MAC into the frames that
// leave. ARP is not needed: both sides know their neighbours for good, which
// also keeps the crowd out of the kernel's neighbour limits.
func (l *Lab) buildCrowd() error {
	hwaddr := net.HardwareAddr{0x02, 0xcc, 0xff, 0, 0, 1}
	if err := l.joinGateway("crowd", crowdPort, nil, hwaddr); err != nil {
		return err
	}
	if err := l.bridgePort(crowdPort); err != nil {
		return err
	}
	err := l.spaces["gateway"].do(func() error {
		br, err := netlink.LinkByName(lanBridge)
		if err != nil {
			return err
		}
		for i := range l.opts.Crowd {
			c := Member(i)
			if err := setNeighbour(br, c.IPv4, c.MAC); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	gatewayMAC, err := net.ParseMAC(l.Info.Hosts["gateway"].MAC)
	if err != nil {
		return err
	}
	err = l.spaces["crowd"].do(func() error {
		link, err := netlink.LinkByName(phoneLink)
		if err != nil {
			return err
		}
		addrs := make([]netip.Prefix, l.opts.Crowd)
		for i := range addrs {
			addrs[i] = netip.PrefixFrom(Member(i).IPv4, lanBits(l.opts.Phones, l.opts.Crowd))
		}
		if err := setAddresses(link, addrs...); err != nil {
			return err
		}
		if err := setNeighbour(link, gatewayLAN4, gatewayMAC); err != nil {
			return err
		}
		return addRoute(link, netip.PrefixFrom(netip.IPv4Unspecified(), 0), gatewayLAN4)
	})
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table netdev crowd {\n\tmap macs {\n\t\ttype ipv4_addr : ether_addr\n\t\telements = {\n")
	for i := range l.opts.Crowd {
		c := Member(i)
		fmt.Fprintf(&b, "\t\t\t%s : %s,\n", c.IPv4, c.MAC)
	}
	fmt.Fprintf(&b, "\t\t}\n\t}\n"+
		"\tchain out {\n\t\ttype filter hook egress device %[1]s priority 0;\n\t\tether saddr set ip saddr map @macs;\n\t}\n"+
		// Frames for a customer's MAC are not for this link's own; take them all.
		"\tchain in {\n\t\ttype filter hook ingress device %[1]s priority 0;\n\t\tmeta pkttype set host;\n\t}\n}\n", phoneLink)
	return l.NFT("crowd", b.String())
}

func setNeighbour(link netlink.Link, ip netip.Addr, mac net.HardwareAddr) error {
	n := &netlink.Neigh{
		LinkIndex: link.Attrs().Index, IP: ip.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT}
	if err := netlink.NeighSet(n); err != nil {
		return fmt.Errorf("setting neighbour %s: %w", ip, err)
	}
	return nil
}
