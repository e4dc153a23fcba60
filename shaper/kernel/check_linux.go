package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"zonegate/shaper"
	"zonegate/shaper/kernel/nft"
)

// ErrOffload means that flow offloading takes packets past us.
var ErrOffload = errors.New("flow offloading takes packets past every rate, cap and gate: turn off flow_offloading in the firewall's defaults")

// A Finding is something about this machine that keeps the data path from
// doing what it should.
type Finding struct {
	// Subject is what it is about: a device, a kernel feature, a setting.
	Subject string
	// Problem is what is wrong, Fix what to do about it: a sentence each.
	Problem, Fix string
	// Serious says that customers or strangers are treated wrongly now.
	Serious bool
}

// Check looks for what is wrong on this machine. It only reads. Call it on a
// thread of the network namespace that New was called in.
func (s *Shaper) Check(ctx context.Context) []Finding {
	var list []Finding
	add := func(serious bool, subject, problem, fix string) {
		list = append(list, Finding{Subject: subject, Problem: problem, Fix: fix, Serious: serious})
	}
	s.checkTable(add)
	htb, fair, known := probeQdiscs()
	switch {
	case known && !htb:
		add(true, "HTB", "The kernel cannot shape; only maximum rates are policed.", "Install kmod-sched-core.")
	case known && !fair:
		add(false, "fq_codel", "The kernel has no fair queue; one download delays the same customer's other traffic.", "Install kmod-sched (or a kernel with fq_codel).")
	}
	s.checkLinks(add)
	s.checkSettings(add)
	s.mu.Lock()
	for subject, note := range s.findings {
		add(false, subject, note+".", "Set this up by hand.")
	}
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		add(false, "check", "The check was interrupted.", "Run it again.")
	}
	return list
}

type adder func(serious bool, subject, problem, fix string)

func (s *Shaper) checkTable(add adder) {
	info, ok, err := s.present()
	switch {
	case err != nil:
		add(true, "nftables", fmt.Sprintf("The kernel's tables cannot be read: %v.", err), "Install kmod-nft-core.")
	case ok && info.Port != 0 && info.Port != s.nft.Port():
		// Another zonegate enforces, which is what a doctor usually finds.
	case !ok:
		var b nft.Batch
		s.skeleton(&b)
		if err := s.nft.Check(&b); err != nil {
			add(true, "nftables", fmt.Sprintf("The kernel does not take our table: %v.", err), "Install kmod-nft-core and kmod-nft-nat, or a newer firmware.")
		}
		if marks, err := s.nft.Marks(); err == nil && len(marks) > 0 {
			add(true, "conntrack marks", "Another program (mwan3, pbr, a VPN) marks connections.", "Turn it off for the zone: the whole conntrack mark belongs to zonegate.")
		}
	}
}

// probeQdiscs finds out which queueing disciplines this kernel has, in a
// network namespace of its own that goes with its thread. known is false where
// such a namespace cannot be made.
func probeQdiscs() (htb, fair, known bool) {
	aside(func() {
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			return
		}
		c, err := dialRTNL()
		if err != nil {
			return
		}
		defer c.Close()
		const lo = 1
		class := shaper.Link(1e6)
		try := func(r *requests) bool {
			errs, err := c.do(r, nil)
			return first(errs, err) == nil
		}
		var root, leaf requests
		root.addRoot(lo, majorDown, localMinor)
		root.setClass(lo, majorDown, rootMinor, 0, class, classAdd)
		leaf.addLeaf(lo, 1500, majorDown, rootMinor, leafFQCoDel, class)
		known = true
		htb = try(&root)
		fair = htb && try(&leaf)
	})
	return htb, fair, known
}

// aside runs f on a thread that ends with it. That is never the process's
// first one, which cannot end: it would stay in f's namespace, and with it what
// /proc says of the whole process.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this one is held here, f gets another.
			defer runtime.UnlockOSThread()
			aside(f)
			return
		}
		f()
	}()
	<-done
}

