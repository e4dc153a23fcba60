package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// The idioms below use R1 and leave the last value that they loaded in it.

// IIFName matches the name of the incoming interface: iifname "br-lan". A
// trailing * matches any ending: iifname "wlan*".
func IIFName(name string) Expr { return ifname(MetaIIFName, Eq, name) }

// OIFName matches the name of the outgoing interface: oifname "br-lan".
func OIFName(name string) Expr { return ifname(MetaOIFName, Eq, name) }

// NotIIFName matches every other interface: iifname != "br-lan".
func NotIIFName(name string) Expr { return ifname(MetaIIFName, Neq, name) }

// NotOIFName matches every other interface: oifname != "br-lan".
func NotOIFName(name string) Expr { return ifname(MetaOIFName, Neq, name) }

func ifname(key MetaKey, op CmpOp, name string) Expr {
	const size = 16 // IFNAMSIZ
	stem, wild := strings.CutSuffix(name, "*")
	if stem == "" || len(stem) >= size {
		return Expr{&buffer{err: fmt.Errorf("interface name %q", name)}}
	}
	data := []byte(stem)
	if !wild {
		data = append(data, make([]byte, size-len(data))...)
	}
	return Seq(Meta(key, R1), Cmp(op, R1, data))
}

// IfnameKey is an interface name as the key of a [TypeIfname] set.
func IfnameKey(name string) []byte {
	k := make([]byte, 16)
	copy(k[:15], name)
	return k
}

// Protocol numbers for L4Proto.
const (
	ICMP   uint8 = 1
	TCP    uint8 = 6
	UDP    uint8 = 17
	ICMPv6 uint8 = 58
)

// L4Proto matches the transport protocol: meta l4proto tcp.
func L4Proto(p uint8) Expr { return Seq(Meta(MetaL4Proto, R1), Cmp(Eq, R1, []byte{p})) }

// IsIPv4 matches IPv4 packets: meta nfproto ipv4.
func IsIPv4() Expr { return Seq(Meta(MetaNFProto, R1), Cmp(Eq, R1, []byte{2})) }

// IsIPv6 matches IPv6 packets: meta nfproto ipv6.
func IsIPv6() Expr { return Seq(Meta(MetaNFProto, R1), Cmp(Eq, R1, []byte{10})) }

// TCPDport matches TCP to a port: tcp dport 80.
func TCPDport(port uint16) Expr { return dport(TCP, port) }

// UDPDport matches UDP to a port: udp dport 53.
func UDPDport(port uint16) Expr { return dport(UDP, port) }

func dport(proto uint8, port uint16) Expr {
	return Seq(L4Proto(proto), LoadDport(R1), Cmp(Eq, R1, Net16(port)))
}

// LoadDport loads the destination port of TCP or UDP, 2 bytes; match L4Proto
// first: th dport.
func LoadDport(to Reg) Expr { return Payload(TransportHeader, 2, 2, to) }

// LoadEtherSaddr matches packets from Ethernet-like interfaces (which includes
// WiFi and bridges) and loads the source MAC, 6 bytes: ether saddr.
func LoadEtherSaddr(to Reg) Expr {
	const arphrdEther = 1
	return Seq(
		Meta(MetaIIFType, R1),
		Cmp(Eq, R1, binary.NativeEndian.AppendUint16(nil, arphrdEther)),
		Payload(LinkHeader, 6, 6, to),
	)
}

// LoadIPv4Saddr matches IPv4 and loads the source address: ip saddr.
func LoadIPv4Saddr(to Reg) Expr { return Seq(IsIPv4(), Payload(NetworkHeader, 12, 4, to)) }

// LoadIPv4Daddr matches IPv4 and loads the destination address: ip daddr.
func LoadIPv4Daddr(to Reg) Expr { return Seq(IsIPv4(), Payload(NetworkHeader, 16, 4, to)) }

