package simros

import (
	"slices"
	"strings"
)

const listVerbs = "add set remove enable disable comment unset"

// menus are the tables of a fresh router of that version.
func menus(v version) []*menu {
	return slices.Concat(systemMenus(v), hotspotMenus(v), queueMenus(v), netMenus(v))
}

// common properties of list items.
var (
	pComment  = prop{name: "comment"}
	pDisabled = prop{name: "disabled", kind: flag, def: "false"}
	pDynamic  = prop{name: "dynamic", kind: flag, def: "false", ro: true}
	pInvalid  = prop{name: "invalid", kind: flag, def: "false", ro: true}
	pDefault  = prop{name: "default", kind: flag, ro: true}
)

// sameName refuses a second item with the name, in the words given.
func sameName(message string) func(r, other *row) *Trap {
	return func(r, other *row) *Trap {
		if r.v["name"] != other.v["name"] {
			return nil
		}
		return failure("%s", message)
	}
}

func counters(names ...string) []prop {
	props := make([]prop, len(names))
	for i, n := range names {
		props[i] = prop{name: n, kind: number, def: "0", ro: true}
	}
	return props
}

func words(s string) []string { return strings.Fields(s) }

// hotspotMenus: field names and formats from the sample objects of [TF];
// meanings and defaults from [HOT] and [USER].
func hotspotMenus(version) []*menu {
	// [LAB] A lease's server prints as nothing when it is all; that the
	// hotspot's lists do the same is assumed from [TF]'s samples.
	server := prop{name: "server", kind: ref, menu: "/ip/hotspot", values: words("all"), blank: "all"}
	user := []prop{
		server,
		{name: "name", required: true},
		{name: "password"},
		{name: "address", kind: address},
		{name: "mac-address", kind: hardware},
		{name: "profile", kind: ref, menu: "/ip/hotspot/user/profile", def: "default"},
		{name: "routes"}, {name: "email"},
		{name: "limit-uptime", kind: period},
		{name: "limit-bytes-in", kind: number},
		{name: "limit-bytes-out", kind: number},
		{name: "limit-bytes-total", kind: number},
		{name: "uptime", kind: period, def: "0s", ro: true},
	}
	user = append(user, counters("bytes-in", "bytes-out", "packets-in", "packets-out")...)
	user = append(user, pDefault, pDynamic, pDisabled, pComment)

	active := []prop{
		{name: "server", kind: ref, menu: "/ip/hotspot", ro: true},
		{name: "user", ro: true}, {name: "domain", ro: true},
		{name: "address", kind: address, ro: true},
		{name: "mac-address", kind: hardware, ro: true},
		{name: "login-by", ro: true},
		{name: "uptime", kind: period, ro: true},
		{name: "idle-time", kind: period, ro: true},
		{name: "session-time-left", kind: period, ro: true},
		{name: "idle-timeout", kind: period, ro: true},
		{name: "keepalive-timeout", kind: period, ro: true},
	}
	active = append(active, counters("bytes-in", "bytes-out", "packets-in", "packets-out")...)
	active = append(active,
		prop{name: "limit-bytes-in", kind: number, ro: true},
		prop{name: "limit-bytes-out", kind: number, ro: true},
		prop{name: "limit-bytes-total", kind: number, ro: true},
		prop{name: "radius", kind: flag, ro: true},
		prop{name: "comment", ro: true})

	hosts := []prop{
		{name: "mac-address", kind: hardware, ro: true},
		{name: "address", kind: address, ro: true},
		{name: "to-address", kind: address, ro: true},
		{name: "server", kind: ref, menu: "/ip/hotspot", ro: true},
		{name: "bridge-port", ro: true},
		{name: "uptime", kind: period, ro: true},
		{name: "idle-time", kind: period, ro: true},
		{name: "idle-timeout", kind: period, ro: true},
		{name: "keepalive-timeout", kind: period, ro: true},
	}
	hosts = append(hosts, counters("bytes-in", "bytes-out", "packets-in", "packets-out")...)
	hosts = append(hosts,
		prop{name: "found-by", ro: true},
		prop{name: "DHCP", kind: flag, ro: true},
		prop{name: "authorized", kind: flag, ro: true},
		prop{name: "bypassed", kind: flag, ro: true},
		prop{name: "dynamic", kind: flag, ro: true},
		prop{name: "comment", ro: true})

	return []*menu{
		{path: "/ip/hotspot", verbs: listVerbs,
			unique: sameName("server with such name already exists"), // assumed wording
			props: []prop{
				{name: "name", required: true},
				{name: "interface", kind: ref, menu: "/interface", required: true},
				{name: "address-pool", def: "none"},
				{name: "profile", kind: ref, menu: "/ip/hotspot/profile", def: "default"},
				{name: "idle-timeout", kind: period, def: "5m", values: words("none")},
				{name: "keepalive-timeout", kind: period, def: "none", values: words("none")},
				{name: "login-timeout", kind: period, def: "none", values: words("none")},
				{name: "addresses-per-mac", kind: number, def: "2", values: words("unlimited")},
				{name: "ip-of-dns-name", kind: address, ro: true},
				{name: "proxy-status", def: "running", ro: true},
				pInvalid, {name: "HTTPS", kind: flag, def: "false", ro: true}, pDisabled}},
		{path: "/ip/hotspot/profile", verbs: listVerbs,
			unique: sameName("profile with the same name already exists"), // assumed wording
			props: []prop{
				{name: "name", required: true},
				{name: "hotspot-address", kind: address, def: "0.0.0.0"},
				{name: "dns-name", empty: true},
				{name: "html-directory", def: "hotspot"}, {name: "html-directory-override", empty: true},
				{name: "rate-limit"},
				{name: "http-proxy", def: "0.0.0.0:0"}, {name: "smtp-server", kind: address, def: "0.0.0.0"},
				{name: "login-by", kind: choices, def: "cookie,http-chap",
					values: words("mac cookie http-chap http-pap https mac-cookie trial")},
				{name: "http-cookie-lifetime", kind: period, def: "3d"},
				{name: "https-redirect", kind: flag, def: "true"},
				{name: "split-user-domain", kind: flag, def: "false"},
				{name: "install-hotspot-queue", kind: flag, def: "false"},
				{name: "ssl-certificate"},
				{name: "mac-auth-mode"}, {name: "mac-auth-password"},
				{name: "trial-uptime-limit", kind: period}, {name: "trial-uptime-reset", kind: period},
				{name: "trial-user-profile", kind: ref, menu: "/ip/hotspot/user/profile"},
				{name: "use-radius", kind: flag, def: "false"},
				{name: "radius-accounting", kind: flag},
				{name: "radius-interim-update"}, {name: "radius-default-domain"},
				{name: "radius-location-id"}, {name: "radius-location-name"},
				{name: "radius-mac-format"}, {name: "nas-port-type"}, pDefault}},
		{path: "/ip/hotspot/user", verbs: listVerbs + " reset-counters", props: user,
			// [FIELD]; one name may exist once for each server.
			unique: func(r, other *row) *Trap {
				if r.v["name"] != other.v["name"] || r.v["server"] != other.v["server"] {
					return nil
				}
				return failure("already have user with this name for this server")
			}},
		{path: "/ip/hotspot/user/profile", verbs: listVerbs,
			unique: sameName("profile with the same name already exists"), // assumed wording
			props: []prop{
				{name: "name", required: true},
				{name: "address-pool", def: ""},
				{name: "session-timeout", kind: period},
				{name: "idle-timeout", kind: period, def: "none", values: words("none")},
				{name: "keepalive-timeout", kind: period, def: "2m", values: words("none")},
				{name: "status-autorefresh", kind: period, def: "1m", values: words("none")},
				{name: "shared-users", kind: number, def: "1", values: words("unlimited"), min: 1, max: 1<<31 - 1},
				{name: "add-mac-cookie", kind: flag, def: "true"},
				{name: "mac-cookie-timeout", kind: period, def: "3d"},
				{name: "rate-limit", kind: limits},
				{name: "address-list", empty: true},
				{name: "incoming-filter"}, {name: "outgoing-filter"},
				{name: "incoming-packet-mark"}, {name: "outgoing-packet-mark"},
				{name: "open-status-page", kind: choice, values: words("always http-login")},
				{name: "parent-queue", kind: ref, menu: "/queue/simple", values: words("none")},
				{name: "queue-type", kind: refPair, menu: "/queue/type"},
				{name: "insert-queue-before", kind: ref, menu: "/queue/simple", values: words("bottom first")},
				{name: "on-login"}, {name: "on-logout"},
				{name: "transparent-proxy", kind: flag, def: "false"},
				{name: "advertise", kind: flag}, {name: "advertise-url"},
				{name: "advertise-interval"}, {name: "advertise-timeout"}, pDefault}},
		// [HOT]: active and host are read-only; entries can only be removed.
		{path: "/ip/hotspot/active", verbs: "remove login", props: active},
		{path: "/ip/hotspot/host", verbs: "remove", props: hosts},
		{path: "/ip/hotspot/cookie", verbs: "remove", props: []prop{
			{name: "user", ro: true}, {name: "domain", ro: true},
			{name: "mac-address", kind: hardware, ro: true},
			{name: "expires-in", kind: period, ro: true},
			{name: "mac-cookie", kind: flag, ro: true}}},
		{path: "/ip/hotspot/ip-binding", verbs: listVerbs + " move", ordered: true,
			unique: func(r, other *row) *Trap { // [FIELD] the wording
				if r.v["mac-address"] == "" || r.v["mac-address"] != other.v["mac-address"] || r.v["address"] != other.v["address"] {
					return nil
				}
				return failure("such client already exists")
			},
			props: []prop{
				{name: "mac-address", kind: hardware}, {name: "address", kind: network},
				{name: "to-address", kind: network},
				server,
				{name: "type", kind: choice, values: words("regular bypassed blocked")},
				pDisabled, pComment}},
		{path: "/ip/hotspot/walled-garden", verbs: listVerbs + " move reset-counters", ordered: true, props: []prop{
			{name: "action", kind: choice, def: "allow", values: words("allow deny")},
			server,
			{name: "src-address", kind: network}, {name: "dst-address", kind: network},
			{name: "method"}, {name: "dst-host"}, {name: "dst-port"}, {name: "path"},
			{name: "hits", kind: number, def: "0", ro: true}, pDynamic, pDisabled, pComment}},
		{path: "/ip/hotspot/walled-garden/ip", verbs: listVerbs + " move", ordered: true, props: []prop{
			{name: "action", kind: choice, def: "accept", values: words("accept drop reject")},
			server,
			{name: "src-address", kind: network}, {name: "src-address-list"},
			{name: "dst-address", kind: network}, {name: "dst-address-list"}, {name: "dst-host"},
			{name: "protocol"}, {name: "dst-port"}, pInvalid, pDynamic, pDisabled, pComment}},
	}
}

