package hotspot

import (
	"net/netip"
	"testing"
)

type menus map[string][]map[string]string

func (m menus) Print(path string) []map[string]string { return m[path] }

func TestRates(t *testing.T) {
	q := readQueues(menus{
		"/queue/simple": {
			{"name": "off", "parent": "none", "target": "10.0.0.0/8", "max-limit": "1/1", "disabled": "true"},
			{"name": "link", "parent": "none", "target": "10.77.0.0/24,bridge1", "max-limit": "10000000/20M"},
			{"name": "one", "parent": "link", "target": "10.77.0.11/32,10.77.0.12/32", "max-limit": "2000000/30000000"},
			{"name": "free", "parent": "link", "target": "10.77.0.13", "max-limit": "0/0"},
		},
		"/queue/tree": {{"packet-mark": "m-up", "queue": "pcq-up"}, {"packet-mark": "m-down", "queue": "pcq-down"}},
		"/queue/type": {{"name": "pcq-up", "pcq-rate": "512k"}, {"name": "pcq-down", "pcq-rate": "1000000"}},
		"/ip/firewall/mangle": {
			{"action": "mark-packet", "src-address-list": "l", "new-packet-mark": "m-up"},
			{"action": "mark-packet", "dst-address-list": "l", "new-packet-mark": "m-down"},
		},
		"/ip/firewall/address-list": {{"list": "l", "address": "10.77.0.14"}, {"list": "l", "address": "10.77.0.15", "disabled": "true"}},
	})
	for addr, want := range map[string]rates{
		"10.77.0.11": {2e6, 20e6},  // the smaller of queue and parent
		"10.77.0.13": {10e6, 20e6}, // the parent's alone
		"10.77.0.14": {512e3, 1e6}, // the tree's
		"10.77.0.15": {10e6, 20e6}, // not on the list now
		"172.16.0.1": {10e6, 20e6}, // by the interface
	} {
		if got := q.of(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
}
