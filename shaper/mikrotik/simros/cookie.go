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
	until := r.clock.Now() + life
	it := &row{until: until, v: map[string]string{"user": a.user.v["name"], "mac-address": h.mac, "mac-cookie": "true"}}
	it.refresh = func() { it.v["expires-in"] = formatPeriod(until - r.clock.Now()) }
	r.insert(r.menus["/ip/hotspot/cookie"], it, nil)
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
				r.drop(r.menus["/ip/hotspot/cookie"], it) // assumed: a cookie that fails is thrown away
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

func (r *Router) expireCookies(now time.Duration) {
	m := r.menus["/ip/hotspot/cookie"]
	for _, it := range slices.Clone(m.rows) {
		if it.until > 0 && now >= it.until {
			r.drop(m, it)
		}
	}
}