func (s *Shaper) checkLinks(add adder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links() {
		if _, err := l.look(s.route); err != nil {
			add(true, l.name, "There is no such device.", "Correct the name in the configuration.")
			continue
		}
		if q, err := s.root(l); err == nil && q.foreign(l.major) {
			add(true, l.name, "Another program shapes this device with "+q.kind+".", "Turn off SQM or qosify for it.")
		}
	}
	if names := s.offloaded(); len(names) > 0 {
		add(true, strings.Join(names, ", "), "Flow offloading takes packets past every rate, cap and gate.", "Set flow_offloading to 0 in the firewall's defaults.")
	}
	if s.lan.index != 0 {
		if prefixes, err := s.lanPrefixes(); err == nil && len(prefixes) == 0 {
			add(true, s.lan.name, "The LAN device has no address, so no customer may send.", "Give it an address.")
		}
	}
}

// offloaded lists those of our devices that a flow table holds.
func (s *Shaper) offloaded() (names []string) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil
	}
	defer c.Close()
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: nftGetFlowtable, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, nfgenLen),
	})
	if err != nil {
		return nil // a kernel that does not know the question has none
	}
	for _, m := range messages {
		for _, name := range flowtableDevices(m.Data) {
			if (name == s.conf.LAN || slices.Contains(s.conf.WAN, name)) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func (s *Shaper) checkSettings(add adder) {
	if setting("net/ipv4/ip_forward") == "0" {
		add(true, "net.ipv4.ip_forward", "The kernel does not forward IPv4.", "Set net.ipv4.ip_forward to 1.")
	}
	if setting("net/ipv6/conf/all/forwarding") == "0" {
		add(false, "net.ipv6.conf.all.forwarding", "The kernel does not forward IPv6.", "Set net.ipv6.conf.all.forwarding to 1 if the uplink has IPv6.")
	}
	for _, name := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		if setting("net/bridge/"+name) == "1" {
			add(true, "net.bridge."+name, "Frames between customers of one bridge go through the firewall as if they were routed, which hides missing isolation.", "Set net.bridge."+name+" to 0.")
		}
	}
	if len(s.conf.WAN) > 1 {
		for _, wan := range s.conf.WAN {
			if max(setting("net/ipv4/conf/all/rp_filter"), setting("net/ipv4/conf/"+wan+"/rp_filter")) == "1" {
				add(false, wan, "Strict reverse-path filtering drops answers that come in on another uplink.", "Set net.ipv4.conf."+wan+".rp_filter to 2.")
			}
		}
	}
}

// setting reads a sysctl; empty if there is none.
func setting(path string) string {
	b, err := os.ReadFile("/proc/sys/" + path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Remove takes everything of ours out of the kernel: the gate is open then.
// It is for taking the program off a machine; a process that ends leaves
// everything in place.
func (s *Shaper) Remove(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.settled = false // the task leaves everything alone
	var errs []error
	if _, ok, err := s.present(); err != nil {
		errs = append(errs, err)
	} else if ok {
		var b nft.Batch
		b.DelTable(tableName)
		if err := s.nft.Commit(&b); errors.Is(err, unix.EPERM) {
			// Without the table nothing else may go: it would open the gate.
			return fmt.Errorf("%w: %w", ErrOwned, err)
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	for _, l := range s.links() {
		if _, err := l.look(s.route); err != nil {
			continue
		}
		l.ready = false
		if q, err := s.root(l); err == nil && q.ours(l.major) {
			var r requests
			r.delQdisc(l.index, uint32(l.major)<<16, rootHandle)
			if done, err := s.tc.do(&r, nil); first(done, err) != nil {
				errs = append(errs, fmt.Errorf("taking the shaper off %s: %w", l.name, first(done, err)))
			}
		}
	}
	errs = append(errs, s.setRules(nil))
	s.table, s.adopted = false, false
	clear(s.sessions)
	clear(s.grants)
	clear(s.devices)
	clear(s.quotas)
	clear(s.payers)
	s.minors = minors{}
	return errors.Join(errs...)
}
