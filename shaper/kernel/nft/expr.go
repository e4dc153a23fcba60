package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// An Expr is one expression of a rule, or several in order. Expressions work
// on registers and stop the rule when they do not match. The comments show the
// line that nft --debug=netlink prints, or the nft statement.
//
// It is one word, because rules are made of hundreds of calls that pass it on.
// Only the functions of this package make one.
type Expr struct{ *buffer }

// Seq joins expressions into one.
func Seq(exprs ...Expr) Expr {
	all := Expr{new(buffer)}
	for _, e := range exprs {
		all.b = append(all.b, e.b...)
		all.err = errors.Join(all.err, e.err)
	}
	return all
}

func expr(name string, data func(w *buffer)) Expr {
	var w buffer
	elem := w.nest(1)
	w.str(1, name)
	d := w.nest(2)
	data(&w)
	w.end(d)
	w.end(elem)
	return Expr{&w}
}

// A Reg is a register of 16 bytes; [R32] names the 4-byte ones, which overlay
// them: R1 is R32(0) to R32(3).
type Reg uint32

const (
	R1 Reg = 1
	R2 Reg = 2
	R3 Reg = 3
	R4 Reg = 4
)

// R32 is the 4-byte register i (0 to 15). The parts of a concatenated key lie
// in consecutive ones: R32(0) is where a key at R1 begins.
func R32(i int) Reg { return Reg(8 + i) }

// A MetaKey is a property of a packet.
type MetaKey uint32

const (
	MetaLen      MetaKey = 0
	MetaProtocol MetaKey = 1 // ethertype, 2 bytes, network order
	MetaPriority MetaKey = 2 // classid of the qdisc class, 4 bytes, host order
	MetaMark     MetaKey = 3 // 4 bytes, host order
	MetaIIF      MetaKey = 4 // 4 bytes, host order
	MetaOIF      MetaKey = 5
	MetaIIFName  MetaKey = 6 // 16 bytes, zero padded
	MetaOIFName  MetaKey = 7
	MetaIIFType  MetaKey = 8  // ARPHRD number, 2 bytes, host order
	MetaNFProto  MetaKey = 15 // 1 byte: 2 IPv4, 10 IPv6
	MetaL4Proto  MetaKey = 16 // 1 byte
	MetaPktType  MetaKey = 19 // 1 byte: 0 host (unicast), 1 broadcast, 2 multicast
)

// Meta loads a property: [ meta load mark => reg 1 ].
func Meta(key MetaKey, to Reg) Expr {
	return expr("meta", func(w *buffer) {
		w.put32(2, uint32(key))
		w.put32(1, uint32(to))
	})
}

// SetMeta sets mark, priority or pkttype: [ meta set priority with reg 1 ].
func SetMeta(key MetaKey, from Reg) Expr {
	return expr("meta", func(w *buffer) {
		w.put32(2, uint32(key))
		w.put32(3, uint32(from))
	})
}

// A CTKey is a property of a packet's conntrack entry.
type CTKey uint32

const (
	CTKeyState     CTKey = 0 // bits, host order: see StateNew
	CTKeyDirection CTKey = 1 // 1 byte: 0 original, 1 reply
	CTKeyStatus    CTKey = 2 // bits, host order: see StatusDNAT
	CTKeyMark      CTKey = 3 // 4 bytes, host order
)

// Bits of ct state and ct status.
const (
	StateInvalid     uint32 = 1
	StateEstablished uint32 = 2
	StateRelated     uint32 = 4
	StateNew         uint32 = 8
	StateUntracked   uint32 = 64

	StatusSNAT uint32 = 16
	StatusDNAT uint32 = 32
)

// CT loads a property of the entry: [ ct load mark => reg 1 ]. It does not
// match a packet without an entry (except for state).
func CT(key CTKey, to Reg) Expr {
	return expr("ct", func(w *buffer) {
		w.put32(2, uint32(key))
		w.put32(1, uint32(to))
	})
}

// SetCT sets the entry's mark: [ ct set mark with reg 1 ].
func SetCT(key CTKey, from Reg) Expr {
	return expr("ct", func(w *buffer) {
		w.put32(2, uint32(key))
		w.put32(4, uint32(from))
	})
}

// A Base is the header that a payload offset counts from.
type Base uint32

const (
	LinkHeader      Base = 0
	NetworkHeader   Base = 1
	TransportHeader Base = 2
)

