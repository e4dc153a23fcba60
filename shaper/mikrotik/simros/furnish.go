package simros

import (
	"strconv"
	"strings"
	"time"
)

// put adds an item that the router brings along.
func (r *Router) put(path string, words ...string) *row {
	m := r.menus[path]
	it := &row{v: make(map[string]string), defaults: true}
	for i := range m.props {
		if p := &m.props[i]; p.def != "" {
			it.v[p.name] = r.stored(p, p.def)
		}
	}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		if p := m.prop(name); p.kind == ref || p.kind == refPair {
			value, _ = r.resolve(p, value)
		}
		it.v[name] = value
	}
	if m.single {
		m.rows = append(m.rows, it)
		return it
	}
	r.insert(m, it, nil)
	return it
}

// furnish fills a fresh router: what every router brings [TF: samples], the
// user of the options, and unless Bare a hotspot on a bridge.
func (r *Router) furnish() {
	res := r.put("/system/resource",
		"version="+r.versionText(), "build-time="+r.buildTime(), "factory-software=6.45.9",
		"free-memory=41943040", "total-memory=67108864", "cpu=MIPS 24Kc V7.4", "cpu-count=1", "cpu-frequency=650",
		"cpu-load=1", "free-hdd-space=4194304", "total-hdd-space=16777216",
		"architecture-name=mipsbe", "board-name=hAP lite", "platform=MikroTik")
	res.refresh = func() { res.v["uptime"] = formatPeriod(r.uptime()) }
	r.put("/system/identity", "name="+r.options.Identity)
	clock := r.put("/system/clock")
	clock.refresh = func() {
		now := r.wall()
		clock.v["time"], clock.v["date"] = now.UTC().Format("15:04:05"), r.date(now)
	}
	for _, name := range r.packages() {
		r.put("/system/package", "name="+name, "version="+r.version.text, "build-time="+r.buildTime())
	}
	for i, name := range []string{"ether1", "ether2", "ether3", "ether4", "wlan1"} {
		kind := "ether"
		if name == "wlan1" {
			kind = "wlan"
		}
		r.put("/interface", "name="+name, "default-name="+name, "type="+kind, "mtu=1500", "mac-address=4C:5E:0C:00:00:0"+strconv.Itoa(i+1))
	}
	r.put("/interface", "name=bridge1", "type=bridge", "mac-address=4C:5E:0C:00:00:02")

	// [TF] the policies of group read; full and write beside it.
	full := "local,telnet,ssh,ftp,reboot,read,write,policy,test,winbox,password,web,sniff,sensitive,api,romon"
	r.put("/user/group", "name=read", "policy=local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,sensitive,api,romon,!ftp,!write,!policy")
	r.put("/user/group", "name=write", "policy=local,telnet,ssh,reboot,read,write,test,winbox,password,web,sniff,sensitive,api,romon,!ftp,!policy")
	r.put("/user/group", "name=full", "policy="+full)
	r.put("/user", "name="+r.options.User, "group=full", "password="+r.options.Password, "comment=system default user")

	for _, t := range []string{"default kind=pfifo pfifo-limit=50", "ethernet-default kind=pfifo pfifo-limit=50",
		"wireless-default kind=sfq sfq-perturb=5 sfq-allot=1514", "synchronous-default kind=red",
		"hotspot-default kind=sfq sfq-perturb=5 sfq-allot=1514", "only-hardware-queue kind=none",
		"multi-queue-ethernet-default kind=mq-pfifo mq-pfifo-limit=50", "default-small kind=pfifo pfifo-limit=10",
		"pcq-upload-default kind=pcq pcq-rate=0 pcq-limit=50 pcq-classifier=src-address pcq-total-limit=2000",
		"pcq-download-default kind=pcq pcq-rate=0 pcq-limit=50 pcq-classifier=dst-address pcq-total-limit=2000"} {
		r.put("/queue/type", append([]string{"default=true"}, strings.Fields("name="+t)...)...)
	}
	for i, name := range []string{"telnet", "ftp", "www", "ssh", "www-ssl", "api", "winbox", "api-ssl"} { // [TF]
		it := r.put("/ip/service", "name="+name, "port="+[]string{"23", "21", "80", "22", "443", "8728", "8291", "8729"}[i])
		if strings.HasSuffix(name, "-ssl") {
			it.v["certificate"], it.v["tls-version"] = "none", "any"
		}
	}
	for _, name := range []string{"all", "none", "dynamic", "static"} {
		r.put("/interface/list", "name="+name, "builtin=true")
	}
	r.put("/radius/incoming")
	r.put("/ipv6/settings")
	if r.version.major >= 7 {
		r.put("/system/device-mode", "mode=advanced", "hotspot="+strconv.FormatBool(!r.options.NoHotspot))
	}
	r.put("/ip/hotspot/user/profile", "name=default", "default=true")
	r.put("/ip/hotspot/profile", "name=default", "default=true")
	trial := r.put("/ip/hotspot/user", "name=default-trial", "default=true", "comment=counters and limits for trial users") // [FIELD]
	delete(trial.v, "profile")
	if r.options.Bare || r.options.NoHotspot {
		return
	}
	r.put("/ip/hotspot/profile", "name=hsprof1", "hotspot-address=10.5.50.1", "dns-name=wifi.zone", "login-by=cookie,http-chap,http-pap,mac-cookie").defaults = false
	r.put("/ip/hotspot", "name=hotspot1", "interface=bridge1", "address-pool=hs-pool-1", "profile=hsprof1").defaults = false
}

// versionText: [TF] "7.10 (stable)"; version 6 ends in the long-term channel.
func (r *Router) versionText() string {
	if r.version.major < 7 {
		return r.version.text + " (long-term)"
	}
	return r.version.text + " (stable)"
}

// buildTime: [TF] "Jun/15/2023 05:17:29" up to 7.10; ISO later (assumed from
// the change of 7.10).
func (r *Router) buildTime() string {
	t := time.Date(2024, 10, 1, 8, 0, 0, 0, time.UTC)
	if r.version.atLeast(7, 11) {
		return t.Format(time.DateTime)
	}
	return t.Format("Jan/02/2006 15:04:05")
}

// packages: version 7 has one main package, version 6 one for each part [API].
func (r *Router) packages() []string {
	if r.version.major >= 7 {
		return []string{"routeros"}
	}
	return []string{"routeros-mipsbe", "system", "ipv6", "wireless", "hotspot", "dhcp", "mpls", "routing", "ppp", "security", "advanced-tools"}
}
