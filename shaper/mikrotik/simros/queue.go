package simros

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A rateLimit is a parsed rate-limit string [USER]:
//
//	rx[/tx] [rx-burst[/tx-burst] [rx-threshold[/tx-threshold]
//	[rx-time[/tx-time] [priority] [rx-min[/tx-min]]]]]
//
// rx is what the router receives: the customer's upload.
type rateLimit struct {
	rate, burst, threshold, min [2]uint64
	time                        [2]time.Duration
	priority                    uint64
}

func parseRateLimit(s string) (rateLimit, bool) {
	var l rateLimit
	fields := strings.Fields(s)
	if len(fields) == 0 || len(fields) > 6 {
		return l, false
	}
	l.priority = 8
	l.time = [2]time.Duration{time.Second, time.Second} // [29] the default burst time
	ok := true
	two := func(i int, into *[2]uint64) {
		if len(fields) <= i {
			return
		}
		up, down := halves(fields[i])
		var ok1, ok2 bool
		into[0], ok1 = parseRate(up)
		into[1], ok2 = parseRate(down)
		ok = ok && ok1 && ok2
	}
	two(0, &l.rate)
	two(1, &l.burst)
	l.threshold = l.rate // [29] without a threshold it is the rate
	two(2, &l.threshold)
	if len(fields) > 3 {
		up, down := halves(fields[3])
		var ok1, ok2 bool
		l.time[0], ok1 = parsePeriod(up)
		l.time[1], ok2 = parsePeriod(down)
		ok = ok && ok1 && ok2
	}
	if len(fields) > 4 {
		var ok1 bool
		l.priority, ok1 = parseNumber(fields[4])
		ok = ok && ok1 && l.priority >= 1 && l.priority <= 8
	}
	l.min = l.rate // [USER] without a minimum it is the rate
	two(5, &l.min)
	for i := range l.min {
		ok = ok && (l.rate[i] == 0 || l.min[i] <= l.rate[i]) // [USER] the minimum cannot exceed the rate
	}
	return l, ok
}

// addQueue makes the dynamic simple queue of a session whose profile has a
// rate-limit [USER]. Its name is "<hotspot-user>" [FIELD]; more sessions of the
// same user get a number (assumed).
func (r *Router) addQueue(a *active, profile *row) {
	limit := profile.v["rate-limit"]
	l, ok := parseRateLimit(limit)
	if limit == "" || !ok {
		return
	}
	m := r.menus["/queue/simple"]
	name := "<hotspot-" + a.user.v["name"] + ">"
	for n := 1; m.named(name) != nil; n++ {
		name = fmt.Sprintf("<hotspot-%s-%d>", a.user.v["name"], n)
	}
	parent := profile.v["parent-queue"]
	if parent == "" {
		parent = "none"
	}
	queue := profile.v["queue-type"]
	if queue == "" {
		queue = r.stored(m.prop("queue"), "hotspot-default/hotspot-default")
	}
	both := func(v [2]uint64) string { return fmt.Sprintf("%d/%d", v[0], v[1]) }
	it := &row{dynamic: true, v: make(map[string]string)}
	for i := range m.props {
		if p := &m.props[i]; p.def != "" {
			it.v[p.name] = r.stored(p, p.def)
		}
	}
	for k, v := range map[string]string{
		"name": name, "target": a.host.ip + "/32", "parent": parent, "queue": queue,
		"priority": fmt.Sprintf("%d/%d", l.priority, l.priority), "max-limit": both(l.rate), "limit-at": both(l.min),
		"burst-limit": both(l.burst), "burst-threshold": both(l.threshold),
		"burst-time": formatPeriod(l.time[0]) + "/" + formatPeriod(l.time[1]), "dynamic": "true",
	} {
		it.v[k] = v
	}
	if l.burst == [2]uint64{} {
		it.v["burst-threshold"], it.v["burst-time"] = "0/0", "0s/0s"
	}
	// [USER] insert-queue-before: bottom is the default.
	var before *row
	switch where := profile.v["insert-queue-before"]; where {
	case "", "bottom":
	case "first":
		if len(m.rows) > 0 {
			before = m.rows[0]
		}
	default:
		before = m.byID(where)
	}
	r.ends[it] = func() { r.drop(m, it) } // [FIELD] operators' scripts remove it
	r.insert(m, it, before)
	a.dynamic = append(a.dynamic, func() { r.drop(m, it) })
}

func (m *menu) named(name string) *row {
	for _, it := range m.rows {
		if it.v["name"] == name {
			return it
		}
	}
	return nil
}

// maxDepth bounds the walk through parents; no document gives the router's own.
const maxDepth = 8

// countQueues gives a packet's octets to the first simple queue that takes it,
// and inside that to the first of its children [QUEUE: an ordered list, and a
// packet goes to the first that matches].
func (r *Router) countQueues(ip string, up, down uint64) {
	parent := "none"
	for range maxDepth {
		it := r.firstQueue(parent, ip)
		if it == nil {
			return
		}
		it.used.add(up, down)
		it.used.printQueue(it.v)
		parent = it.id
	}
}

func (r *Router) firstQueue(parent, ip string) *row {
	for _, it := range r.menus["/queue/simple"].rows {
		if it.v["disabled"] == "true" || it.v["parent"] != parent {
			continue
		}
		if target := it.v["target"]; target == "" || r.inTarget(target, ip) {
			return it
		}
	}
	return nil
}

// inTarget: a target lists networks, or interfaces [QUEUE].
func (r *Router) inTarget(target, ip string) bool {
	for part := range strings.SplitSeq(target, ",") {
		if part == "bridge1" || inNetworks(part, ip) {
			return true
		}
	}
	return false
}

func (u *usage) printQueue(v map[string]string) {
	v["bytes"] = fmt.Sprintf("%d/%d", u.up, u.down)
	v["packets"] = fmt.Sprintf("%d/%d", u.packetsUp, u.packetsDown)
	v["total-bytes"] = strconv.FormatUint(u.up+u.down, 10)
	v["total-packets"] = strconv.FormatUint(u.packetsUp+u.packetsDown, 10)
}

// inNetworks reports whether ip lies in one of the addresses, prefixes and
// ranges of a list.
func inNetworks(list, ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && slices.ContainsFunc(strings.Split(list, ","), func(part string) bool {
		if p, err := netip.ParsePrefix(part); err == nil {
			return p.Contains(a)
		}
		if b, err := netip.ParseAddr(part); err == nil {
			return a == b
		}
		from, to, _ := strings.Cut(part, "-")
		low, err1 := netip.ParseAddr(from)
		high, err2 := netip.ParseAddr(to)
		return err1 == nil && err2 == nil && low.Compare(a) <= 0 && a.Compare(high) <= 0
	})
}
