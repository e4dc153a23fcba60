package simros

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A host is a device that the hotspot has seen.
type host struct {
	mac, ip  string
	row      *row
	used     usage
	seen     time.Duration // when it came
	lastData time.Duration // when it last sent or received
	gone     time.Duration // when it left the air; negative while it is there
	active   *active
}

// usage counts octets and packets, up as the customer sees it: bytes-in of the
// router [29: "received from user"].
type usage struct {
	up, down               uint64
	packetsUp, packetsDown uint64
}

func (u *usage) add(up, down uint64) {
	u.up += up
	u.down += down
	u.packetsUp += (up + 1499) / 1500
	u.packetsDown += (down + 1499) / 1500
}

func (u *usage) plus(o usage) {
	u.up += o.up
	u.down += o.down
	u.packetsUp += o.packetsUp
	u.packetsDown += o.packetsDown
}

func (u *usage) print(v map[string]string) {
	v["bytes-in"] = strconv.FormatUint(u.up, 10)
	v["bytes-out"] = strconv.FormatUint(u.down, 10)
	v["packets-in"] = strconv.FormatUint(u.packetsUp, 10)
	v["packets-out"] = strconv.FormatUint(u.packetsDown, 10)
}

// An active is a host that is logged in.
type active struct {
	row     *row
	host    *host
	user    *row
	used    usage
	started time.Duration
	// Limits of this session, fixed at login; zero for none.
	upLimit, downLimit, totalLimit uint64
	ends                           time.Duration // on the router's clock; zero for never
	idle, keepalive                time.Duration
	dynamic                        []func() // takes away what login added
	cookie                         *row
	cookieLife                     time.Duration
}

// Appear puts a device on the hotspot's air with that address. It is known to
// /ip/hotspot/host from then on, and to ARP. With a MAC cookie it is logged in
// at once [HOT].
func (r *Router) Appear(mac, ip string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick()
	mac, ok := parseMAC(mac)
	addr, err := netip.ParseAddr(ip)
	if !ok || err != nil || !addr.Is4() {
		return fmt.Errorf("letting %s appear with %s: not a MAC and an IPv4 address", mac, ip)
	}
	server := r.server()
	if server == nil {
		return fmt.Errorf("letting %s appear: the router has no enabled hotspot", mac)
	}
	now := r.clock.Now()
	h := r.hosts[mac]
	if h != nil && h.ip != ip {
		r.removeHost(h) // a new address is a new host entry (assumed)
		h = nil
	}
	if h == nil {
		h = &host{mac: mac, ip: ip, seen: now, lastData: now, gone: -1}
		h.row = &row{dynamic: true, v: map[string]string{
			"mac-address": mac, "address": ip, "to-address": ip, "server": server.id, "bridge-port": "wlan1",
			"keepalive-timeout": "", "idle-timeout": server.v["idle-timeout"], "found-by": "DHCP", "DHCP": "true",
			"authorized": "false", "bypassed": strconv.FormatBool(r.bound(h) == "bypassed"), "dynamic": "false",
		}}
		h.row.refresh = func() {
			at := r.clock.Now()
			h.row.v["uptime"] = formatPeriod(at - h.seen)
			h.row.v["idle-time"] = formatPeriod(at - h.lastData)
			h.used.print(h.row.v)
		}
		r.hosts[mac] = h
		r.ends[h.row] = func() { r.removeHost(h) }
		r.insert(r.menus["/ip/hotspot/host"], h.row, nil)
		r.appearedAt(h)
	}
	h.gone, h.lastData = -1, now
	r.cookieLogin(h)
	return nil
}

// Leave takes a device off the air. Its session ends when the router misses it
// (keepalive-timeout) [HOT].
func (r *Router) Leave(mac string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mac, _ = parseMAC(mac)
	if h := r.hosts[mac]; h != nil {
		h.gone = r.clock.Now()
	}
}

