// Package nft speaks to the nf_tables and conntrack subsystems of the kernel
// over NETLINK_NETFILTER: atomic batches of tables, chains, rules, sets, maps,
// object maps, quota and limit objects; dumps of them; their events; and
// conntrack entries by mark.
//
// Everything is in family inet. It knows nothing of customers, plans or
// sessions: that is the caller's. Encoding and decoding are pure and compile
// everywhere; [Conn] and [Monitor] are Linux only.
//
// Byte order: netlink headers are in host order, the kernel's own attributes
// (flags, timeouts, quota bytes) are big-endian, and the contents of registers
// and set keys are whatever the packet path puts there: marks and classids in
// host order ([Host32]), addresses, MACs and ports as on the wire.
//
// The attribute numbers and layouts are those of linux/netfilter/nf_tables.h,
// nfnetlink.h and nfnetlink_conntrack.h.
package nft
