package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zonegate/internal/config"
	"zonegate/internal/doctor"
	"zonegate/shaper/kernel/nft"
)

// dataPath is the kernel as the doctor asks for it: by what it would do, not
// by what this program believes to have told it.
type dataPath struct{ config *config.Config }

func (d dataPath) Check(context.Context) ([]doctor.Problem, error) {
	var problems []doctor.Problem
	for _, check := range []func() ([]doctor.Problem, error){d.table, d.gate, d.shapers} {
		found, err := check()
		if err != nil {
			return nil, err
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

// The table and its set of sessions that pass.
const ownTable, liveSet = "zonegate", "live"

func (d dataPath) table() ([]doctor.Problem, error) {
	c, err := nft.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	switch _, err := c.Elements(ownTable, liveSet); {
	case errors.Is(err, unix.ENOENT):
		return []doctor.Problem{{
			Topic: doctor.TopicTable, Severe: true, Detail: "table inet " + ownTable + " is not there",
			Fix: "wait a second and look again; if it stays away, something else deletes it (a firewall that is restarted all the time)",
		}}, nil
	case err != nil:
		return nil, err
	}
	return nil, nil
}

// Somewhere on the internet. Routes to it are looked up; nothing is sent.
var (
	outside4 = net.ParseIP("9.9.9.9")
	outside6 = net.ParseIP("2620:fe::fe")
)

// gate asks the kernel what it would do with a packet from the LAN that our
// table has not marked. Whatever it answers but "unreachable" is a leak that
// opens as soon as somebody deletes the table.
func (d dataPath) gate() ([]doctor.Problem, error) {
	lan, err := netlink.LinkByName(d.config.Network.LAN)
	if err != nil {
		return nil, nil // said by another check
	}
	var problems []doctor.Problem
	for _, family := range []struct {
		name string
		to   net.IP
		from net.IP
	}{
		{"IPv4", outside4, neighbour(lan)},
		{"IPv6", outside6, nil},
	} {
		o := &netlink.RouteGetOptions{Iif: lan.Attrs().Name, SrcAddr: family.from}
		routes, err := netlink.RouteGetWithOptions(family.to, o)
		closed := errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EACCES) ||
			errors.Is(err, unix.EAFNOSUPPORT)
		for _, r := range routes {
			// IPv6 gives the route with its error in place of a failure.
			closed = closed || r.Type == unix.RTN_UNREACHABLE
		}
		switch {
		case closed:
		case err != nil:
			return nil, fmt.Errorf("asking for an %s route from %s: %w", family.name, lan.Attrs().Name, err)
		default:
			problems = append(problems, doctor.Problem{
				Topic: doctor.TopicGate, Severe: true,
				Detail: family.name + " from " + lan.Attrs().Name + " would be routed without our table's mark",
				Fix:    "start the daemon; if it runs, see that no routing rule stands before ours: ip rule; ip -6 rule",
			})
		}
	}
	return problems, nil
}

// neighbour returns an IPv4 address that a customer on the link could have:
// the kernel refuses to route for its own.
func neighbour(l netlink.Link) net.IP {
	list, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return nil
	}
	for _, a := range list {
		own, ok := netip.AddrFromSlice(a.IP.To4())
		if !ok {
			continue
		}
		for _, other := range []netip.Addr{own.Next(), own.Prev()} {
			if a.IPNet.Contains(other.AsSlice()) {
				return other.AsSlice()
			}
		}
	}
	return nil
}

// harmless are root qdiscs that only order packets: the kernel's defaults.
var harmless = map[string]bool{
	"noqueue": true, "pfifo_fast": true, "pfifo": true, "mq": true, "fq_codel": true, "fq": true, "clsact": true, "ingress": true,
}

// shapers finds root qdiscs that hold a rate and are not ours.
func (d dataPath) shapers() ([]doctor.Problem, error) {
	var problems []doctor.Problem
	for i, name := range append([]string{d.config.Network.LAN}, d.config.Network.WAN...) {
		l, err := netlink.LinkByName(name)
		if err != nil {
			continue // said by another check
		}
		list, err := netlink.QdiscList(l)
		if err != nil {
			return nil, fmt.Errorf("reading the qdiscs of %s: %w", name, err)
		}
		// The daemon's handles are 1: on the LAN and 2: on the others.
		own := netlink.MakeHandle(1, 0)
		if i > 0 {
			own = netlink.MakeHandle(2, 0)
		}
		for _, q := range list {
			a := q.Attrs()
			if a.Parent != netlink.HANDLE_ROOT || harmless[q.Type()] || q.Type() == "htb" && a.Handle == own {
				continue
			}
			problems = append(problems, doctor.Problem{
				Topic: doctor.TopicShapers, Severe: true, Detail: name + " is shaped by " + q.Type() + " of another program",
				Fix: "turn it off for " + name + " (SQM, qosify or a script); tc qdisc show dev " + name + " shows it",
			})
		}
	}
	return problems, nil
}
