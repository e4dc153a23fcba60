package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sort"
	"time"

	"zonegate/internal/config"
)

// lookAtLAN is how often the addresses of this machine are looked at. They
// change when the router boots and when somebody sets it up anew.
const lookAtLAN = 3 * time.Second

// lanAddresses returns the addresses of an interface, IPv4 first; nil when it
// is not there.
func lanAddresses(name string) []netip.Addr {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	return addressesOf(*i)
}

func addressesOf(i net.Interface) []netip.Addr {
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
			addr = addr.WithZone(i.Name)
		}
		out = append(out, addr)
	}
	return inOrder(out)
}

// inOrder sorts by length, then by value, which is the order of netip.
func inOrder(list []netip.Addr) []netip.Addr {
	sort.Slice(list, func(i, j int) bool { return list[i].Less(list[j]) })
	return slices.Compact(list)
}

// machineAddresses are all that this machine has, of interfaces that are up.
func machineAddresses() []netip.Addr {
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, i := range list {
		if i.Flags&net.FlagUp != 0 {
			out = append(out, addressesOf(i)...)
		}
	}
	return inOrder(out)
}

// nasAddresses are where NASes, and customers that they send, reach this
// machine now. An address of the configuration that it has not (yet) is left
// out. The unspecified ones stand for all that it has.
func nasAddresses(cfg *config.Config) []netip.Addr {
	have := machineAddresses()
	switch {
	case len(cfg.RADIUS.Listen) > 0:
	case cfg.Network.LAN != "":
		return lanAddresses(cfg.Network.LAN)
	case slices.ContainsFunc(have, netip.Addr.Is6):
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	default:
		return []netip.Addr{netip.IPv4Unspecified()}
	}
	return slices.DeleteFunc(inOrder(slices.Clone(cfg.RADIUS.Listen)), func(a netip.Addr) bool {
		return !slices.Contains(have, a)
	})
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