// server is the first enabled hotspot.
func (r *Router) server() *row {
	for _, it := range r.menus["/ip/hotspot"].rows {
		if it.v["disabled"] != "true" {
			return it
		}
	}
	return nil
}

// bound is the type of the ip-binding that matches the host, or "".
func (r *Router) bound(h *host) string {
	for _, b := range r.menus["/ip/hotspot/ip-binding"].rows {
		if b.v["disabled"] == "true" || b.v["mac-address"] == "" && b.v["address"] == "" {
			continue
		}
		if (b.v["mac-address"] == "" || b.v["mac-address"] == h.mac) && (b.v["address"] == "" || inNetworks(b.v["address"], h.ip)) {
			if b.v["type"] == "" {
				return "regular"
			}
			return b.v["type"]
		}
	}
	return ""
}

// Traffic sends and receives octets for a device and returns what passed:
// nothing for a stranger or an unknown device. Counters of the session, the
// host and its queues grow. [USER] A user is cut off "after the limit is
// reached": what was under way has passed by then, so one call passes whole.
func (r *Router) Traffic(mac string, up, down uint64) (passedUp, passedDown uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick()
	mac, _ = parseMAC(mac)
	h := r.hosts[mac]
	if h == nil || h.gone >= 0 || r.off {
		return 0, 0
	}
	h.lastData = r.clock.Now()
	bound := r.bound(h)
	if bound == "blocked" {
		return 0, 0
	}
	if h.active == nil && bound != "bypassed" {
		r.cookieLogin(h)
	}
	a := h.active
	if a == nil && bound != "bypassed" {
		return 0, 0
	}
	h.used.add(up, down)
	r.countQueues(h.ip, up, down)
	r.countMarked(h, up, down)
	if a != nil {
		a.used.add(up, down)
		if a.reached() {
			r.logout(a, "traffic limit reached")
			r.forgetCookies(h.mac) // [HOT] a reached limit deletes the MAC cookie
		}
	}
	return up, down
}

func (a *active) reached() bool {
	return a.upLimit > 0 && a.used.up >= a.upLimit ||
		a.downLimit > 0 && a.used.down >= a.downLimit ||
		a.totalLimit > 0 && a.used.up+a.used.down >= a.totalLimit
}

// Tick lets time-outs that have come take effect. Every command and every
// Advance of a Clock does so too.
func (r *Router) Tick() { r.with(r.tick) }

func (r *Router) tick() {
	if r.off {
		return
	}
	now := r.clock.Now()
	for _, h := range r.hosts {
		if a := h.active; a != nil {
			switch {
			case a.ends > 0 && now >= a.ends:
				r.logoutAt(a, a.ends, "session timeout")
				r.forgetCookies(h.mac)
			case h.gone >= 0 && a.keepalive > 0 && now >= h.gone+a.keepalive:
				r.logoutAt(a, h.gone+a.keepalive, "keepalive timeout")
				r.removeHost(h) // [HOT] out of reach for that long: removed from the HotSpot
			case a.idle > 0 && now >= h.lastData+a.idle:
				r.logoutAt(a, h.lastData+a.idle, "idle timeout")
				r.removeHost(h) // [HOT] logged out and dropped from the host list
			}
		} else if idle, ok := parsePeriod(h.row.v["idle-timeout"]); ok && idle > 0 && now >= h.lastData+idle {
			r.removeHost(h) // [TF] idle-timeout of the server: a silent stranger is dropped
		}
	}
	r.expire("/ip/hotspot/cookie", now)
	r.expire("/ip/firewall/address-list", now)
}

// Login logs a device in as its browser does on the login page, with the
// password in clear over http-pap.
func (r *Router) Login(mac, user, password string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick()
	mac, _ = parseMAC(mac)
	h := r.hosts[mac]
	if h == nil || h.gone >= 0 {
		return fmt.Errorf("logging %s in: it is not on the air", mac)
	}
	if trap := r.authorize(h, user, &password, "http-pap"); trap != nil {
		return trap
	}
	return nil
}

