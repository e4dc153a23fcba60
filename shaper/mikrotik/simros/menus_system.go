package simros

// systemMenus: sample objects of [TF], formats from [API].
func systemMenus(v version) []*menu {
	all := []*menu{
		{path: "/system/resource", single: true, props: []prop{
			{name: "uptime", kind: period, ro: true}, {name: "version", ro: true}, {name: "build-time", ro: true},
			{name: "factory-software", ro: true},
			{name: "free-memory", kind: number, ro: true}, {name: "total-memory", kind: number, ro: true},
			{name: "cpu", ro: true}, {name: "cpu-count", kind: number, ro: true}, {name: "cpu-frequency", kind: number, ro: true},
			{name: "cpu-load", kind: number, ro: true},
			{name: "free-hdd-space", kind: number, ro: true}, {name: "total-hdd-space", kind: number, ro: true},
			{name: "architecture-name", ro: true}, {name: "board-name", ro: true}, {name: "platform", ro: true}}},
		{path: "/system/identity", single: true, verbs: "set", props: []prop{{name: "name"}}},
		{path: "/system/clock", single: true, verbs: "set", props: []prop{
			{name: "time", ro: true}, {name: "date", ro: true}, {name: "gmt-offset", def: "+00:00", ro: true}, // [LAB]
			{name: "time-zone-autodetect", kind: flag, def: "true"}, {name: "time-zone-name", def: "manual"}}},
		{path: "/system/package", verbs: "enable disable", props: []prop{
			{name: "name", ro: true}, {name: "version", ro: true}, {name: "build-time", ro: true},
			{name: "scheduled", ro: true, empty: true}, {name: "disabled", kind: flag, def: "false"}}},
		{path: "/interface", verbs: "set enable disable comment", props: []prop{
			{name: "name"}, {name: "default-name", ro: true}, {name: "type", ro: true}, {name: "mtu", def: "auto"},
			{name: "mac-address", kind: hardware, ro: true},
			{name: "rx-byte", kind: number, def: "0", ro: true}, {name: "tx-byte", kind: number, def: "0", ro: true},
			{name: "running", kind: flag, def: "true", ro: true}, pDisabled, pComment}},
		{path: "/user/group", verbs: "add set remove comment", unique: sameName("group with the same name already exists"), // assumed wording
			props: []prop{{name: "name", required: true},
				{name: "policy", kind: choices, values: words("local telnet ssh ftp reboot read write policy test winbox password web sniff sensitive api romon rest-api dude tikapp")},
				{name: "skin", def: "default"}, pComment}},
		{path: "/user", verbs: listVerbs, unique: sameName("user with the same name already exists"), // assumed wording
			props: []prop{{name: "name", required: true},
				{name: "group", kind: ref, menu: "/user/group", required: true},
				{name: "address", kind: network, empty: true},
				{name: "password", hidden: true},
				{name: "last-logged-in", ro: true}, {name: "expired", kind: flag, ro: true}, pDisabled, pComment}},
	}
	if v.major >= 7 {
		// [HOT] names it; the properties beside hotspot are left out.
		all = append(all, &menu{path: "/system/device-mode", single: true, props: []prop{
			{name: "mode", ro: true}, {name: "hotspot", kind: flag, ro: true}, {name: "flagged", kind: flag, def: "false", ro: true}}})
	}
	return all
}
