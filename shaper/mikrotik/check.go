package mikrotik

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Finding is something about a router that keeps the data path from doing
// what it should.
type Finding struct {
	// Subject is what it is about: a menu of the router or a setting.
	Subject string
	// Problem is what is wrong, Fix what to do about it: a sentence each.
	Problem, Fix string
	// Serious says that customers or strangers are treated wrongly now.
	Serious bool
}

// A checkup is one round of questions.
type checkup struct {
	r    *Router
	ctx  context.Context
	list []Finding
	// ifname is the hotspot's interface, profile its server profile.
	ifname, profile string
	// lists says which interface lists hold the hotspot's interface.
	lists map[string]bool
}

func (c *checkup) add(serious bool, subject, problem, fix string) {
	c.list = append(c.list, Finding{Subject: subject, Problem: problem, Fix: fix, Serious: serious})
}

// print lists a menu. A menu that this version lacks is empty; one that cannot
// be read is a finding.
func (c *checkup) print(menu, proplist string, query ...string) ([]row, bool) {
	list, err := c.r.line.print(c.ctx, menu, proplist, query...)
	switch {
	case err == nil:
		return list, true
	case isNoMenu(err):
		return nil, false
	case errors.Is(err, ErrPermission):
		c.add(true, menu, "The router's user may not read this.", "Add the policy read to its group: /user/group/set.")
	default:
		c.add(true, menu, fmt.Sprintf("It cannot be read: %v.", err), "Run the check again when the router answers.")
	}
	return nil, false
}

// Check looks for what is wrong with the router. It only reads.
func (r *Router) Check(ctx context.Context) []Finding {
	c := &checkup{r: r, ctx: ctx}
	if _, err := r.line.current(ctx); err != nil {
		c.unreachable(err)
		return c.list
	}
	c.rights()
	if c.hotspot() {
		c.owner()
		c.memberships()
		c.ipv6()
		c.fastTrack()
	}
	c.deviceMode()
	return c.list
}

// unreachable explains why there is no connection.
func (c *checkup) unreachable(err error) {
	add := func(subject, problem, fix string) { c.add(true, subject, problem, fix) }
	switch {
	case errors.Is(err, ErrCredentials):
		add("login", "The router refuses the user or the password.", "Set both as they are on the router, and let the user's group have the policy api: /user/print.")
	case errors.Is(err, ErrCertificate):
		add("certificate", err.Error()+".", "Compare with /certificate/print detail on the router itself, and set its fingerprint in the configuration.")
	case errors.Is(err, ErrNoCertificate):
		add("api-ssl", err.Error()+".", "Give api-ssl a certificate: /ip/service/set api-ssl certificate=NAME disabled=no.")
	case errors.Is(err, ErrVersion):
		add("version", err.Error()+".", "Upgrade the router: /system/package/update/install.")
	case errors.Is(err, ErrPermission):
		add("permissions", "The router's user may not read.", "Add the policies api, read and write to its group: /user/group/set.")
	default:
		add("connection", err.Error()+".", "Check address and port, and that /ip/service/print shows api-ssl enabled for this machine's address.")
	}
}

// rights looks at the policies of the user that we log in with.
func (c *checkup) rights() {
	users, ok := c.print("/user", "name,group", "?name="+c.r.conf.User)
	if !ok || len(users) == 0 {
		return
	}
	group := users[0]["group"]
	groups, ok := c.print("/user/group", "name,policy", "?name="+group)
	if !ok || len(groups) == 0 {
		return
	}
	has := map[string]bool{}
	for _, p := range strings.Split(groups[0]["policy"], ",") {
		has[p] = true
	}
	needs := []string{"api", "read", "write"}
	if c.r.conf.Sessions == OwnerRADIUS {
		needs = needs[:2] // only to look
	}
	for _, need := range needs {
		if !has[need] {
			c.add(true, "permissions", fmt.Sprintf("The group %s lacks the policy %s.", group, need),
				fmt.Sprintf("Add it: /user/group/set %s policy=%s.", quote(group), strings.Join(needs, ",")))
		}
	}
	if has["policy"] {
		c.add(false, "permissions", fmt.Sprintf("The group %s may change users and much else that is not needed.", group),
			"Give zonegate a user of its own, whose group has only the policies api, read and write.")
	}
}

// hotspot looks for the server that customers are behind.
func (c *checkup) hotspot() bool {
	list, ok := c.print("/ip/hotspot", ".id,name,interface,profile,disabled,invalid")
	if !ok {
		return false
	}
	var mine []row
	for _, s := range list {
		if c.r.conf.Server == "" || s["name"] == c.r.conf.Server {
			mine = append(mine, s)
		}
	}
	switch {
	case len(mine) == 0 && len(list) == 1:
		c.add(true, "hotspot", fmt.Sprintf("There is no hotspot server %q; the only one, %s, is taken for it.", c.r.conf.Server, list[0]["name"]),
			"Set the server's name as /ip/hotspot/print shows it.")
		mine = list
	case len(mine) == 0 && c.r.conf.Server != "":
		c.add(true, "hotspot", fmt.Sprintf("There is no hotspot server %q.", c.r.conf.Server), "Set the server's name as /ip/hotspot/print shows it.")
		return false
	case len(mine) == 0:
		c.add(true, "hotspot", "There is no hotspot server, so everybody passes.", "Set one up: /ip/hotspot/setup.")
		return false
	case len(mine) > 1:
		c.add(false, "hotspot", "There are several hotspot servers, and none is configured.", "Set the name of the one that customers are behind.")
	}
	s := mine[0]
	c.ifname, c.profile = s["interface"], s["profile"]
	if s.is("disabled") {
		c.add(true, "hotspot", fmt.Sprintf("The hotspot server %s is disabled, so everybody passes.", s["name"]), fmt.Sprintf("Enable it: /ip/hotspot/enable %s.", quote(s["name"])))
	} else if s.is("invalid") {
		c.add(true, "hotspot", fmt.Sprintf("The hotspot server %s does not work.", s["name"]), "Look at its interface and at /system/device-mode/print.")
	}
	return true
}

