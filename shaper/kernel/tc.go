package kernel

import (
	"encoding/binary"
	"math"

	"zonegate/shaper"
)

// Traffic control messages, as in linux/rtnetlink.h and linux/pkt_sched.h.
// Everything in them is in host order.
const (
	rtmNewQdisc  = 36
	rtmDelQdisc  = 37
	rtmGetQdisc  = 38
	rtmNewTClass = 40
	rtmDelTClass = 41
	rtmGetTClass = 42

	flagReplace = 0x100
	flagExcl    = 0x200
	flagCreate  = 0x400
	flagEcho    = 0x8

	tcaKind    = 1
	tcaOptions = 2
	tcaStats   = 3
	tcaStats2  = 7

	rootHandle = 0xffffffff // TC_H_ROOT

	htbParms  = 1
	htbInit   = 2
	htbRate64 = 6
	htbCeil64 = 7

	tbfParms  = 1
	tbfRate64 = 4
	tbfBurst  = 6
	// tbfRate is so many bytes per second that a packet takes no time.
	tbfRate = 1e14

	linkEthernet = 1 // TC_LINKLAYER_ETHERNET: times come from the rate, without tables

	tcMsgLen  = 20
	htbOptLen = 44
	// tick is the unit of HTB's burst times in ns (PSCHED_SHIFT 6).
	tick = 64
)

// tc writes the head of a traffic control message.
func (r *requests) tc(typ, flags uint16, ifindex int, handle, parent uint32) {
	r.begin(typ, flags)
	r.put32(0) // family and padding
	r.put32(uint32(ifindex))
	r.put32(handle)
	r.put32(parent)
	r.put32(0)
}

// addRoot puts an HTB at the root of a device; packets without a class go to
// the class with minor number def.
func (r *requests) addRoot(ifindex int, major, def uint16) {
	r.tc(rtmNewQdisc, flagCreate|flagReplace, ifindex, uint32(major)<<16, rootHandle)
	r.attrString(tcaKind, "htb")
	o := r.nest(tcaOptions)
	var glob []byte
	for _, v := range []uint32{3, 10, uint32(def), 0, 0} { // version, r2q, default, debug, direct packets
		glob = binary.NativeEndian.AppendUint32(glob, v)
	}
	r.attr(htbInit, glob)
	r.unnest(o)
	r.end()
}

func (r *requests) delQdisc(ifindex int, handle, parent uint32) {
	r.tc(rtmDelQdisc, 0, ifindex, handle, parent)
	r.end()
}

// getRoot asks for the root qdisc. The kernel answers to those who ask for an
// echo only.
func (r *requests) getRoot(ifindex int) {
	r.tc(rtmGetQdisc, flagEcho, ifindex, 0, rootHandle)
	r.end()
}

// How setClass treats a class that exists, or does not.
const (
	classChange uint16 = 0                     // must exist
	classEnsure uint16 = flagCreate            // may exist
	classAdd    uint16 = flagCreate | flagExcl // must not exist
)

// setClass adds a class or changes one in place.
func (r *requests) setClass(ifindex int, major, minor, parent uint16, c shaper.Class, flags uint16) {
	m := uint32(major) << 16
	r.tc(rtmNewTClass, flags, ifindex, m|uint32(minor), m|uint32(parent))
	r.attrString(tcaKind, "htb")
	o := r.nest(tcaOptions)
	rate, ceil := c.Rate/8, c.Ceil/8 // bit/s to byte/s
	opt := make([]byte, 0, htbOptLen)
	for _, v := range []uint64{rate, ceil} {
		opt = append(opt, 0, linkEthernet) // cell_log, linklayer
		opt = append(opt, 0, 0, 0, 0, 0, 0)
		opt = binary.NativeEndian.AppendUint32(opt, uint32(min(v, math.MaxUint32)))
	}
	for _, v := range []uint32{ticks(rate, c.Burst), ticks(ceil, c.CeilBurst), c.Quantum, 0, 0} {
		opt = binary.NativeEndian.AppendUint32(opt, v) // ..., level, prio
	}
	r.attr(htbParms, opt)
	if rate > math.MaxUint32 {
		r.attr(htbRate64, binary.NativeEndian.AppendUint64(nil, rate))
	}
	if ceil > math.MaxUint32 {
		r.attr(htbCeil64, binary.NativeEndian.AppendUint64(nil, ceil))
	}
	r.unnest(o)
	r.end()
}

