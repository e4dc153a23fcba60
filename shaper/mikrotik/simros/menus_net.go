package simros

// netMenus: what lies around a hotspot. Field names and samples from [TF],
// which fields come and go from [LAB].
func netMenus(v version) []*menu {
	service := []prop{
		{name: "name", ro: true},
		{name: "port", kind: number, min: 1, max: 65535},
		{name: "address", kind: network, empty: true},
		{name: "certificate"}, {name: "tls-version"},
	}
	if v.major >= 7 {
		service = append(service, prop{name: "vrf", def: "main"}) // [TF]
	}
	service = append(service, pInvalid, pDisabled) // [LAB] no comment here

	radius := []prop{
		{name: "service", kind: choices, values: words("ppp login hotspot wireless dhcp ipsec dot1x"), empty: true},
		{name: "called-id"}, {name: "domain"}, {name: "realm"},
		{name: "address", kind: address, def: "0.0.0.0"},
		{name: "secret", empty: true},
		{name: "authentication-port", kind: number, def: "1812", min: 1, max: 65535},
		{name: "accounting-port", kind: number, def: "1813", min: 1, max: 65535},
		{name: "timeout", kind: period, def: "300ms"},
		{name: "accounting-backup", kind: flag, def: "false"},
		{name: "src-address", kind: address},
		{name: "protocol", kind: choice, def: "udp", values: words("udp radsec")},
		{name: "certificate"},
	}
	if v.atLeast(7, 15) {
		// [FIELD] set-up scripts turn it off where their server cannot sign.
		radius = append(radius, prop{name: "require-message-auth", kind: choice, def: "yes-for-request-resp", values: words("no yes-for-request-resp")})
	}
	radius = append(radius, pDisabled, pComment)

	return []*menu{
		{path: "/ip/service", verbs: "set enable disable", fromZero: true, props: service},
		{path: "/interface/list", verbs: "add set remove comment", unique: sameName("already have interface list with such name"), // assumed wording
			props: []prop{{name: "name", required: true}, {name: "include"}, {name: "exclude"},
				{name: "builtin", kind: flag, ro: true}, pDynamic, pComment}},
		{path: "/interface/list/member", verbs: listVerbs, props: []prop{
			{name: "list", kind: ref, menu: "/interface/list", required: true},
			{name: "interface", kind: ref, menu: "/interface", required: true}, pDynamic, pDisabled, pComment}},
		{path: "/ipv6/settings", single: true, verbs: "set", props: []prop{
			{name: "disable-ipv6", kind: flag, def: "false"}, {name: "forward", kind: flag, def: "true"}}},
		{path: "/ip/firewall/filter", verbs: listVerbs + " move reset-counters", ordered: true, props: rule(v, filterActions(v),
			prop{name: "reject-with"}, prop{name: "hw-offload", kind: flag})},
		{path: "/ipv6/firewall/filter", verbs: listVerbs + " move reset-counters", ordered: true, props: rule(v,
			words("accept add-dst-to-address-list add-src-to-address-list drop jump log passthrough reject return"),
			prop{name: "reject-with"})},
		{path: "/ip/firewall/nat", verbs: listVerbs + " move reset-counters", ordered: true, props: rule(v,
			words("accept add-dst-to-address-list add-src-to-address-list dst-nat jump log masquerade netmap passthrough redirect return same src-nat"),
			prop{name: "to-addresses", kind: network}, prop{name: "to-ports"})},
		{path: "/ip/firewall/mangle", verbs: listVerbs + " move reset-counters", ordered: true, props: rule(v,
			words("accept add-dst-to-address-list add-src-to-address-list change-dscp change-mss change-ttl clear-df fasttrack-connection jump log mark-connection mark-packet mark-routing passthrough return set-priority sniff-pc sniff-tzsp strip-ipv4-options"),
			prop{name: "new-packet-mark"}, prop{name: "new-connection-mark"}, prop{name: "new-routing-mark"},
			prop{name: "new-dscp"}, prop{name: "new-ttl"}, prop{name: "new-mss"}, prop{name: "new-priority"},
			prop{name: "passthrough", kind: flag})},
		{path: "/ip/firewall/address-list", verbs: listVerbs,
			// [LAB] list and address together, among enabled entries; a /32 is its address.
			unique: func(r, other *row) *Trap {
				if r.v["list"] != other.v["list"] || r.v["address"] != other.v["address"] || r.v["disabled"] == "true" || other.v["disabled"] == "true" {
					return nil
				}
				return failure("already have such entry")
			},
			props: []prop{{name: "list", required: true}, {name: "address", kind: network, required: true},
				{name: "timeout", kind: period}, {name: "creation-time", ro: true}, pDynamic, pDisabled, pComment}},
		{path: "/ip/arp", verbs: listVerbs, props: []prop{
			{name: "address", kind: address, required: true}, {name: "mac-address", kind: hardware},
			{name: "interface", kind: ref, menu: "/interface", required: true},
			{name: "published", kind: flag, def: "false"}, pInvalid,
			{name: "DHCP", kind: flag, def: "false", ro: true}, pDynamic,
			{name: "complete", kind: flag, def: "true", ro: true}, pDisabled, pComment}},
		{path: "/ip/dhcp-server/lease", verbs: listVerbs + " make-static",
			// [LAB] a MAC once for each server, an address once for all.
			unique: func(r, other *row) *Trap {
				switch {
				case r.v["disabled"] == "true" || other.v["disabled"] == "true" || r.dynamic || other.dynamic:
					return nil
				case r.v["address"] == other.v["address"]:
					return failure("already have static lease with this IP address")
				case r.v["mac-address"] == other.v["mac-address"] &&
					(r.v["server"] == other.v["server"] || r.v["server"] == "" || other.v["server"] == ""):
					return failure("already have static lease for this client")
				}
				return nil
			},
			props: []prop{
				{name: "address", kind: address}, {name: "mac-address", kind: hardware}, {name: "client-id"},
				{name: "address-lists", empty: true},
				{name: "server", blank: "all"}, // [LAB] all prints as nothing
				{name: "dhcp-option", empty: true}, {name: "lease-time", kind: period}, {name: "rate-limit", kind: limits},
				{name: "block-access", kind: flag}, {name: "use-src-mac", kind: flag},
				{name: "insert-queue-before", values: words("bottom first")},
				{name: "status", def: "waiting", ro: true}, {name: "expires-after", kind: period, ro: true},
				{name: "last-seen", def: "never", ro: true},
				{name: "active-address", ro: true}, {name: "active-mac-address", ro: true}, {name: "active-server", ro: true},
				{name: "host-name", ro: true},
				{name: "radius", kind: flag, def: "false", ro: true}, pDynamic,
				{name: "blocked", kind: flag, def: "false", ro: true}, pDisabled, pComment}},
		{path: "/radius", verbs: listVerbs + " move", ordered: true, props: radius},
		{path: "/radius/incoming", single: true, verbs: "set", props: []prop{
			{name: "accept", kind: flag, def: "false"},
			{name: "port", kind: number, def: "3799", min: 1, max: 65535}}},
	}
}