// Payload loads bytes of the packet:
// [ payload load 4b @ network header + 12 => reg 1 ].
func Payload(base Base, offset, length int, to Reg) Expr {
	return expr("payload", func(w *buffer) {
		w.put32(1, uint32(to))
		w.put32(2, uint32(base))
		w.put32(3, uint32(offset))
		w.put32(4, uint32(length))
	})
}

// A CmpOp compares byte strings, so order is meaningful in network order only.
type CmpOp uint32

const (
	Eq  CmpOp = 0
	Neq CmpOp = 1
	Lt  CmpOp = 2
	Lte CmpOp = 3
	Gt  CmpOp = 4
	Gte CmpOp = 5
)

// Cmp matches if the register compares so with data: [ cmp eq reg 1 0x... ].
func Cmp(op CmpOp, r Reg, data []byte) Expr {
	return expr("cmp", func(w *buffer) {
		w.put32(1, uint32(r))
		w.put32(2, uint32(op))
		w.value(3, data)
	})
}

// Bitwise sets to = (from & mask) ^ xor; mask and xor are equally long:
// [ bitwise reg 1 = ( reg 1 & 0x... ) ^ 0x... ].
func Bitwise(from, to Reg, mask, xor []byte) Expr {
	if len(mask) != len(xor) {
		return Expr{&buffer{err: fmt.Errorf("bitwise mask of %d bytes, xor of %d", len(mask), len(xor))}}
	}
	return expr("bitwise", func(w *buffer) {
		w.put32(1, uint32(from))
		w.put32(2, uint32(to))
		w.put32(3, uint32(len(mask)))
		w.value(4, mask)
		w.value(5, xor)
	})
}

// Lookup matches if the key at r is in the set: [ lookup reg 1 set live ].
func Lookup(set string, r Reg) Expr {
	return expr("lookup", func(w *buffer) {
		w.str(1, set)
		w.put32(2, uint32(r))
	})
}

// LookupNot matches if the key is not in the set:
// [ lookup reg 1 set live 0x1 ].
func LookupNot(set string, r Reg) Expr {
	return expr("lookup", func(w *buffer) {
		w.str(1, set)
		w.put32(2, uint32(r))
		w.put32(5, 1)
	})
}

// Map loads the map's value for the key at from, and does not match without
// one: [ lookup reg 1 set sub dreg 1 ].
func Map(set string, from, to Reg) Expr {
	return expr("lookup", func(w *buffer) {
		w.str(1, set)
		w.put32(2, uint32(from))
		w.put32(3, uint32(to))
	})
}

// Immediate loads data: [ immediate reg 1 0x... ].
func Immediate(to Reg, data []byte) Expr {
	return expr("immediate", func(w *buffer) {
		w.put32(1, uint32(to))
		w.value(2, data)
	})
}

func verdict(code int32, chain string) Expr {
	return expr("immediate", func(w *buffer) {
		w.put32(1, 0)
		data := w.nest(2)
		v := w.nest(2)
		w.put32(1, uint32(code))
		if chain != "" {
			w.str(2, chain)
		}
		w.end(v)
		w.end(data)
	})
}

// Drop drops the packet, whatever later chains say.
func Drop() Expr { return verdict(0, "") }

// Accept ends this base chain; later chains still see the packet.
func Accept() Expr { return verdict(1, "") }

// Jump continues in a regular chain and comes back: jump walled.
func Jump(chain string) Expr { return verdict(-3, chain) }

// Goto continues in a regular chain and does not come back.
func Goto(chain string) Expr { return verdict(-4, chain) }

// Return goes back to the calling chain; in a base chain it applies the policy.
func Return() Expr { return verdict(-5, "") }

// RejectTCPReset answers with a TCP reset; the packet must be TCP:
// reject with tcp reset.
func RejectTCPReset() Expr { return reject(1, 0) }

// An ICMPX is an unreachable code for both address families.
type ICMPX uint8

const (
	NoRoute         ICMPX = 0
	PortUnreachable ICMPX = 1
	HostUnreachable ICMPX = 2
	AdminProhibited ICMPX = 3
)

// Reject answers with ICMP or ICMPv6: reject with icmpx type admin-prohibited.
func Reject(code ICMPX) Expr { return reject(2, uint8(code)) }

func reject(typ uint32, code uint8) Expr {
	return expr("reject", func(w *buffer) {
		w.put32(1, typ)
		w.put8(2, code)
	})
}

