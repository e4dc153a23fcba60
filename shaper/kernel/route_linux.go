package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The gate in the routing rules
//
// Deleting our table (fw4 flush, nft flush ruleset) must not open the gate. So
// forwarding from and to the LAN also asks for a packet mark bit that only our
// prerouting chain sets:
//
//	20: from all iif LAN fwmark 0/bit unreachable
//	20: from all to PREFIX iif WAN fwmark 0/bit unreachable
//
// The local table (priority 0) comes first, so the portal, the name server and
// DHCP still answer. Packets that the gateway sends itself, and reverse-path
// checks, come in from no device and match neither.

// ruleProtocol marks our rules (rtnetlink protocol numbers are a free choice
// above the registered ones).
const ruleProtocol = 0x7a

// fraUnreachable is FR_ACT_UNREACHABLE, a rule's action.
const fraUnreachable = 7

type routeRule struct {
	family int
	iif    string
	to     netip.Prefix // zero: any
}

// closeRoutes brings our rules to what the devices and prefixes need.
func (s *Shaper) closeRoutes(prefixes []netip.Prefix) error {
	want := map[routeRule]bool{
		{unix.AF_INET, s.conf.LAN, netip.Prefix{}}:  true,
		{unix.AF_INET6, s.conf.LAN, netip.Prefix{}}: true,
	}
	for _, p := range prefixes {
		family := unix.AF_INET6
		if p.Addr().Is4() {
			family = unix.AF_INET
		}
		for _, wan := range s.conf.WAN {
			want[routeRule{family, wan, p}] = true
		}
	}
	return s.setRules(want)
}

// setRules adds the rules that are wanted before it deletes others.
func (s *Shaper) setRules(want map[routeRule]bool) error {
	var errs []error
	var old []netlink.Rule
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := s.route.RuleList(family)
		if err != nil {
			if family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT) {
				delete(want, routeRule{family, s.conf.LAN, netip.Prefix{}})
				continue // a kernel without IPv6 forwards none
			}
			return fmt.Errorf("reading routing rules: %w", err)
		}
		for _, r := range list {
			if int(r.Protocol) != ruleProtocol {
				continue
			}
			key := routeRule{family: family, iif: r.IifName}
			if r.Dst != nil {
				key.to = prefixOf(r.Dst)
			}
			same := r.Priority == s.conf.RulePriority && r.Mark == 0 && r.Mask != nil && *r.Mask == s.conf.RouteBit
			if same && want[key] {
				delete(want, key)
				continue
			}
			r.Family = family
			old = append(old, r)
		}
	}
	for key := range want {
		err := s.route.RuleAdd(s.rule(key))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("adding the routing rule for %s: %w", key.iif, err))
		}
	}
	for _, r := range old {
		r.Type = fraUnreachable
		if err := s.route.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("deleting an old routing rule for %s: %w", r.IifName, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Shaper) rule(key routeRule) *netlink.Rule {
	r := netlink.NewRule()
	r.Family = key.family
	r.Priority = s.conf.RulePriority
	r.IifName = key.iif
	r.Mark = 0
	mask := s.conf.RouteBit
	r.Mask = &mask
	r.Type = fraUnreachable
	r.Protocol = ruleProtocol
	if key.to.IsValid() {
		r.Dst = &net.IPNet{IP: key.to.Addr().AsSlice(), Mask: net.CIDRMask(key.to.Bits(), key.to.Addr().BitLen())}
	}
	return r
}

func prefixOf(n *net.IPNet) netip.Prefix {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}
