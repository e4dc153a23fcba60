package simros

import (
	"slices"
	"strings"
	"time"
)

// A MAC cookie lets a device log in again without asking [HOT]. It is made at
// a login when the user's profile has add-mac-cookie and the server's profile
// has login-by mac-cookie.
func (r *Router) addCookie(a *active, profile *row) {
	h := a.host
	if profile.v["add-mac-cookie"] != "true" || !r.loginBy(h, "mac-cookie") {
		return
	}
	r.forgetCookies(h.mac)
	life, _ := parsePeriod(profile.v["mac-cookie-timeout"])
	it := &row{until: r.clock.Now() + life, v: map[string]string{"user": a.user.v["name"], "mac-address": h.mac, "mac-cookie": "true"}}
	it.refresh = func() { it.v["expires-in"] = formatPeriod(it.until - r.clock.Now()) }
	a.cookie = it
	a.cookieLife = life
	r.insert(r.menus["/ip/hotspot/cookie"], it, nil)
}

// renewCookie: [HOT] the time-out runs from the last login or logout.
func (r *Router) renewCookie(a *active, at time.Duration) {
	if a.cookie != nil {
		a.cookie.until = at + a.cookieLife
	}
}

func (r *Router) loginBy(h *host, method string) bool {
	server := r.menus["/ip/hotspot"].byID(h.row.v["server"])
	if server == nil {
		return false
	}
	profile := r.menus["/ip/hotspot/profile"].byID(server.v["profile"])
	return profile != nil && slices.Contains(strings.Split(profile.v["login-by"], ","), method)
}

// cookieLogin logs a stranger in that has a cookie.
func (r *Router) cookieLogin(h *host) {
	if h.active != nil || !r.loginBy(h, "mac-cookie") {
		return
	}
	for _, it := range r.menus["/ip/hotspot/cookie"].rows {
		if it.v["mac-address"] == h.mac {
			if trap := r.authorize(h, it.v["user"], nil, "mac-cookie"); trap != nil {
				r.drop(r.menus["/ip/hotspot/cookie"], it) // [HOT] a cookie whose login fails is removed
			}
			return
		}
	}
}

func (r *Router) forgetCookies(mac string) {
	m := r.menus["/ip/hotspot/cookie"]
	for _, it := range slices.Clone(m.rows) {
		if it.v["mac-address"] == mac {
			r.drop(m, it)
		}
	}
}

// expire drops the items of a list whose time is over.
func (r *Router) expire(path string, now time.Duration) {
	m := r.menus[path]
	for _, it := range slices.Clone(m.rows) {
		if it.until > 0 && now >= it.until {
			r.drop(m, it)
		}
	}
}
