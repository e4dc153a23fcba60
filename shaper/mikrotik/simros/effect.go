package simros

import (
	"slices"
	"strconv"
	"strings"
)

// consistent refuses items whose values contradict each other.
func (r *Router) consistent(m *menu, it *row) *Trap {
	if m.path == "/queue/simple" {
		if it.v["parent"] == it.id && it.id != "" {
			return failure("queue cannot be its own parent") // assumed wording
		}
		for target := range strings.SplitSeq(it.v["target"], ",") {
			if target == "" || r.menus["/interface"].named(target) != nil {
				continue
			}
			if _, err := parseNetworks("address", target); err != nil {
				return invalid("target")
			}
		}
	}
	if m.path == "/ip/hotspot" && r.options.NoHotspot && it.v["disabled"] != "true" {
		return failure("not allowed by device-mode") // [FIELD]
	}
	return nil
}

// added completes a new item of an address list: [LAB] when it was made, and
// with a timeout it is dynamic and goes by itself.
func (r *Router) added(m *menu, it *row) {
	if m.path != "/ip/firewall/address-list" {
		return
	}
	it.v["creation-time"] = r.stamp()
	if d, ok := parsePeriod(it.v["timeout"]); ok && d > 0 {
		it.dynamic, it.v["dynamic"] = true, "true"
		it.until = r.clock.Now() + d
		it.refresh = func() { it.v["timeout"] = formatPeriod(it.until - r.clock.Now()) }
		r.ends[it] = func() { r.drop(m, it) }
	}
}

// refreshUser prints a user's counters: [29] what sessions that ended have
// used, and with LiveUserCounters those that run too.
func (r *Router) refreshUser(it *row) {
	total, uptime := it.used, it.uptime
	if r.options.LiveUserCounters {
		for _, h := range r.hosts {
			if a := h.active; a != nil && a.user == it {
				total.plus(a.used)
				uptime += r.clock.Now() - a.started
			}
		}
	}
	total.print(it.v)
	it.v["uptime"] = formatPeriod(uptime)
}

// applied does what a changed configuration does to what runs. Running
// sessions keep the limits and the rate that they began with: [29] says that
// limits are taken at login; that a profile's new rate waits for the next
// login is assumed, as is that a user who is disabled or removed stays online
// until taken off the active list.
func (r *Router) applied(m *menu, it *row) {
	if m.path != "/ip/hotspot/ip-binding" {
		return
	}
	for _, h := range r.hosts {
		h.row.v["bypassed"] = strconv.FormatBool(r.bound(h) == "bypassed")
	}
}

func (r *Router) resetCounters(m *menu, it *row) {
	it.used, it.uptime = usage{}, 0
	switch m.path {
	case "/queue/simple":
		it.used.printQueue(it.v)
	case "/queue/tree":
		it.v["bytes"], it.v["packets"] = "0", "0"
	}
}

// forget is what a router loses without power: sessions, hosts, dynamic items
// and counters.
func (r *Router) forget() {
	for _, h := range r.hosts {
		if a := h.active; a != nil {
			for _, undo := range a.dynamic {
				undo()
			}
			r.drop(r.menus["/ip/hotspot/active"], a.row)
		}
		r.drop(r.menus["/ip/hotspot/host"], h.row)
	}
	clear(r.hosts)
	for _, m := range r.menus {
		for _, it := range slices.Clone(m.rows) {
			switch m.path {
			case "/ip/hotspot/user":
				if !r.options.KeepUserCounters {
					r.resetCounters(m, it)
				}
			case "/queue/simple", "/queue/tree":
				r.resetCounters(m, it)
			case "/ip/dhcp-server/lease", "/ip/arp", "/ip/firewall/address-list":
				if it.dynamic {
					r.drop(m, it)
				}
			}
		}
	}
}
