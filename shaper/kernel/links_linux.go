package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"zonegate/shaper"
)

// A link is a device that we shape on.
type link struct {
	name  string
	major uint16
	bits  uint64
	at    int // index in session.sent: 0 is the LAN

	index  int // 0: there is no such device now
	mtu    int
	header uint64 // bytes of link header that classes count
	ready  bool   // our HTB is its root, with all classes
}

func (s *Shaper) links() []*link { return append([]*link{s.lan}, s.wans...) }

// look finds the device again; changed says that it is another one than before.
func (l *link) look(h *netlink.Handle) (changed bool, err error) {
	dev, err := h.LinkByName(l.name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		changed = l.index != 0
		l.index, l.ready = 0, false
		return changed, fmt.Errorf("%s: %w", l.name, ErrNoDevice)
	}
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", l.name, err)
	}
	a := dev.Attrs()
	if a.Index != l.index {
		changed = l.index != 0
		l.index, l.ready = a.Index, false
	}
	l.mtu = a.MTU
	// Point-to-point devices (PPP, tun, modems) have no header when the qdisc
	// sees a packet.
	l.header = 0
	if a.EncapType == "ether" {
		l.header = 14
	}
	return changed, nil
}

// harmless are the qdiscs that only queue, and can be replaced.
var harmless = []string{"noqueue", "pfifo_fast", "pfifo", "bfifo", "mq", "fq", "fq_codel"}

// root reads the root qdisc of a link; kind is empty if there is none.
func (s *Shaper) root(l *link) (q qdisc, err error) {
	var r requests
	r.getRoot(l.index)
	errs, err := s.tc.do(&r, func(_ int, _ uint16, body []byte) {
		if got, ok := parseQdisc(body); ok {
			q = got
		}
	})
	if err == nil && errs[0] != unix.ENOENT {
		err = errs[0]
	}
	return q, err
}

// ours says whether a root qdisc is the one that we make.
func (q qdisc) ours(major uint16) bool {
	return q.kind == "htb" && q.handle == uint32(major)<<16 && q.def == uint32(localMinor)
}

// foreign says whether somebody else shapes with it. The kernel's own default
// has no handle.
func (q qdisc) foreign(major uint16) bool {
	return q.kind != "" && q.handle != 0 && !q.ours(major) && !slices.Contains(harmless, q.kind)
}

// prepareLink makes our HTB the root of a link, or adopts it. made says that
// it is new, so without customers' classes.
func (s *Shaper) prepareLink(l *link) (made bool, err error) {
	if _, err := l.look(s.route); err != nil {
		return false, err
	}
	if s.police {
		return false, nil
	}
	q, err := s.root(l)
	if err != nil {
		return false, fmt.Errorf("reading the qdisc of %s: %w", l.name, err)
	}
	if q.foreign(l.major) {
		l.ready = false
		return false, fmt.Errorf("%s has root qdisc %s: %w", l.name, q.kind, ErrForeignQdisc)
	}
	if q.ours(l.major) && l.ready {
		return false, nil
	}
	if !q.ours(l.major) {
		l.ready, made = false, true
		var r requests
		r.addRoot(l.index, l.major, localMinor)
		errs, err := s.tc.do(&r, nil)
		if err := first(errs, err); err != nil {
			if errors.Is(err, unix.ENOENT) {
				s.police = true
				s.log.Warn("maximum rates are policed, committed rates are not kept", "device", l.name, "error", ErrNoHTB)
				return false, nil
			}
			return false, fmt.Errorf("shaping %s: %w", l.name, err)
		}
	}
	if err := s.baseClasses(l); err != nil {
		return made, fmt.Errorf("making the base classes of %s: %w", l.name, err)
	}
	l.ready = true
	return made, nil
}

// baseClasses makes the classes that are always there.
func (s *Shaper) baseClasses(l *link) error {
	whole := shaper.Link(l.bits)
	local := shaper.Part(l.bits, 1)
	local.Rate = max(l.bits/20, 64_000)
	garden := shaper.Part(l.bits, 0.1)
	if s.conf.Garden != 0 {
		garden = shaper.Part(s.conf.Garden, 1)
	}
	var r requests
	for _, c := range []struct {
		minor, parent uint16
		class         shaper.Class
	}{{rootMinor, 0, whole}, {localMinor, rootMinor, local}, {gardenMinor, rootMinor, garden}} {
		r.setClass(l.index, l.major, c.minor, c.parent, c.class, classEnsure)
	}
	errs, err := s.tc.do(&r, nil)
	if err := first(errs, err); err != nil {
		return err
	}
	// A leaf that replaces an old one also tells which kinds this kernel has.
	for kind := s.leaf; kind <= leafBFIFO; kind++ {
		var r requests
		r.addLeaf(l.index, l.mtu, l.major, localMinor, kind, local)
		r.addLeaf(l.index, l.mtu, l.major, gardenMinor, kind, garden)
		errs, err := s.tc.do(&r, nil)
		if err = first(errs, err); !errors.Is(err, unix.ENOENT) {
			s.leaf = kind
			return err
		}
	}
	return err
}

