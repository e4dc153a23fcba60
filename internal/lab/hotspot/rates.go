package hotspot

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"zonegate/shaper/mikrotik/simros"
)

// A menuReader is the simulated router as rates asks it.
type menuReader interface {
	Print(path string) []map[string]string
}

var _ menuReader = (*simros.Router)(nil)

// queues is the router's queueing as it is now.
type queues struct {
	simple, tree, mangle []map[string]string
	pcq                  map[string]uint64 // by the name of the queue type
	lists                map[string][]string
}

func readQueues(r menuReader) queues {
	q := queues{
		simple: r.Print("/queue/simple"), tree: r.Print("/queue/tree"), mangle: r.Print("/ip/firewall/mangle"),
		pcq: make(map[string]uint64), lists: make(map[string][]string),
	}
	for _, t := range r.Print("/queue/type") {
		q.pcq[t["name"]] = bits(t["pcq-rate"])
	}
	for _, e := range r.Print("/ip/firewall/address-list") {
		if e["disabled"] != "true" {
			q.lists[e["list"]] = append(q.lists[e["list"]], e["address"])
		}
	}
	return q
}

// of is what the queues let an address have: of the first simple queue that
// takes it and those inside, and of the tree's by its packet marks, whichever
// is less.
func (q queues) of(addr netip.Addr) rates {
	var r rates
	parent := "none"
	for depth := 0; depth < 8; depth++ {
		i := slices.IndexFunc(q.simple, func(s map[string]string) bool {
			return s["disabled"] != "true" && s["parent"] == parent && takes(s["target"], addr)
		})
		if i < 0 {
			break
		}
		up, down, _ := strings.Cut(q.simple[i]["max-limit"], "/")
		r = rates{less(r.up, bits(up)), less(r.down, bits(down))}
		parent = q.simple[i]["name"]
	}
	return rates{less(r.up, q.marked(addr, "src-address-list")), less(r.down, q.marked(addr, "dst-address-list"))}
}

// takes says whether a simple queue is for an address. One for an interface,
// or without a target, is for all.
func takes(target string, addr netip.Addr) bool {
	for part := range strings.SplitSeq(target, ",") {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			p = netip.PrefixFrom(addr, 0)
			if a, err := netip.ParseAddr(part); err == nil {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// marked is the rate of the PCQ queue that the address gets from the first
// rule that marks its packets by an address list.
func (q queues) marked(addr netip.Addr, side string) uint64 {
	for _, m := range q.mangle {
		if m["disabled"] == "true" || m["action"] != "mark-packet" || m[side] == "" || !slices.Contains(q.lists[m[side]], addr.String()) {
			continue
		}
		for _, t := range q.tree {
			if t["disabled"] != "true" && t["packet-mark"] == m["new-packet-mark"] {
				return q.pcq[t["queue"]]
			}
		}
	}
	return 0
}

// less is the smaller of two rates of which zero is no bound.
func less(a, b uint64) uint64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// bits reads a rate as the router prints it: digits, with k or M for thousands
// and millions.
func bits(s string) uint64 {
	unit := uint64(1)
	if n := len(s) - 1; n > 0 {
		switch s[n] {
		case 'k', 'K':
			s, unit = s[:n], 1e3
		case 'M':
			s, unit = s[:n], 1e6
		case 'G':
			s, unit = s[:n], 1e9
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n * unit
}