// queueMenus: [QUEUE] and the sample objects of [TF].
func queueMenus(v version) []*menu {
	simple := []prop{
		{name: "name", required: false},
		{name: "target", kind: network, empty: true},
		{name: "dst", kind: network},
		{name: "parent", kind: ref, menu: "/queue/simple", def: "none", values: words("none")},
		{name: "packet-marks", empty: true},
		{name: "priority", kind: pair, def: "8/8"},
		{name: "queue", kind: refPair, menu: "/queue/type", def: "default-small/default-small"},
		{name: "limit-at", kind: ratePair, def: "0/0"},
		{name: "max-limit", kind: ratePair, def: "0/0"},
		{name: "burst-limit", kind: ratePair, def: "0/0"},
		{name: "burst-threshold", kind: ratePair, def: "0/0"},
		{name: "burst-time", kind: pair, def: "0s/0s"},
		{name: "bucket-size", kind: pair, def: "0.1/0.1"},
		{name: "time"}, {name: "total-queue"}, {name: "total-limit-at", kind: rate},
		{name: "total-max-limit", kind: rate}, {name: "total-priority", kind: number, min: 1, max: 8},
	}
	for _, n := range words("rate packet-rate bytes packets queued-bytes queued-packets dropped") {
		simple = append(simple, prop{name: n, kind: pair, def: "0/0", ro: true})
	}
	simple = append(simple, counters(words("total-rate total-packet-rate total-bytes total-packets total-queued-bytes total-queued-packets total-dropped")...)...)
	simple = append(simple, pInvalid, pDynamic, pDisabled, pComment)

	tree := []prop{
		{name: "name"}, {name: "parent", required: true}, {name: "packet-mark", empty: true},
		{name: "limit-at", kind: rate, def: "0"}, {name: "queue", kind: ref, menu: "/queue/type", def: "default-small"},
		{name: "priority", kind: number, def: "8", min: 1, max: 8},
		{name: "max-limit", kind: rate, def: "0"}, {name: "burst-limit", kind: rate, def: "0"},
		{name: "burst-threshold", kind: rate, def: "0"}, {name: "burst-time", kind: period, def: "0s"},
		{name: "bucket-size", def: "0.1"},
	}
	tree = append(tree, counters(words("rate packet-rate bytes packets queued-bytes queued-packets dropped")...)...)
	tree = append(tree, pInvalid, pDisabled, pComment)

	kinds := words("bfifo pfifo red sfq pcq mq-pfifo none")
	if v.major >= 7 {
		kinds = append(kinds, "fq-codel", "codel", "cake") // [QUEUE] since 7
	}
	types := []prop{{name: "name", required: true}, {name: "kind", kind: choice, values: kinds, required: true}}
	for _, n := range words("bfifo-limit pfifo-limit mq-pfifo-limit pcq-limit pcq-total-limit sfq-allot red-limit") {
		types = append(types, prop{name: n})
	}
	types = append(types,
		prop{name: "sfq-perturb"}, prop{name: "pcq-rate", kind: rate},
		prop{name: "pcq-burst-rate", kind: rate}, prop{name: "pcq-burst-threshold", kind: rate},
		prop{name: "pcq-burst-time", kind: period},
		prop{name: "pcq-classifier", kind: choices, values: words("src-address dst-address src-port dst-port")},
		prop{name: "pcq-src-address-mask", kind: number, max: 32}, prop{name: "pcq-dst-address-mask", kind: number, max: 32},
		prop{name: "pcq-src-address6-mask", kind: number, max: 128}, prop{name: "pcq-dst-address6-mask", kind: number, max: 128},
		pDefault)

	return []*menu{
		{path: "/queue/simple", verbs: listVerbs + " move reset-counters reset-counters-all", ordered: true, props: simple,
			unique: sameName("already have such name")}, // [FIELD]
		{path: "/queue/tree", verbs: listVerbs + " move reset-counters reset-counters-all", props: tree,
			unique: sameName("already have such name")}, // [FIELD]
		{path: "/queue/type", verbs: "add set remove", props: types,
			unique: sameName("already have such name")}, // [FIELD]
	}
}