// memberships finds the interface lists that hold the hotspot's interface.
func (c *checkup) memberships() {
	c.lists = map[string]bool{"all": true}
	list, ok := c.print("/interface/list/member", "list,interface,disabled", "?interface="+c.ifname)
	if !ok {
		return
	}
	for _, m := range list {
		if !m.is("disabled") {
			c.lists[m["list"]] = true
		}
	}
}

// holds says whether a rule's matcher (an interface or list, perhaps negated)
// takes packets of the hotspot's interface. Without a matcher it takes all.
func (c *checkup) holds(r row, side string) bool {
	match := func(v string, is bool) bool {
		if v == "" {
			return true
		}
		return is != strings.HasPrefix(v, "!")
	}
	name := strings.TrimPrefix(r[side], "!")
	list := strings.TrimPrefix(r[side+"-list"], "!")
	return match(r[side], name == c.ifname) && match(r[side+"-list"], c.lists[list])
}

// ipv6 makes sure that IPv6 does not go around the hotspot, which knows only
// IPv4.
func (c *checkup) ipv6() {
	settings, _ := c.print("/ipv6/settings", "disable-ipv6,forward")
	for _, s := range settings {
		if s.is("disable-ipv6") || s["forward"] == "false" || s["forward"] == "no" {
			return
		}
	}
	rules, ok := c.print("/ipv6/firewall/filter", "chain,action,in-interface,in-interface-list,src-address,dst-address,src-address-list,dst-address-list,protocol,connection-state,disabled")
	if !ok {
		return // version 6 without the package
	}
	for _, f := range rules {
		if f["chain"] != "forward" || f.is("disabled") || !c.holds(f, "in-interface") {
			continue
		}
		limited := false
		for _, k := range []string{"src-address", "dst-address", "src-address-list", "dst-address-list", "protocol", "connection-state"} {
			limited = limited || f[k] != ""
		}
		switch f["action"] {
		case "drop", "reject":
			if !limited {
				return
			}
		case "accept":
			if !limited {
				c.noIPv6()
				return
			}
		}
	}
	c.noIPv6()
}

func (c *checkup) noIPv6() {
	c.add(true, "IPv6", fmt.Sprintf("The hotspot knows only IPv4, and IPv6 from %s is forwarded without paying.", c.ifname),
		fmt.Sprintf("Block it first in the chain: /ipv6/firewall/filter/add chain=forward in-interface=%s action=drop place-before=0.", c.ifname))
}

// fastTrack makes sure that customers' packets meet the queues: FastTrack
// takes connections past them.
func (c *checkup) fastTrack() {
	rules, ok := c.print("/ip/firewall/filter", "chain,action,in-interface,in-interface-list,out-interface,out-interface-list,src-address,dst-address,protocol,disabled,hotspot")
	if !ok {
		return
	}
	var in, out bool // excepted before, by direction
	for _, f := range rules {
		if f["chain"] != "forward" || f.is("disabled") {
			continue
		}
		plain := f["src-address"] == "" && f["dst-address"] == "" && f["protocol"] == "" && f["hotspot"] == ""
		switch f["action"] {
		case "accept":
			// One rule for each direction, of that side alone.
			if plain && c.holds(f, "in-interface") && f["out-interface"] == "" && f["out-interface-list"] == "" {
				in = true
			}
			if plain && c.holds(f, "out-interface") && f["in-interface"] == "" && f["in-interface-list"] == "" {
				out = true
			}
		case "fasttrack-connection":
			if in && out || !c.holds(f, "in-interface") && !c.holds(f, "out-interface") {
				continue
			}
			c.add(true, "FastTrack", "FastTrack takes customers' connections past every rate.",
				fmt.Sprintf("Except the hotspot: /ip/firewall/filter/set [find action=fasttrack-connection] in-interface=!%s out-interface=!%s.", c.ifname, c.ifname))
			return
		}
	}
}

// deviceMode looks whether the router may run a hotspot at all (7.17 and
// later).
func (c *checkup) deviceMode() {
	list, err := c.r.line.print(c.ctx, "/system/device-mode", "mode,hotspot,flagged")
	if err != nil {
		return // older versions have no such menu
	}
	for _, d := range list {
		if v, ok := d["hotspot"]; ok && !d.is("hotspot") && v != "" {
			c.add(true, "device-mode", "The router's device-mode does not allow a hotspot.",
				"Allow it: /system/device-mode/update hotspot=yes, and within five minutes press the router's button or take its power off and on.")
		}
		if d.is("flagged") {
			c.add(true, "device-mode", "The router has flagged itself as perhaps broken into, and refuses changes.",
				"Look through its users, scripts and schedules, change the passwords, then: /system/device-mode/update flagged=no.")
		}
	}
}
