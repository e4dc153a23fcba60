package simros_test

import (
	"strings"
	"testing"

	"zonegate/shaper/mikrotik/simros"
)

// item finds the item of a menu by its name.
func item(t *testing.T, r *simros.Router, path, name string) map[string]string {
	t.Helper()
	for _, it := range r.Print(path) {
		if it["name"] == name {
			return it
		}
	}
	t.Fatalf("%s has no %s: %v", path, name, r.Print(path))
	return nil
}

func order(r *simros.Router, path string) string {
	var out []string
	for _, it := range r.Print(path) {
		out = append(out, it["name"])
	}
	return strings.Join(out, " ")
}

// The first queue of the list that matches takes the packet, and inside it the
// first of its children.
func TestQueuesInOrder(t *testing.T) {
	r, _ := zone(t, simros.Options{}, nil, nil)
	must(t, r.Login(phone, "g", "p"))
	for _, q := range []map[string]string{
		{"name": "parent", "target": "10.5.50.0/24", "max-limit": "10M/20M"},
		{"name": "other", "target": phone2IP, "parent": "parent"},
		{"name": "child", "target": phoneIP, "parent": "parent", "limit-at": "128k/512k", "max-limit": "1M/2M"},
		{"name": "late", "target": phoneIP},
	} {
		must(t, err2(r.Add("/queue/simple", q)))
	}
	r.Traffic(phone, 7, 9)
	for name, want := range map[string]string{"parent": "7/9", "child": "7/9", "other": "0/0", "late": "0/0"} {
		if got := item(t, r, "/queue/simple", name)["bytes"]; got != want {
			t.Errorf("%s counted %s, want %s", name, got, want)
		}
	}
	child := item(t, r, "/queue/simple", "child")
	if child["target"] != phoneIP+"/32" || child["limit-at"] != "128000/512000" || child["parent"] != "parent" ||
		child["queue"] != "default-small/default-small" || child["total-bytes"] != "16" {
		t.Errorf("child: %v", child)
	}
	must(t, r.Set("/queue/simple", "parent", map[string]string{"disabled": "yes"}))
	r.Traffic(phone, 1, 1)
	if got := item(t, r, "/queue/simple", "late")["bytes"]; got != "1/1" {
		t.Errorf("behind a disabled parent, late counted %s", got)
	}
}

func TestWhereDynamicQueuesGo(t *testing.T) {
	for _, c := range []struct{ before, parent, want string }{
		{"", "", "a b <hotspot-g>"},
		{"first", "", "<hotspot-g> a b"},
		{"b", "a", "a <hotspot-g> b"},
	} {
		clock := simros.NewClock()
		r := simros.New(simros.Options{Clock: clock})
		must(t, err2(r.Add("/queue/simple", map[string]string{"name": "a", "target": "10.5.50.0/24"})))
		must(t, err2(r.Add("/queue/simple", map[string]string{"name": "b", "target": "bridge1"})))
		profile := map[string]string{"name": "p", "rate-limit": "1M/2M"}
		if c.before != "" {
			profile["insert-queue-before"] = c.before
		}
		if c.parent != "" {
			profile["parent-queue"] = c.parent
		}
		must(t, err2(r.Add("/ip/hotspot/user/profile", profile)))
		must(t, err2(r.Add("/ip/hotspot/user", map[string]string{"name": "g", "password": "p", "profile": "p"})))
		must(t, r.Appear(phone, phoneIP))
		must(t, r.Login(phone, "g", "p"))
		if got := order(r, "/queue/simple"); got != c.want {
			t.Errorf("before %q: %s, want %s", c.before, got, c.want)
		}
		if c.parent != "" {
			r.Traffic(phone, 2, 3)
			if q := item(t, r, "/queue/simple", "<hotspot-g>"); q["parent"] != "a" || q["bytes"] != "2/3" {
				t.Errorf("under its parent: %v", q)
			}
		}
	}
}

func TestRateLimits(t *testing.T) {
	for limit, want := range map[string]string{
		"512k":                                 "512000/512000 512000/512000 0/0 8/8",
		"512k/1M":                              "512000/1000000 512000/1000000 0/0 8/8",
		"512k/1M 1M/2M":                        "512000/1000000 512000/1000000 1000000/2000000 8/8",
		"512k/1M 0/0 0/0 0/0 3 128k/256k":      "512000/1000000 128000/256000 0/0 3/3",
		"64k/64k 128k/128k 32k/32k 10/10 1 8k": "64000/64000 8000/8000 128000/128000 1/1",
	} {
		r, _ := zone(t, simros.Options{}, map[string]string{"rate-limit": limit}, nil)
		must(t, r.Login(phone, "g", "p"))
		q := item(t, r, "/queue/simple", "<hotspot-g>")
		if got := q["max-limit"] + " " + q["limit-at"] + " " + q["burst-limit"] + " " + q["priority"]; got != want {
			t.Errorf("%s: %s, want %s", limit, got, want)
		}
	}
	r := simros.New(simros.Options{})
	for _, limit := range []string{"x", "1M/1M/1M", "1M/1M 0/0 0/0 0/0 0", "1M/1M 0/0 0/0 0/0 8 2M/1M", "1M 1M 1M 1 8 1M 1M"} {
		if _, err := r.Add("/ip/hotspot/user/profile", map[string]string{"name": "x", "rate-limit": limit}); err == nil {
			t.Errorf("%q was taken", limit)
		}
	}
}

// Plans without a committed rate: address list, two marks, two tree queues.
func TestMarkedQueues(t *testing.T) {
	r, _ := zone(t, simros.Options{}, map[string]string{"address-list": "zg-1"}, nil)
	for _, c := range []struct {
		path string
		v    map[string]string
	}{
		{"/ip/firewall/mangle", map[string]string{"chain": "forward", "action": "mark-packet", "new-packet-mark": "zg-1-up", "src-address-list": "zg-1", "passthrough": "no"}},
		{"/ip/firewall/mangle", map[string]string{"chain": "forward", "action": "mark-packet", "new-packet-mark": "zg-1-down", "dst-address-list": "zg-1", "passthrough": "no"}},
		{"/queue/type", map[string]string{"name": "up", "kind": "pcq", "pcq-rate": "512k", "pcq-classifier": "src-address"}},
		{"/queue/tree", map[string]string{"name": "all", "parent": "global"}},
		{"/queue/tree", map[string]string{"name": "zg-1-up", "parent": "all", "packet-mark": "zg-1-up", "queue": "up"}},
		{"/queue/tree", map[string]string{"name": "zg-1-down", "parent": "all", "packet-mark": "zg-1-down"}},
	} {
		must(t, err2(r.Add(c.path, c.v)))
	}
	must(t, r.Login(phone, "g", "p"))
	if e := one(t, r, "/ip/firewall/address-list"); e["list"] != "zg-1" || e["address"] != phoneIP || e["dynamic"] != "true" {
		t.Errorf("address-list: %v", e)
	}
	r.Traffic(phone, 11, 22)
	for name, want := range map[string]string{"zg-1-up": "11", "zg-1-down": "22", "all": "33"} {
		if got := item(t, r, "/queue/tree", name)["bytes"]; got != want {
			t.Errorf("%s counted %s, want %s", name, got, want)
		}
	}
	if q := item(t, r, "/queue/tree", "zg-1-up"); q["queue"] != "up" {
		t.Errorf("tree queue: %v", q)
	}
	r.Logout(phone)
	none(t, r, "/ip/firewall/address-list")
}
