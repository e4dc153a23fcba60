package simros

import (
	"slices"
	"strconv"
	"strings"
)

// appearedAt adds the DHCP lease and the ARP entry of a host that came [TF:
// their fields; LAB: a lease without a client has none of the active ones].
func (r *Router) appearedAt(h *host) {
	leases, arps := r.menus["/ip/dhcp-server/lease"], r.menus["/ip/arp"]
	var static *row
	for _, it := range slices.Clone(leases.rows) {
		switch {
		case !it.dynamic && it.v["mac-address"] == h.mac:
			static = it
		case it.dynamic && (it.v["mac-address"] == h.mac || it.v["address"] == h.ip):
			r.drop(leases, it)
		}
	}
	active := map[string]string{"status": "bound", "active-address": h.ip, "active-mac-address": h.mac, "active-server": "dhcp1", "last-seen": "0s"}
	if static == nil {
		static = &row{dynamic: true, v: map[string]string{"address": h.ip, "mac-address": h.mac, "server": "dhcp1", "dynamic": "true", "radius": "false", "blocked": "false", "disabled": "false"}}
		r.ends[static] = func() { r.drop(leases, static) } // a dynamic lease can be removed [FIELD]
		for k, v := range active {
			static.v[k] = v
		}
		r.insert(leases, static, nil)
	} else {
		for k, v := range active {
			static.v[k] = v
		}
		r.changed(leases, static)
	}
	for _, it := range slices.Clone(arps.rows) {
		if it.dynamic && (it.v["address"] == h.ip || it.v["mac-address"] == h.mac) {
			r.drop(arps, it)
		}
	}
	server := r.menus["/ip/hotspot"].byID(h.row.v["server"])
	arp := &row{dynamic: true, v: map[string]string{"address": h.ip, "mac-address": h.mac, "interface": server.v["interface"],
		"published": "false", "invalid": "false", "DHCP": "true", "dynamic": "true", "complete": "true", "disabled": "false"}}
	r.ends[arp] = func() { r.drop(arps, arp) }
	r.insert(arps, arp, nil)
}

// addToList puts the session's address on the profile's address-list for as
// long as it lasts [HOT].
func (r *Router) addToList(a *active, profile *row) {
	list := profile.v["address-list"]
	if list == "" {
		return
	}
	m := r.menus["/ip/firewall/address-list"]
	it := &row{dynamic: true, v: map[string]string{"list": list, "address": a.host.ip, "dynamic": "true", "disabled": "false", "creation-time": r.stamp()}}
	r.insert(m, it, nil)
	a.dynamic = append(a.dynamic, func() { r.drop(m, it) })
}

// stamp is date and time as the router prints them together [TF, LAB].
func (r *Router) stamp() string {
	now := r.wall()
	return r.date(now) + " " + now.UTC().Format("15:04:05")
}

// countMarked gives octets to the queues of /queue/tree. A packet's mark comes
// from the user profile's packet marks [HOT] or from mangle rules that mark
// packets by address or address list; rules with any other matcher are taken
// as not matching, since there are no packets to look at. The last mark
// stands, unless a rule has passthrough=no [QUEUE].
func (r *Router) countMarked(h *host, up, down uint64) {
	var upMark, downMark string
	if h.active != nil {
		if profile := r.menus["/ip/hotspot/user/profile"].byID(h.active.user.v["profile"]); profile != nil {
			upMark, downMark = profile.v["incoming-packet-mark"], profile.v["outgoing-packet-mark"]
		}
	}
	if m := r.mangled(h.ip, "src-address"); m != "" {
		upMark = m
	}
	if m := r.mangled(h.ip, "dst-address"); m != "" {
		downMark = m
	}
	r.countTree(upMark, up)
	r.countTree(downMark, down)
}

// mangled is the packet mark that rules on that side of the address set.
func (r *Router) mangled(ip, side string) (mark string) {
	for _, it := range r.menus["/ip/firewall/mangle"].rows {
		if it.v["disabled"] == "true" || it.v["action"] != "mark-packet" || !r.matches(it, ip, side) {
			continue
		}
		mark = it.v["new-packet-mark"]
		if it.v["passthrough"] == "false" {
			return mark
		}
	}
	return mark
}

// matches reports whether a rule asks for nothing but that address.
func (r *Router) matches(it *row, ip, side string) bool {
	asked := false
	for name, v := range it.v {
		if v == "" {
			continue
		}
		switch name {
		case "chain", "action", "new-packet-mark", "passthrough", "comment", "disabled", "log", "log-prefix", "bytes", "packets", "dynamic", "invalid":
		case side:
			if !inNetworks(v, ip) {
				return false
			}
			asked = true
		case side + "-list":
			if !r.listed(v, ip) {
				return false
			}
			asked = true
		default:
			return false
		}
	}
	return asked
}

// listed reports whether the address is on an address list, or with "!" is not.
func (r *Router) listed(list, ip string) bool {
	name, not := strings.CutPrefix(list, "!")
	for _, it := range r.menus["/ip/firewall/address-list"].rows {
		if it.v["list"] == name && it.v["disabled"] != "true" && inNetworks(it.v["address"], ip) {
			return !not
		}
	}
	return not
}

// countTree adds octets to the queues with that mark and to those above them.
func (r *Router) countTree(mark string, n uint64) {
	m := r.menus["/queue/tree"]
	if mark == "" || n == 0 {
		return
	}
	for _, it := range m.rows {
		if it.v["disabled"] == "true" || !slices.Contains(strings.Split(it.v["packet-mark"], ","), mark) {
			continue
		}
		for depth := 0; it != nil && depth < maxDepth; depth++ {
			it.used.add(n, 0)
			it.v["bytes"] = strconv.FormatUint(it.used.up, 10)
			it.v["packets"] = strconv.FormatUint(it.used.packetsUp, 10)
			it = m.named(it.v["parent"])
		}
	}
}
