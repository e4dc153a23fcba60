package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// lookAtLAN is how often the addresses of the LAN are looked at. They change
// when the router boots and when somebody sets it up anew.
const lookAtLAN = 3 * time.Second

// lanAddresses returns the addresses of an interface, IPv4 first; nil when it
// is not there.
func lanAddresses(name string) []netip.Addr {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	list, err := i.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := prefix.Addr().Unmap()
		if addr.IsLinkLocalUnicast() && addr.Is6() {
			addr = addr.WithZone(name)
		}
		out = append(out, addr)
	}
	// By length, then by value, which is the order of netip.
	sort.Slice(out, func(i, j int) bool { return out[i].Less(out[j]) })
	return slices.Compact(out)
}

// waitForLAN returns the addresses of the LAN as soon as it has an IPv4 one,
// or nil when the context is done.
func (p *program) waitForLAN(ctx context.Context) []netip.Addr {
	for said := false; ; {
		addrs := lanAddresses(p.config.Network.LAN)
		if slices.ContainsFunc(addrs, netip.Addr.Is4) {
			return addrs
		}
		if !said {
			said = true
			p.log.Warn("the LAN has no IPv4 address yet; customers see no portal until it has", "lan", p.config.Network.LAN)
		}
		if wait(ctx, lookAtLAN) != nil {
			return nil
		}
	}
}

// watchLAN returns when the LAN's addresses are others, and lasting ones, or
// the context is done. A LAN that lost all of them keeps its servers: it is
// being set up.
func (p *program) watchLAN(ctx context.Context, have []netip.Addr) {
	for wait(ctx, lookAtLAN) == nil {
		now := lanAddresses(p.config.Network.LAN)
		if slices.ContainsFunc(now, netip.Addr.Is4) && !slices.Equal(now, have) {
			p.log.Info("the LAN's addresses changed")
			return
		}
	}
}