// Redirect sends the packet to this machine, at a port: redirect to :8080. In
// a NAT chain at prerouting; the packet must be TCP or UDP. Uses R1.
func Redirect(port uint16) Expr {
	return Seq(
		Immediate(R1, Net16(port)),
		expr("redir", func(w *buffer) { w.put32(1, uint32(R1)) }),
	)
}

// Masquerade rewrites the source address to the outgoing interface's. In a NAT
// chain at postrouting: masquerade.
func Masquerade() Expr { return expr("masq", func(*buffer) {}) }

// Object applies a named object: quota name "x", limit name "x", counter name
// "x". Whether it matches is the object's matter (a counter always does).
func Object(typ ObjectType, name string) Expr {
	return expr("objref", func(w *buffer) {
		w.put32(1, uint32(typ))
		w.str(2, name)
	})
}

// ObjectMap applies the object that the object map has for the key at r, and
// does not match without one: [ objref sreg 1 set cap ], as in
// quota name ct mark map @cap.
func ObjectMap(set string, r Reg) Expr {
	return expr("objref", func(w *buffer) {
		w.put32(3, uint32(r))
		w.str(4, set)
	})
}

const (
	limitPackets = 0
	limitBytes   = 1
)

func (w *buffer) limit(rate uint64, burst uint32, typ uint32, over bool) {
	var flags uint32
	if over {
		flags = 1
	}
	w.put64(1, rate)
	w.put64(2, 1) // per second
	w.put32(3, burst)
	w.put32(4, typ)
	w.put32(5, flags)
}

// LimitBytes matches within a rate in bytes per second, or beyond it:
// limit rate over 125000 bytes/second burst 16000 bytes.
func LimitBytes(rate uint64, burst uint32, over bool) Expr {
	return expr("limit", func(w *buffer) { w.limit(rate, burst, limitBytes, over) })
}

// LimitPackets matches within a rate in packets per second, or beyond it:
// limit rate 10/second burst 5 packets.
func LimitPackets(rate uint64, burst uint32, over bool) Expr {
	return expr("limit", func(w *buffer) { w.limit(rate, burst, limitPackets, over) })
}

// Counter counts what the rule matches up to here: counter.
func Counter() Expr {
	return expr("counter", func(w *buffer) {
		w.put64(1, 0)
		w.put64(2, 0)
	})
}

// Flags of Fib: what is looked up.
const (
	FibSaddr uint32 = 1
	FibDaddr uint32 = 2
	FibMark  uint32 = 4
	FibIIF   uint32 = 8
	FibOIF   uint32 = 16
)

// Fib loads the interface of the route for an address:
// [ fib saddr . iif oif => reg 1 ], 4 bytes in host order, 0 without a route.
func Fib(flags uint32, to Reg) Expr {
	return expr("fib", func(w *buffer) {
		w.put32(3, flags)
		w.put32(2, 1) // NFT_FIB_RESULT_OIF
		w.put32(1, uint32(to))
	})
}

// AddToSet adds the key at r to a Dynamic set and leaves one that is there:
// add @seen { ... timeout 10s }. A zero timeout means the set's. The optional
// expression (a limit or counter) is kept per element and decides the match;
// without it, and for elements that were added without it, the rule goes on
// unless the set is full.
func AddToSet(set string, r Reg, timeout time.Duration, each ...Expr) Expr {
	return dynset(0, set, r, timeout, each)
}

// UpdateSet is AddToSet that restarts the timeout of one that is there:
// update @seen { ether saddr limit rate over 10/second }.
func UpdateSet(set string, r Reg, timeout time.Duration, each ...Expr) Expr {
	return dynset(1, set, r, timeout, each)
}

func dynset(op uint32, set string, r Reg, timeout time.Duration, each []Expr) Expr {
	if len(each) > 1 {
		return Expr{&buffer{err: fmt.Errorf("%d expressions per element of %s, want at most 1", len(each), set)}}
	}
	return expr("dynset", func(w *buffer) {
		w.put32(4, uint32(r))
		w.put32(3, op)
		w.str(1, set)
		if timeout > 0 {
			w.put64(6, milliseconds(timeout))
		}
		for _, e := range each {
			if e.err != nil {
				w.fail(e.err)
				return
			}
			// An Expr is a list entry; the attribute here holds its content.
			if align4(int(binary.NativeEndian.Uint16(e.b))) != len(e.b) {
				w.fail(fmt.Errorf("several expressions per element of %s", set))
				return
			}
			start := w.nest(7)
			w.b = append(w.b, e.b[4:]...)
			w.end(start)
		}
	})
}
