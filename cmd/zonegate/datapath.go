package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/internal/doctor"
	"zonegate/shaper/kernel"
	"zonegate/shaper/kernel/nft"
)

func kernelConfig(cfg *config.Config) kernel.Config {
	n := cfg.Network
	return kernel.Config{
		LAN: n.LAN, WAN: n.WAN, LinkDown: n.LinkDown, LinkUp: n.LinkUp,
		PortalPort: cfg.Portal.Port, DNSPort: cfg.DNS.Port, Isolate: n.IsolateClients,
	}
}

// found is what the data path found, as the control API says it.
func found(ctx context.Context, s *kernel.Shaper) []control.Finding {
	list := []control.Finding{}
	for _, f := range s.Check(ctx) {
		list = append(list, finding(f.Serious, f.Subject, f.Problem, f.Fix))
	}
	return list
}

// dataPath is the kernel as the doctor asks for it.
type dataPath struct{ config *config.Config }

// Check has the running daemon examine the machine, because it knows more, or
// else does so itself.
func (d dataPath) Check(ctx context.Context) ([]doctor.Part, error) {
	return examined(ctx, d.config, func(f control.Facts) []control.Finding { return f.DataPath }, d.checkAlone)
}

// examined asks the running daemon what it found, or looks itself when there
// is none.
func examined(ctx context.Context, cfg *config.Config, of func(control.Facts) []control.Finding,
	alone func(context.Context) ([]control.Finding, error)) ([]doctor.Part, error) {
	var list []control.Finding
	c, err := control.Dial(ctx, cfg.ControlSocket)
	if err == nil {
		f, err := c.Facts(ctx)
		if err != nil {
			return nil, err
		}
		list = of(f)
	} else if list, err = alone(ctx); err != nil {
		return nil, err
	}
	var parts []doctor.Part
	for _, f := range list {
		p := doctor.Part{Subject: f.Subject, Finding: doctor.Finding{Status: doctor.Warning, Detail: f.Detail, Fix: f.Fix}}
		if f.Severity == "error" {
			p.Status = doctor.Failed
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (d dataPath) checkAlone(ctx context.Context) ([]control.Finding, error) {
	kc := kernelConfig(d.config)
	c, err := clock.New()
	if err != nil {
		return nil, err
	}
	kc.Clock = c
	s, err := kernel.New(kc)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return found(ctx, s), nil
}

// Table looks for the set of sessions that pass, in our table.
func (d dataPath) Table(context.Context) (bool, error) {
	c, err := nft.Dial()
	if err != nil {
		return false, err
	}
	defer c.Close()
	_, err = c.Elements("zonegate", "live")
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// Somewhere on the internet. Routes to it are looked up; nothing is sent.
var (
	outside4 = net.ParseIP("9.9.9.9")
	outside6 = net.ParseIP("2620:fe::fe")
)

// Leaks asks the kernel what it would do with a packet from the LAN that our
// table has not marked. Whatever it answers but "unreachable" is a leak that
// opens as soon as somebody deletes the table.
func (d dataPath) Leaks(context.Context) ([]string, error) {
	lan, err := netlink.LinkByName(d.config.Network.LAN)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil // nothing comes from it; another check says so
	}
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", d.config.Network.LAN, err)
	}
	var leaks []string
	for _, family := range []struct {
		name     string
		to, from net.IP
	}{
		{"IPv4", outside4, neighbour(lan)},
		{"IPv6", outside6, nil},
	} {
		routes, err := netlink.RouteGetWithOptions(family.to, &netlink.RouteGetOptions{Iif: lan.Attrs().Name, SrcAddr: family.from})
		closed := errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EACCES) ||
			errors.Is(err, unix.EAFNOSUPPORT)
		for _, r := range routes {
			// IPv6 may give the route with its error in place of a failure.
			closed = closed || r.Type == unix.RTN_UNREACHABLE
		}
		switch {
		case closed:
		case err != nil:
			return nil, fmt.Errorf("asking for an %s route from %s: %w", family.name, lan.Attrs().Name, err)
		default:
			leaks = append(leaks, family.name)
		}
	}
	return leaks, nil
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
