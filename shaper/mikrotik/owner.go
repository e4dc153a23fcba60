package mikrotik

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// An Owner lets customers in at a hotspot. Exactly one does: two would let in
// and throw out each other's, and count what the other does not know.
type Owner int

const (
	// OwnerAPI is this data path.
	OwnerAPI Owner = iota
	// OwnerRADIUS is zonegate's RADIUS server. The Router can then only be
	// examined, and cleared by [Router.Remove].
	OwnerRADIUS
)

func (o Owner) String() string {
	if o == OwnerRADIUS {
		return "RADIUS"
	}
	return "the API"
}

// ErrOwner means that the data path was asked to enforce where RADIUS does.
var ErrOwner = errors.New("RADIUS owns this router's sessions by the configuration, so nothing is enforced over the API; let the API own them, or remove it as the data path")

// owned says whether this data path may enforce.
func (r *Router) owned() error {
	if r.conf.Sessions != OwnerAPI {
		return ErrOwner
	}
	return nil
}

const clearUsers = `/ip/hotspot/user/remove [find where name~"^zonegate-" or comment~"^zonegate:"]`

// owner makes sure that the router is set for the owner of the configuration
// and for nobody else.
//
// A router that asks RADIUS although the API is the owner is serious, and yet
// no reason to stop: MikroTik's manual says of PPP and of the router's own
// users that RADIUS is asked only about names that the local database lacks,
// and the hotspot is known to do the same, though its chapter does not say so.
// Then our users still come first, and refusing would lock out all who paid.
func (c *checkup) owner() {
	list, ok := c.print("/ip/hotspot/profile", "name,use-radius,radius-accounting,login-by", "?name="+c.profile)
	if !ok || len(list) == 0 {
		return
	}
	c.rival()
	p := list[0]
	servers := c.radiusServers()
	if c.r.conf.Sessions == OwnerAPI {
		c.ownedByAPI(p, servers)
	} else {
		c.ownedByRADIUS(p, servers)
	}
	c.loginBy(p)
}

// rival looks for the marks of another gateway.
func (c *checkup) rival() {
	users, _ := c.print(menuUser, "comment")
	if err := c.r.noRival(users); err != nil {
		c.add(true, "another zonegate", "Another zonegate lets customers in on this router, so this one does nothing to it.",
			"Stop one of the two. "+strings.TrimPrefix(err.Error(), ErrRival.Error()+"; ")+".")
	}
}

// radiusServers lists the addresses that the hotspot asks, if it asks.
func (c *checkup) radiusServers() (list []string) {
	servers, _ := c.print("/radius", "service,address,src-address,disabled")
	for _, s := range servers {
		for _, service := range strings.Split(s["service"], ",") {
			if service != "hotspot" || s.is("disabled") {
				continue
			}
			server := s["address"]
			if from := s["src-address"]; from != "" && from != "0.0.0.0" && from != "::" {
				server += " (as " + from + ")"
			}
			list = append(list, server)
		}
	}
	return list
}

func (c *checkup) ownedByAPI(p row, servers []string) {
	if !p.is("use-radius") {
		return
	}
	who := "RADIUS"
	if len(servers) > 0 {
		who += " at " + strings.Join(servers, " and ")
	}
	c.add(true, "RADIUS", fmt.Sprintf("The API owns the sessions by the configuration, but the hotspot profile %s asks %s as well.", c.profile, who),
		fmt.Sprintf("Choose one: /ip/hotspot/profile/set %s use-radius=no on the router, or let RADIUS own them in the configuration.", quote(c.profile)))
}

func (c *checkup) ownedByRADIUS(p row, servers []string) {
	if !p.is("use-radius") {
		c.add(true, "RADIUS", fmt.Sprintf("RADIUS owns the sessions by the configuration, but the hotspot profile %s does not ask it.", c.profile),
			fmt.Sprintf("Run: /ip/hotspot/profile/set %s use-radius=yes radius-accounting=yes.", quote(c.profile)))
	} else if p["radius-accounting"] == "false" || p["radius-accounting"] == "no" {
		c.add(true, "RADIUS", fmt.Sprintf("The hotspot profile %s does not tell RADIUS what customers use, so no cap ends.", c.profile),
			fmt.Sprintf("Run: /ip/hotspot/profile/set %s radius-accounting=yes.", quote(c.profile)))
	}
	if len(servers) == 0 {
		c.add(true, "RADIUS client", "RADIUS owns the sessions by the configuration, but the router knows no RADIUS server for its hotspot.",
			"Run: /radius/add service=hotspot address=ADDRESS secret=SECRET timeout=1s, or enable the one that /radius/print shows.")
	}
	incoming, _ := c.print("/radius/incoming", "accept,port")
	for _, i := range incoming {
		if !i.is("accept") {
			c.add(false, "CoA", "The router takes no change of a running session, so one that is revoked or used up goes on until it ends.",
				"Run: /radius/incoming/set accept=yes port=3799.")
		}
	}
	users, _ := c.print(menuUser, "name,comment")
	n := 0
	for _, u := range users {
		if ours(u) {
			n++
		}
	}
	if n > 0 {
		c.add(true, "hotspot users", fmt.Sprintf("RADIUS owns the sessions by the configuration, but %d hotspot users are left of when the API did, and those come first.", n),
			"Remove them: "+clearUsers+".")
	}
}

// loginBy looks for ways past whoever owns the sessions.
func (c *checkup) loginBy(p row) {
	for _, by := range strings.Split(p["login-by"], ",") {
		switch {
		case (by == "cookie" || by == "mac-cookie" || by == "mac") && c.r.conf.Sessions == OwnerAPI:
			c.add(false, "login-by", fmt.Sprintf("The hotspot profile %s lets devices in again by %s, without asking.", c.profile, by),
				fmt.Sprintf("Leave it out: /ip/hotspot/profile/set %s login-by=http-chap.", quote(c.profile)))
		case by == "trial":
			c.add(true, "login-by", fmt.Sprintf("The hotspot profile %s lets everybody in for a trial.", c.profile),
				fmt.Sprintf("Leave it out: /ip/hotspot/profile/set %s login-by=http-chap.", quote(c.profile)))
		}
	}
}

// quote writes a name as the router's console takes it.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "?", `\?`).Replace(s) + `"`
}

// sayOwner logs, once for each connection, if the router is set for another
// owner. It is Run's.
func (r *Router) sayOwner(ctx context.Context, said int) int {
	epoch, err := r.line.current(ctx)
	if err != nil || epoch == said {
		return said
	}
	c := &checkup{r: r, ctx: ctx}
	if c.hotspot() {
		c.owner()
	}
	for _, f := range c.list {
		if f.Serious {
			r.log.Error("the router is not set for this data path; customers are still let in and out",
				"subject", f.Subject, "problem", f.Problem, "fix", f.Fix)
		}
	}
	return epoch
}
