package nft

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

var (
	// ErrUnknownOutcome means that the kernel's answer to a batch was lost
	// (ENOBUFS): it was applied entirely or not at all. Read the tables again.
	ErrUnknownOutcome = errors.New("the kernel's answer was lost, so the batch may or may not be applied: read the tables again")
	// ErrNoNFTables means that the kernel has no nf_tables.
	ErrNoNFTables = errors.New("the kernel has no nf_tables: install kmod-nft-core")
	// ErrNoPermission means that the process may not change the network
	// namespace that the connection is in.
	ErrNoPermission = errors.New("nftables needs CAP_NET_ADMIN in this network namespace")
	// ErrBusy means that the ruleset changed during every attempt to dump it.
	ErrBusy = errors.New("the ruleset changes faster than it can be read")

	errMalformed = errors.New("malformed netlink message")
)

// TableFlags are the flags of a table.
type TableFlags uint32

const (
	// Dormant takes the table's chains off the packet path.
	Dormant TableFlags = 1
	// Owner (Linux 5.12) reserves the table for the Conn that adds it: others
	// can neither change, flush nor delete it (EPERM). It is deleted when that
	// Conn closes, unless Persist is set as well.
	Owner TableFlags = 2
	// Persist (Linux 6.9) lets an owned table outlive its owner. Adding the
	// orphan again with Owner|Persist adopts it with everything in it.
	Persist TableFlags = 4
)

// A Table is a table to add.
type Table struct {
	Name  string
	Flags TableFlags
}

// ChainType is the type of a base chain.
type ChainType string

const (
	Filter ChainType = "filter"
	NAT    ChainType = "nat"
	Route  ChainType = "route"
)

// A Hook is where a base chain sees packets.
type Hook uint32

const (
	Prerouting  Hook = 0
	Input       Hook = 1
	Forward     Hook = 2
	Output      Hook = 3
	Postrouting Hook = 4
)

// A Policy is the verdict at the end of a base chain.
type Policy uint32

const (
	PolicyDrop   Policy = 0
	PolicyAccept Policy = 1
)

// A Chain is a chain to add. An empty Type makes a regular chain, to jump to;
// the remaining fields are then ignored. The zero Policy is drop.
type Chain struct {
	Table, Name string
	Type        ChainType
	Hook        Hook
	Priority    int32
	Policy      Policy
}

// A DataType is the type of a set key or of map data. The values are the type
// numbers that nft itself stores, so nft list ruleset prints sets readably.
type DataType uint32

const (
	TypeIPv4    DataType = 7  // ipv4_addr
	TypeIPv6    DataType = 8  // ipv6_addr
	TypeEther   DataType = 9  // ether_addr
	TypeProto   DataType = 12 // inet_proto
	TypePort    DataType = 13 // inet_service
	TypeMark    DataType = 19 // mark, host order
	TypeIfindex DataType = 20 // iface_index, host order
	TypeClassID DataType = 23 // classid, host order
	TypeIfname  DataType = 41 // ifname
)

// Len returns the length in bytes of a value of this type, 0 if unknown.
func (t DataType) Len() int {
	switch t {
	case TypeIPv4, TypeMark, TypeIfindex, TypeClassID:
		return 4
	case TypeIPv6, TypeIfname:
		return 16
	case TypeEther:
		return 6
	case TypeProto:
		return 1
	case TypePort:
		return 2
	}
	return 0
}

func (t DataType) hostOrder() bool {
	switch t {
	case TypeMark, TypeIfindex, TypeClassID, TypeIfname:
		return true
	}
	return false
}

// ObjectType is the kind of a stateful object.
type ObjectType uint32

const (
	ObjCounter ObjectType = 1
	ObjQuota   ObjectType = 2
	ObjLimit   ObjectType = 4
)

// A Set is a set, a map (Data set) or an object map (Object set). The same
// value is passed to [Batch.AddSet] and to the element functions.
type Set struct {
	Table, Name string
	// Key has one type, or several for a concatenation.
	Key    []DataType
	Data   DataType   // of a map
	Object ObjectType // of an object map
	// Interval sets hold ranges (see Element.KeyEnd). Keys of a single type in
	// host order cannot be ranged.
	Interval bool
	// Timeouts allows elements to time out. A set Timeout implies it.
	Timeouts bool
	// Timeout is the default for elements without one. 0 means that those stay.
	Timeout time.Duration
	// Dynamic lets rules add and update elements ([AddToSet], [UpdateSet]).
	Dynamic bool
	// Size bounds the number of elements. 0 means no bound, except that a
	// dynamic set then gets the kernel's 65535.
	Size uint32
}

// KeyLen is the length in bytes of a key: of a concatenation, each part is
// padded to four bytes.
func (s *Set) KeyLen() int {
	if len(s.Key) == 1 {
		return s.Key[0].Len()
	}
	n := 0
	for _, t := range s.Key {
		n += align4(t.Len())
	}
	return n
}

func (s *Set) concat() bool { return len(s.Key) > 1 }

// An Element is an element of a set or map.
type Element struct {
	Key []byte
	// KeyEnd is the last key of a range, included, in an Interval set. Nil is
	// a range of one.
	KeyEnd []byte
	// Data is the value in a map.
	Data []byte
	// Object is the name of the object in an object map.
	Object string
	// Timeout is the element's own timeout; 0 means the set's. It is rounded
	// up to whole milliseconds (the kernel's timer ticks may be 10 ms).
	Timeout time.Duration
	// Expires is, in dumps, how much of the timeout remains. It is not sent.
	Expires time.Duration
}

// Host32 is a register in host order: marks, classids, interface indexes.
func Host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// FromHost32 reads what [Host32] wrote; ok is false if b is not four bytes.
func FromHost32(b []byte) (v uint32, ok bool) {
	if len(b) != 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32(b), true
}

// Net16 is a 16-bit number as on the wire: ports, ethertypes.
func Net16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// HW is a MAC address as a key.
func HW(mac [6]byte) []byte { return mac[:] }

// Addr is an IPv4 (4 bytes) or IPv6 (16 bytes) address as a key.
// An IPv4-mapped IPv6 address gives 4 bytes.
func Addr(a netip.Addr) []byte { return a.Unmap().AsSlice() }

// PrefixRange returns the first and the last address of p, for Element.Key
// and Element.KeyEnd of an Interval set.
func PrefixRange(p netip.Prefix) (first, last []byte) {
	p = p.Masked()
	first = p.Addr().AsSlice()
	last = p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	return first, last
}

// Concat joins the parts of a concatenated key, each padded to four bytes.
func Concat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	return b
}

// A TableInfo is a table that exists.
type TableInfo struct {
	Table
	// Family is the nfproto number: 1 inet, 2 ip, 3 arp, 5 netdev, 7 bridge,
	// 10 ip6.
	Family uint8
	// Port is the netlink port of the owner, 0 without one.
	Port uint32
}

// A Quota is a quota object.
type Quota struct {
	Name string
	// Bytes is the limit. Consumed is what was counted, which the kernel
	// clamps to Bytes when it reports.
	Bytes, Consumed uint64
	// Over makes the object match packets beyond the limit (nft "over"),
	// otherwise it matches those within.
	Over bool
	// Depleted says that nothing is left. The object goes on counting what it
	// matches, so raising its limit would charge for what it stopped.
	Depleted bool
}

// A Limit is a byte-rate limit object. As a statement, "limit name" matches
// while within the rate, or beyond it with Over.
type Limit struct {
	Name string
	// Rate is in bytes per second.
	Rate uint64
	// Burst is in bytes.
	Burst uint32
	Over  bool
}