// ticks is the time that burst bytes take at rate bytes per second.
func ticks(rate uint64, burst uint32) uint32 {
	t := uint64(burst) * 1e9 / max(rate, 1) / tick
	return uint32(min(max(t, 1), math.MaxUint32))
}

func (r *requests) delClass(ifindex int, major, minor uint16) {
	// The echo is the class's last counters.
	r.tc(rtmDelTClass, flagEcho, ifindex, uint32(major)<<16|uint32(minor), 0)
	r.end()
}

func (r *requests) getClass(ifindex int, major, minor uint16) {
	r.tc(rtmGetTClass, flagEcho, ifindex, uint32(major)<<16|uint32(minor), 0)
	r.end()
}

func (r *requests) dumpClasses(ifindex int, major uint16) {
	// With a parent, the leaves' own classes are not listed.
	r.tc(rtmGetTClass, 0, ifindex, 0, uint32(major)<<16)
	r.end()
}

// A leafKind is a queue below a class.
type leafKind int

const (
	leafFQCoDel leafKind = iota // fair queueing with few flows
	leafTBF                     // first in, first out, and merged packets taken apart
	leafBFIFO                   // first in, first out
)

// addLeaf puts a queue below a class. One of the same kind that is there gets
// the parameters and keeps its packets.
func (r *requests) addLeaf(ifindex, mtu int, major, minor uint16, kind leafKind, c shaper.Class) {
	r.tc(rtmNewQdisc, flagCreate|flagReplace, ifindex, 0, uint32(major)<<16|uint32(minor))
	switch kind {
	case leafFQCoDel:
		r.attrString(tcaKind, "fq_codel")
		o := r.nest(tcaOptions)
		// The kernel's defaults (1024 flows, 32 MB) are for one queue on a
		// machine, not for two per customer.
		r.attr32(5, 64)                       // flows
		r.attr32(2, 300)                      // limit, packets
		r.attr32(9, max(2*c.Queue, 256<<10))  // memory limit, bytes
		r.attr32(1, max(5000, longestNap(c))) // target, µs
		r.attr32(3, 100_000)                  // interval, µs
		r.attr32(6, 1514)                     // quantum
		r.attr32(4, 1)                        // ECN
		r.unnest(o)
	case leafTBF:
		// A token bucket whose tokens never run out, for the one thing that it
		// does besides: it takes merged packets apart. At a low rate one of
		// 64 KB is a second's worth, which spoils rates and shares.
		r.attrString(tcaKind, "tbf")
		o := r.nest(tcaOptions)
		opt := []byte{0, linkEthernet, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
		opt = append(opt, make([]byte, 12)...)      // no peak rate
		for _, v := range []uint32{c.Queue, 0, 0} { // limit, buffer, mtu
			opt = binary.NativeEndian.AppendUint32(opt, v)
		}
		r.attr(tbfParms, opt)
		r.attr(tbfRate64, binary.NativeEndian.AppendUint64(nil, tbfRate))
		r.attr32(tbfBurst, uint32(max(mtu+100, 2*1514)))
		r.unnest(o)
	case leafBFIFO:
		r.attrString(tcaKind, "bfifo")
		// Bytes, not packets: a merged packet counts for up to 45.
		r.attr32(tcaOptions, c.Queue)
	}
	r.end()
}

// longestNap is how long, in µs, one full packet takes: a target below that
// would drop from a queue of one.
func longestNap(c shaper.Class) uint32 {
	return uint32(1514 * 8 * 1_000_000 * 3 / 2 / max(c.Ceil, 8000))
}

// A qdisc is a queueing discipline that exists.
type qdisc struct {
	kind   string
	handle uint32
	def    uint32 // the default class of an HTB
}

func parseQdisc(body []byte) (q qdisc, ok bool) {
	if len(body) < tcMsgLen {
		return q, false
	}
	q.handle = binary.NativeEndian.Uint32(body[8:])
	attrs(body[tcMsgLen:], func(typ uint16, v []byte) {
		switch typ {
		case tcaKind:
			q.kind = cString(v)
		case tcaOptions:
			if q.kind != "htb" {
				return
			}
			attrs(v, func(typ uint16, v []byte) {
				if typ == htbInit && len(v) >= 12 {
					q.def = binary.NativeEndian.Uint32(v[8:])
				}
			})
		}
	})
	return q, q.kind != ""
}

// A counters is what a class has sent and holds.
type counters struct {
	bytes, packets  uint64 // sent; wire bytes with link headers, wire packets
	backlog, queued uint64 // waiting: bytes and packets
	drops           uint64
}

// octets are the layer-3 bytes that were sent on a link with headers of so
// many bytes.
func (c counters) octets(header uint64) uint64 { return c.bytes - min(c.bytes, header*c.packets) }

// waiting are the layer-3 bytes in the queue. Merged packets count one header.
func (c counters) waiting(header uint64) uint64 { return c.backlog - min(c.backlog, header*c.queued) }

// A class is an HTB class that exists.
type class struct {
	major, minor, parent uint16
	inner                bool
	rate, ceil           uint64 // bit/s
	quantum              uint32
	counters
}

func parseClass(body []byte) (c class, ok bool) {
	if len(body) < tcMsgLen {
		return c, false
	}
	handle := binary.NativeEndian.Uint32(body[8:])
	c.major, c.minor = uint16(handle>>16), uint16(handle)
	if p := binary.NativeEndian.Uint32(body[12:]); p != rootHandle {
		c.parent = uint16(p)
	}
	htb := false
	attrs(body[tcMsgLen:], func(typ uint16, v []byte) {
		switch typ {
		case tcaKind:
			htb = cString(v) == "htb"
		case tcaOptions:
			c.options(v)
		case tcaStats2:
			c.stats(v)
		}
	})
	return c, htb
}

func (c *class) options(b []byte) {
	attrs(b, func(typ uint16, v []byte) {
		switch {
		case typ == htbParms && len(v) >= htbOptLen:
			c.rate = uint64(binary.NativeEndian.Uint32(v[8:])) * 8
			c.ceil = uint64(binary.NativeEndian.Uint32(v[20:])) * 8
			c.quantum = binary.NativeEndian.Uint32(v[32:])
			c.inner = binary.NativeEndian.Uint32(v[36:]) > 0
		case typ == htbRate64 && len(v) >= 8:
			c.rate = binary.NativeEndian.Uint64(v) * 8
		case typ == htbCeil64 && len(v) >= 8:
			c.ceil = binary.NativeEndian.Uint64(v) * 8
		}
	})
}

// stats reads TCA_STATS2. Kernels before 4.20 or so have only 32 bits of
// packets: they wrap after some 400 GB of small packets in one session.
func (c *class) stats(b []byte) {
	attrs(b, func(typ uint16, v []byte) {
		switch {
		case typ == 1 && len(v) >= 12: // TCA_STATS_BASIC
			c.bytes = binary.NativeEndian.Uint64(v)
			c.packets = max(c.packets, uint64(binary.NativeEndian.Uint32(v[8:])))
		case typ == 3 && len(v) >= 12: // TCA_STATS_QUEUE
			c.queued = uint64(binary.NativeEndian.Uint32(v))
			c.backlog = uint64(binary.NativeEndian.Uint32(v[4:]))
			c.drops = uint64(binary.NativeEndian.Uint32(v[8:]))
		case typ == 8 && len(v) >= 8: // TCA_STATS_PKT64
			c.packets = binary.NativeEndian.Uint64(v)
		}
	})
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