func filterActions(v version) []string {
	return words("accept add-dst-to-address-list add-src-to-address-list drop fasttrack-connection jump log passthrough reject return tarpit")
}

// rule lists the properties of a firewall rule. [LAB] Matchers print only when
// set, and disabled, log and log-prefix only when they were ever given; a
// missing interface is refused as "interface", not by the property's name.
func rule(v version, actions []string, own ...prop) []prop {
	props := []prop{
		{name: "chain", required: true},
		{name: "action", kind: choice, def: "accept", values: actions},
	}
	for _, n := range words("src-address dst-address") {
		props = append(props, prop{name: n, kind: network})
	}
	for _, n := range words("in-interface out-interface") {
		props = append(props, prop{name: n, kind: ref, menu: "/interface", label: "interface"})
	}
	for _, n := range words("in-interface-list out-interface-list") {
		props = append(props, prop{name: n, kind: ref, menu: "/interface/list", label: "interface-list"})
	}
	for _, n := range words(`src-address-list dst-address-list src-address-type dst-address-type protocol port src-port dst-port
		src-mac-address connection-state connection-nat-state connection-mark connection-type connection-bytes connection-rate
		connection-limit packet-mark packet-size routing-mark hotspot ipsec-policy tcp-flags tcp-mss icmp-options ttl dscp
		content layer7-protocol tls-host limit dst-limit nth random time per-connection-classifier ingress-priority priority
		in-bridge-port out-bridge-port in-bridge-port-list out-bridge-port-list fragment psd
		jump-target address-list address-list-timeout log-prefix`) {
		props = append(props, prop{name: n})
	}
	props = append(props, own...)
	props = append(props, prop{name: "log", kind: flag})
	props = append(props, counters("bytes", "packets")...)
	return append(props, pDynamic, pInvalid, prop{name: "disabled", kind: flag}, pComment)
}