// lanPrefixes are the prefixes of the LAN's own addresses and the configured
// ones, without link-local ones and without those inside another.
func (s *Shaper) lanPrefixes() ([]netip.Prefix, error) {
	all := slices.Clone(s.conf.Prefixes)
	if s.lan.index != 0 {
		addrs, err := s.route.AddrList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: s.lan.index}}, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("reading the addresses of %s: %w", s.lan.name, err)
		}
		for _, a := range addrs {
			ip, ok := netip.AddrFromSlice(a.IP)
			if !ok {
				continue
			}
			ones, _ := a.Mask.Size()
			all = append(all, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return outermost(all), nil
}

// outermost drops prefixes that are link-local, empty or inside another.
func outermost(all []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if p.IsValid() && p.Bits() > 0 && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsLoopback() {
			out = append(out, p.Masked())
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if c := out[i].Addr().Compare(out[j].Addr()); c != 0 {
			return c < 0
		}
		return out[i].Bits() < out[j].Bits()
	})
	kept := out[:0]
	for _, p := range out {
		if n := len(kept); n == 0 || !kept[n-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return slices.Clone(kept)
}

// isolate sets the isolated flag on the ports of the LAN bridge, and notes
// where that is not possible.
func (s *Shaper) isolate() {
	delete(s.findings, "isolation")
	if !s.conf.Isolate || s.lan.index == 0 {
		return
	}
	dev, err := s.route.LinkByIndex(s.lan.index)
	if err != nil {
		return // it has just gone; an event will bring us back
	}
	if dev.Type() != "bridge" {
		s.findings["isolation"] = s.lan.name + " is not a bridge: turn on client isolation in the access point"
		return
	}
	ports, err := s.route.LinkList()
	if err != nil {
		s.findings["isolation"] = fmt.Sprintf("the ports of %s cannot be read: %v", s.lan.name, err)
		return
	}
	for _, p := range ports {
		if p.Attrs().MasterIndex != s.lan.index {
			continue
		}
		// Setting it again would make an event, which brings us here.
		if info, err := s.route.LinkGetProtinfo(p); err == nil && info.Isolated {
			continue
		}
		if err := s.route.LinkSetIsolated(p, true); err != nil {
			s.findings["isolation"] = fmt.Sprintf("port %s cannot be isolated (%v): turn on client isolation in the access point", p.Attrs().Name, err)
		}
	}
}

// liberalSetting is a file below /proc/sys.
const liberalSetting = "net/netfilter/nf_conntrack_tcp_be_liberal"

// loosen has conntrack accept TCP packets outside the window that it has seen.
// When all tables are deleted, conntrack stops looking, and when ours is back
// it would call the answers of connections that went on in between invalid:
// these have no mark, so their payers would be cut off for good.
func (s *Shaper) loosen() {
	delete(s.findings, "conntrack")
	var err error = os.ErrNotExist
	if s.liberal != nil {
		_, err = s.liberal.WriteAt([]byte("1"), 0)
	}
	if err != nil {
		s.findings["conntrack"] = fmt.Sprintf("%s cannot be set to 1 (%v): connections may break when the firewall is restarted", liberalSetting, err)
	}
}

// prepare brings everything but the sessions to where it should be: devices,
// base classes, prefixes, routing rules, the table's skeleton. It does as much
// as it can.
func (s *Shaper) prepare() error {
	var errs []error
	var fresh []*link
	for _, l := range s.links() {
		made, err := s.prepareLink(l)
		if err != nil {
			errs = append(errs, err)
		}
		if made {
			fresh = append(fresh, l)
			s.forget(l)
		}
	}
	if names := s.offloaded(); len(names) > 0 {
		errs = append(errs, fmt.Errorf("%s: %w", strings.Join(names, ", "), ErrOffload))
	}
	s.isolate()
	s.loosen()
	prefixes, err := s.lanPrefixes()
	if err != nil {
		errs = append(errs, err)
		prefixes = s.prefixes
	}
	if err := s.closeRoutes(prefixes); err != nil {
		errs = append(errs, err)
	}
	if err := s.prepareTable(prefixes); err != nil {
		errs = append(errs, err)
	}
	for _, l := range fresh {
		if l.ready {
			if err := s.makeClasses(l, s.sessionList()); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// forget keeps what the classes of a link counted before they were lost.
func (s *Shaper) forget(l *link) {
	now := time.Now()
	for _, x := range s.sessions {
		x.forget(l.at)
		x.born = now
	}
}

func (x *session) forget(at int) {
	if at == 0 {
		x.base.Down += x.sent[at]
	} else {
		x.base.Up += x.sent[at]
	}
	x.sent[at], x.wait[at] = 0, 0
}

func (s *Shaper) sessionList() []*session {
	list := make([]*session, 0, len(s.sessions))
	for _, x := range s.sessions {
		list = append(list, x)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].minor < list[j].minor })
	return list
}
