package hotspot

import (
	"fmt"
	"strconv"

	"zonegate/shaper/mikrotik/simros"
)

// setUp leaves the router as `zonegate routeros script --sessions api` does,
// in the lab's own addresses.
func setUp(r *simros.Router, o Options) error {
	mark := func(what string) string { return "zonegate setup " + what }
	for _, item := range []struct {
		menu  string
		words map[string]string
	}{
		{"/user/group", map[string]string{"name": User, "policy": "api,read,write"}},
		{"/user", map[string]string{"name": User, "group": User, "password": o.Password}},
		{"/ip/firewall/filter", map[string]string{"chain": "forward", "action": "accept", "in-interface": bridge, "comment": mark("no FastTrack up")}},
		{"/ip/firewall/filter", map[string]string{"chain": "forward", "action": "accept", "out-interface": bridge, "comment": mark("no FastTrack down")}},
		{"/ip/firewall/filter", map[string]string{"chain": "input", "action": "drop", "protocol": "tcp", "dst-port": strconv.Itoa(int(o.API.Port())), "in-interface": bridge, "comment": mark("management")}},
		{"/ipv6/firewall/filter", map[string]string{"chain": "forward", "action": "drop", "in-interface": bridge, "comment": mark("no IPv6")}},
		{"/ip/hotspot/walled-garden/ip", map[string]string{"action": "accept", "protocol": "tcp", "dst-address": o.Portal.Addr().String(), "dst-port": strconv.Itoa(int(o.Portal.Port())), "comment": mark("portal")}},
		{"/ip/hotspot/profile", map[string]string{"name": "zonegate-hsprof1", "hotspot-address": o.Address.String(), "login-by": "http-chap", "use-radius": "no"}},
	} {
		if _, err := r.Add(item.menu, item.words); err != nil {
			return fmt.Errorf("setting the router up: %w", err)
		}
	}
	if err := r.Set("/ip/hotspot", Server, map[string]string{"profile": "zonegate-hsprof1"}); err != nil {
		return fmt.Errorf("setting the router up: %w", err)
	}
	return nil
}