// LoadIPv6Saddr matches IPv6 and loads the source address: ip6 saddr.
func LoadIPv6Saddr(to Reg) Expr { return Seq(IsIPv6(), Payload(NetworkHeader, 8, 16, to)) }

// LoadIPv6Daddr matches IPv6 and loads the destination address: ip6 daddr.
func LoadIPv6Daddr(to Reg) Expr { return Seq(IsIPv6(), Payload(NetworkHeader, 24, 16, to)) }

// Daddr matches a destination prefix of either family:
// ip daddr 192.0.2.0/24, ip6 daddr fe80::/10.
func Daddr(p netip.Prefix) Expr { return inPrefix(p, LoadIPv4Daddr, LoadIPv6Daddr) }

// Saddr matches a source prefix of either family: ip saddr 192.0.2.0/24.
func Saddr(p netip.Prefix) Expr { return inPrefix(p, LoadIPv4Saddr, LoadIPv6Saddr) }

func inPrefix(p netip.Prefix, load4, load6 func(Reg) Expr) Expr {
	if !p.IsValid() {
		return Expr{&buffer{err: fmt.Errorf("address prefix %v", p)}}
	}
	load := load6
	if p.Addr().Is4() {
		load = load4
	}
	first, last := PrefixRange(p)
	if p.IsSingleIP() {
		return Seq(load(R1), Cmp(Eq, R1, first))
	}
	mask := make([]byte, len(first))
	for i := range mask {
		mask[i] = ^(first[i] ^ last[i])
	}
	return Seq(load(R1), Bitwise(R1, R1, mask, make([]byte, len(mask))), Cmp(Eq, R1, first))
}

// MetaMarkIs matches the packet mark: meta mark 0x1.
func MetaMarkIs(v uint32) Expr { return Seq(Meta(MetaMark, R1), Cmp(Eq, R1, Host32(v))) }

// CTMarkIs matches the conntrack mark: ct mark 0x1.
func CTMarkIs(v uint32) Expr { return Seq(CT(CTKeyMark, R1), Cmp(Eq, R1, Host32(v))) }

// CTMarkIsNot matches every other conntrack mark: ct mark != 0x0.
func CTMarkIsNot(v uint32) Expr { return Seq(CT(CTKeyMark, R1), Cmp(Neq, R1, Host32(v))) }

// SetMetaMark sets the packet mark: meta mark set 0x1.
func SetMetaMark(v uint32) Expr { return Seq(Immediate(R1, Host32(v)), SetMeta(MetaMark, R1)) }

// SetCTMark sets the conntrack mark: ct mark set 0x1.
func SetCTMark(v uint32) Expr { return Seq(Immediate(R1, Host32(v)), SetCT(CTKeyMark, R1)) }

// CTState matches any of the states: ct state established,related.
func CTState(bits uint32) Expr { return ctBits(CTKeyState, bits) }

// CTStatus matches any of the status bits: ct status dnat.
func CTStatus(bits uint32) Expr { return ctBits(CTKeyStatus, bits) }

func ctBits(key CTKey, bits uint32) Expr {
	return Seq(CT(key, R1), Bitwise(R1, R1, Host32(bits), Host32(0)), Cmp(Neq, R1, Host32(0)))
}

// CTOriginal matches packets in the direction of the first: ct direction original.
func CTOriginal() Expr { return Seq(CT(CTKeyDirection, R1), Cmp(Eq, R1, []byte{0})) }

// CTReply matches packets in the other direction: ct direction reply.
func CTReply() Expr { return Seq(CT(CTKeyDirection, R1), Cmp(Eq, R1, []byte{1})) }

// Spoofed matches packets whose source address is not routed to the interface
// that they came from, IPv4 and IPv6: fib saddr . iif oif 0. That is what nft
// calls missing, whose one-byte result some big-endian kernels store amiss.
func Spoofed() Expr { return Seq(Fib(FibSaddr|FibIIF, R1), Cmp(Eq, R1, Host32(0))) }