// Logout ends a device's session as its browser does. [HOT] A user's own
// logout deletes the cookie.
func (r *Router) Logout(mac string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mac, _ = parseMAC(mac)
	if h := r.hosts[mac]; h != nil && h.active != nil {
		r.logout(h.active, "user request")
		r.forgetCookies(mac)
	}
}

// runLogin is /ip/hotspot/active/login [FIELD: words user, password, ip,
// mac-address and the messages].
func (r *Router) runLogin(c *command) *Trap {
	user, _ := c.take("user")
	password, _ := c.take("password")
	ip, _ := c.take("ip")
	mac, hasMAC := c.take("mac-address")
	c.take("domain")
	if len(c.attrs) > 0 {
		return r.unknown(c.attrs[0].Name)
	}
	if _, err := netip.ParseAddr(ip); err != nil {
		return invalid("ip")
	}
	if hasMAC {
		var ok bool
		if mac, ok = parseMAC(mac); !ok {
			return trapf(1, "invalid value of mac-address")
		}
	}
	for _, h := range r.hosts {
		if h.ip != ip {
			continue
		}
		if hasMAC && h.mac != mac {
			return failure("wrong MAC provided")
		}
		return r.authorize(h, user, &password, "http-pap")
	}
	return failure("unknown host IP %s", ip)
}

// authorize is what every login ends in. Messages are those of [ERR]. A nil
// password is not asked for (MAC cookie).
func (r *Router) authorize(h *host, name string, password *string, by string) *Trap {
	user := r.hotspotUser(name, h.row.v["server"])
	if user == nil || password != nil && user.v["password"] != *password {
		return failure("invalid username or password")
	}
	if mac := user.v["mac-address"]; mac != "" && mac != "00:00:00:00:00:00" && mac != h.mac {
		return failure("user %s is not allowed to log in from this MAC address", name)
	}
	if h.active != nil {
		if h.active.user == user {
			return nil // assumed: a second login of the same user changes nothing
		}
		r.logout(h.active, "logged in as another user") // assumed
	}
	profile := r.menus["/ip/hotspot/user/profile"].byID(user.v["profile"])
	if profile == nil {
		profile = r.menus["/ip/hotspot/user/profile"].rows[0] // assumed: the default profile
	}
	now := r.clock.Now()
	a := &active{host: h, user: user, started: now}
	spent := user.used
	for _, limit := range []struct {
		name string
		used uint64
		left *uint64
	}{{"limit-bytes-in", spent.up, &a.upLimit}, {"limit-bytes-out", spent.down, &a.downLimit}, {"limit-bytes-total", spent.up + spent.down, &a.totalLimit}} {
		n, _ := parseNumber(user.v[limit.name])
		if n == 0 {
			continue
		}
		if limit.used >= n {
			return failure("user %s has reached traffic limit", name)
		}
		*limit.left = n - limit.used // [29] the session's limit is what is left of the user's
	}
	if n, ok := parsePeriod(user.v["limit-uptime"]); ok && n > 0 {
		left := n - user.uptime
		if left <= 0 {
			return failure("user %s has reached uptime limit", name)
		}
		a.ends = now + left // [FIELD] session-time-left is limit-uptime less the user's uptime
	}
	if n, ok := parsePeriod(profile.v["session-timeout"]); ok && n > 0 && (a.ends == 0 || now+n < a.ends) {
		a.ends = now + n
	}
	if n, err := strconv.Atoi(profile.v["shared-users"]); err == nil && r.online(user) >= n {
		return failure("no more sessions are allowed for user %s", name)
	}
	a.idle, _ = parsePeriod(profile.v["idle-timeout"])
	a.keepalive, _ = parsePeriod(profile.v["keepalive-timeout"])
	r.begin(a, profile, by)
	return nil
}

// hotspotUser finds the enabled user of that name on that server or on all.
func (r *Router) hotspotUser(name, server string) *row {
	for _, u := range r.menus["/ip/hotspot/user"].rows {
		if u.v["name"] == name && u.v["disabled"] != "true" && name != "default-trial" &&
			(u.v["server"] == "" || u.v["server"] == "all" || u.v["server"] == server) {
			return u
		}
	}
	return nil
}

func (r *Router) online(user *row) int {
	n := 0
	for _, h := range r.hosts {
		if h.active != nil && h.active.user == user {
			n++
		}
	}
	return n
}

// begin makes the active entry, its queue, its address-list entry and its
// cookie.
func (r *Router) begin(a *active, profile *row, by string) {
	h := a.host
	v := map[string]string{
		"server": h.row.v["server"], "user": a.user.v["name"], "address": h.ip, "mac-address": h.mac,
		"login-by": by, "radius": "false", "comment": a.user.v["comment"], // [FIELD] the user's comment shows
	}
	if a.idle > 0 {
		v["idle-timeout"] = formatPeriod(a.idle)
	}
	if a.keepalive > 0 {
		v["keepalive-timeout"] = formatPeriod(a.keepalive)
	}
	for name, n := range map[string]uint64{"limit-bytes-in": a.upLimit, "limit-bytes-out": a.downLimit, "limit-bytes-total": a.totalLimit} {
		if n > 0 {
			v[name] = strconv.FormatUint(n, 10)
		}
	}
	// The number of an active entry is its address in hexadecimal
	// (EvilFreelancer/routeros-api-php issue 118: *C0A80A08 for 192.168.10.8), so
	// the next session from that address has the same number.
	ip := netip.MustParseAddr(h.ip).As4()
	a.row = &row{dynamic: true, v: v, id: "*" + strings.TrimLeft(fmt.Sprintf("%X", ip), "0")}
	a.row.refresh = func() {
		now := r.clock.Now()
		v["uptime"] = formatPeriod(now - a.started)
		v["idle-time"] = formatPeriod(now - h.lastData)
		if a.ends > 0 {
			v["session-time-left"] = formatPeriod(a.ends - now)
		}
		a.used.print(v)
	}
	h.active = a
	h.lastData = a.started
	h.row.v["authorized"] = "true"
	r.ends[a.row] = func() { // [HOT] an admin reset deletes the MAC cookie
		for _, other := range r.hosts {
			if r.options.RemoveEndsAll && other != h && other.active != nil && other.active.user == a.user {
				r.logout(other.active, "admin reset")
				r.forgetCookies(other.mac)
			}
		}
		r.logout(a, "admin reset")
		r.forgetCookies(h.mac)
	}
	r.insert(r.menus["/ip/hotspot/active"], a.row, nil)
	r.changed(r.menus["/ip/hotspot/host"], h.row)
	r.addQueue(a, profile)
	r.addToList(a, profile)
	r.addCookie(a, profile)
}

func (r *Router) logout(a *active, why string) { r.logoutAt(a, r.clock.Now(), why) }

// logoutAt ends a session. [29] The user's counters follow now.
func (r *Router) logoutAt(a *active, at time.Duration, why string) {
	h := a.host
	if h.active != a {
		return
	}
	h.active = nil
	h.row.v["authorized"] = "false"
	a.user.used.plus(a.used)
	a.user.uptime += at - a.started
	for _, undo := range a.dynamic {
		undo()
	}
	r.drop(r.menus["/ip/hotspot/active"], a.row)
	r.changed(r.menus["/ip/hotspot/host"], h.row)
	r.renewCookie(a, at)
	r.logged = append(r.logged, fmt.Sprintf("%s (%s): logged out: %s", a.row.v["user"], h.ip, why)) // [FIELD] the log's form
}

func (r *Router) removeHost(h *host) {
	if h.active != nil {
		r.logout(h.active, "host removed")
	}
	delete(r.hosts, h.mac)
	r.drop(r.menus["/ip/hotspot/host"], h.row)
}
