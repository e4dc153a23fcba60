package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A mikrotikSetUp is what the set-up script of a MikroTik depends on.
type mikrotikSetUp struct {
	major, minor int        // of its RouterOS
	gate         netip.Addr // where it finds this gateway
	portal       uint       // port of the portal
	ifname       string     // the hotspot's interface
	server       string     // the hotspot server's name
	api          bool       // the API owns the sessions, not RADIUS
	// The RADIUS secret and the password of the API's user. An empty one
	// becomes a placeholder, and its object is made disabled.
	secret, password string
}

// placeholder stands for what the reseller fills in.
const placeholder = "CHANGE-ME"

func defineRouterOSScript(f *flag.FlagSet) action {
	version := f.String("routeros", "7.16", "`version` that the router runs: 6.49 or 7.x")
	address := f.String("address", "", "`IPv4` address at which the router finds this gateway")
	ifname := f.String("interface", "", "`name` of the hotspot's interface")
	server := f.String("server", "hotspot1", "`name` of the hotspot server")
	sessions := f.String("sessions", "radius", "`who` owns the sessions: radius or api, never both")
	port := f.Uint("portal-port", 2050, "`port` of the portal here")
	secret := f.String("secret-file", "", "`file` with the RADIUS secret, or -; without it a placeholder is printed")
	password := f.String("password-file", "", "`file` with a password for the API's user, or -; without it a placeholder")
	remove := f.Bool("remove", false, "print the script that takes everything away again")
	return func(_ context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		m := mikrotikSetUp{ifname: *ifname, server: *server, portal: *port, api: *sessions == "api"}
		var ok bool
		if m.major, m.minor, ok = routerOSVersion(*version); !ok {
			return usagef("--routeros %q is not supported; it must be 6.49 or 7.x", *version)
		}
		if *remove {
			return e.printScript(m.removal())
		}
		var err error
		if m.gate, err = netip.ParseAddr(*address); err != nil || !m.gate.Is4() || !m.gate.IsGlobalUnicast() {
			return usagef("routeros script needs --address, the IPv4 address at which the router finds this gateway, such as 192.168.88.2")
		}
		switch {
		case !nameable(m.ifname):
			return usagef("routeros script needs --interface, the hotspot's interface as /ip hotspot print shows it")
		case !nameable(m.server):
			return usagef("--server must be the hotspot server's name as /ip hotspot print shows it")
		case *sessions != "radius" && *sessions != "api":
			return usagef("--sessions must be radius or api")
		case m.portal == 0 || m.portal > 65535:
			return usagef("--portal-port must be 1 to 65535")
		case m.api && *secret != "":
			return usagef("--secret-file is for --sessions radius")
		case !m.api && *password != "":
			return usagef("--password-file is for --sessions api")
		}
		if m.secret, err = e.readSecret(*secret); err != nil {
			return err
		}
		if m.password, err = e.readSecret(*password); err != nil {
			return err
		}
		for _, s := range []string{m.secret, m.password} {
			if s != "" && !nameable(s) {
				return usagef("a secret that is pasted must be printable ASCII without a question mark, which the router's console takes for a call for help")
			}
		}
		return e.printScript(m.setUp())
	}
}

func (e *env) printScript(text string) error {
	if e.json {
		return e.print(struct {
			Script string `json:"script"`
		}{text})
	}
	_, err := io.WriteString(e.stdout, text)
	return err
}

// routerOSVersion reads a version that the scripts know.
func routerOSVersion(s string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(s, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	if second != "" {
		if minor, err = strconv.Atoi(second); err != nil || minor < 0 {
			return 0, 0, false
		}
	}
	return major, minor, major == 6 && minor == 49 || major == 7
}

// nameable says whether a text can be pasted in quotes.
func nameable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '?' {
			return false
		}
	}
	return s != ""
}

// quote writes a text for the router's console (manual, "Scripting": constant
// escape sequences).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(s) + `"`
}

// An rsc is a script for the router's console. Every line is a command of its
// own with whole paths and no variable of another line, so that it means the
// same pasted and imported. Paths are written with spaces, which 6 and 7 know.
type rsc struct{ strings.Builder }

// say writes a comment.
func (s *rsc) say(format string, args ...any) { fmt.Fprintf(s, "# "+format+"\n", args...) }

// part begins a part with a comment.
func (s *rsc) part(format string, args ...any) { s.WriteString("\n"); s.say(format, args...) }

// do writes a command.
func (s *rsc) do(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// mark is the comment on an object of the script. The data path's own marks
// begin otherwise ("zonegate:"), and it leaves these alone.
func mark(what string) string { return quote("zonegate setup " + what) }

// add makes a marked object if it is not there.
func (s *rsc) add(menu, what, words string) {
	s.do(`:if ([:len [%s find where comment=%s]] = 0) do={ %s add %s comment=%s }`, menu, mark(what), menu, words, mark(what))
}

// first makes a marked rule before all others that can be moved, if it is not
// there: the hotspot's own, dynamic rules stay before it.
func (s *rsc) first(menu, what, words string) {
	add := fmt.Sprintf("%s add %s comment=%s", menu, words, mark(what))
	s.do(`:if ([:len [%s find where comment=%s]] = 0) do={ :if ([:len [%s find where !dynamic]] = 0) do={ %s } else={ %s place-before=[:pick [%s find where !dynamic] 0] } }`,
		menu, mark(what), menu, add, add, menu)
}

// apiSSL is the service itself: newer versions list its connections after it,
// under the same name.
const apiSSL = `[:pick [/ip service find where name="api-ssl"] 0]`

// setUp is the script that prepares a router. "Manual" is MikroTik's.
func (m mikrotikSetUp) setUp() string {
	s := &rsc{}
	s.say("zonegate: sets a MikroTik with RouterOS %d.%d up for the gateway at %s.", m.major, m.minor, m.gate)
	s.say("Read it, then paste it into a terminal of the router. Twice changes nothing.")
	s.say("Everything made here has a comment that begins with \"zonegate setup\" or, where there are no comments,")
	s.say("a name that begins with \"zonegate-\"; zonegate routeros script --remove prints what takes it away.")
	s.say("Not run on a router yet: take a backup first (/system backup save name=before-zonegate).")
	if m.api && m.password == "" || !m.api && m.secret == "" {
		s.say("%s stands for a secret that is not printed here: what has it is made disabled. See the end.", placeholder)
	}
	m.clock(s)
	if m.api {
		m.apiAccess(s)
	} else {
		m.radius(s)
	}
	m.guard(s)
	m.hotspot(s)
	m.fastTrack(s)
	m.ipv6(s)
	m.left(s)
	return s.String()
}

func (m mikrotikSetUp) clock(s *rsc) {
	s.part("The clock, before a certificate is dated (manual, \"NTP\"). An NTP client that is on is left alone.")
	if m.major == 6 {
		s.say("With the extra package ntp there is no server-dns-names: set primary-ntp by hand.")
		s.do(`:if (![/system ntp client get enabled]) do={ /system ntp client set enabled=yes server-dns-names=0.pool.ntp.org,1.pool.ntp.org }`)
		return
	}
	s.do(`:if (![/system ntp client get enabled]) do={ /system ntp client set enabled=yes servers=pool.ntp.org }`)
}

func (m mikrotikSetUp) apiAccess(s *rsc) {
	s.part("A user for the API alone, with what the gateway needs (manual, \"User\": policies), from its address only.")
	s.do(`:if ([:len [/user group find where name="zonegate"]] = 0) do={ /user group add name=zonegate policy=api,read,write comment=%s }`, mark("group"))
	password, disabled := m.password, ""
	if password == "" {
		password, disabled = placeholder, " disabled=yes"
	}
	s.do(`:if ([:len [/user find where name="zonegate"]] = 0) do={ /user add name=zonegate group=zonegate address=%s/32 password=%s%s comment=%s }`,
		m.gate, quote(password), disabled, mark("user"))
	s.part("TLS for the API (manual, \"Certificates\", \"Services\"). Without a certificate api-ssl is anonymous, which no")
	s.say("modern client speaks. An api-ssl that has a certificate is left alone: let it accept %s yourself.", m.gate)
	s.do(`:if ([:len [/certificate find where name="zonegate-api"]] = 0) do={ /certificate add name=zonegate-api common-name=zonegate-api key-size=2048 days-valid=3650 key-usage=digital-signature,key-encipherment,tls-server; /certificate sign zonegate-api }`)
	s.do(`:if ([:len [/certificate find where name=[/ip service get %s certificate]]] = 0) do={ /ip service set %s certificate=zonegate-api address=%s/32 disabled=no }`,
		apiSSL, apiSSL, m.gate)
}

func (m mikrotikSetUp) radius(s *rsc) {
	s.part("RADIUS (manual, \"RADIUS\"). 1 s is enough for slow flash; the default of 300 ms is not.")
	secret, disabled := m.secret, ""
	if secret == "" {
		secret, disabled = placeholder, " disabled=yes"
	}
	signed := ""
	if m.major > 7 || m.major == 7 && m.minor >= 15 {
		signed = " require-message-auth=yes-for-request-resp"
	}
	s.add("/radius", "radius", fmt.Sprintf("service=hotspot address=%s secret=%s authentication-port=1812 accounting-port=1813 timeout=1s%s%s",
		m.gate, quote(secret), signed, disabled))
	s.say("CoA and Disconnect: without them a reached cap or a revoked voucher ends only with the session.")
	s.do(`:if ((![/radius incoming get accept]) || ([/radius incoming get port] != 3799)) do={ /radius incoming set accept=yes port=3799 }`)
	s.say("zonegate counts devices; the router's own limit of one would refuse a second (manual, \"HotSpot\", user profiles).")
	s.do(`:if ([/ip hotspot user profile get [/ip hotspot user profile find where name="default"] shared-users] = "1") do={ /ip hotspot user profile set [/ip hotspot user profile find where name="default"] shared-users=unlimited }`)
}

func (m mikrotikSetUp) guard(s *rsc) {
	const menu = "/ip firewall filter"
	s.part("Customers do not reach www, www-ssl, api and api-ssl of the router; the hotspot's own pages are on other ports,")
	s.say("to which it redirects (manual, \"HotSpot\": firewall). WinBox and SSH are left as they are. The last rule comes first.")
	s.first(menu, "management", "chain=input action=drop protocol=tcp dst-port=80,443,8728,8729 in-interface="+quote(m.ifname))
	if m.api {
		s.first(menu, "api", fmt.Sprintf("chain=input action=accept protocol=tcp dst-port=8729 src-address=%s", m.gate))
	} else {
		s.first(menu, "coa", fmt.Sprintf("chain=input action=accept protocol=udp dst-port=3799 src-address=%s", m.gate))
	}
}

func (m mikrotikSetUp) hotspot(s *rsc) {
	settings := "use-radius=yes radius-accounting=yes radius-interim-update=received login-by=http-chap,mac-cookie"
	if m.api {
		settings = "use-radius=no login-by=http-chap"
	}
	const profile = "/ip hotspot profile"
	name := quote(m.server)
	s.part("The hotspot's profile: a copy of the present one, named zonegate-NAME, so that --remove finds the way back")
	s.say("(manual, \"HotSpot\": server profiles).")
	s.do(`:if ([:len [/ip hotspot find where name=%s]] = 0) do={ :put "zonegate: there is no hotspot server of that name; see /ip hotspot print" }`, name)
	s.do(`:foreach s in=[/ip hotspot find where name=%s] do={ :local p [/ip hotspot get $s profile]; :if ([:pick $p 0 9] != "zonegate-") do={ :if ([:len [%s find where name=("zonegate-" . $p)]] = 0) do={ %s add copy-from=[%s find where name=$p] name=("zonegate-" . $p) %s }; /ip hotspot set $s profile=("zonegate-" . $p) } }`,
		name, profile, profile, profile, settings)
	s.part("The gateway is no customer, and strangers reach its portal (manual, \"HotSpot\": IP bindings, walled garden).")
	s.add("/ip hotspot ip-binding", "gateway", fmt.Sprintf("address=%s type=bypassed", m.gate))
	s.add("/ip hotspot walled-garden ip", "portal", fmt.Sprintf("action=accept protocol=tcp dst-address=%s dst-port=%d", m.gate, m.portal))
	if m.api {
		s.part("The portal knows customers by their addresses, which the masquerade of a hotspot's set-up would hide from it")
		s.say("(manual, \"HotSpot\": masquerade network). The gateway's answers must come back through this router.")
		s.first("/ip firewall nat", "portal", fmt.Sprintf("chain=srcnat action=accept protocol=tcp dst-address=%s dst-port=%d", m.gate, m.portal))
	}
}

func (m mikrotikSetUp) fastTrack(s *rsc) {
	const menu = "/ip firewall filter"
	s.part("FastTrack takes connections past every rate (manual, \"FastTrack\"), so those of customers are accepted before it.")
	s.say("Strangers are stopped before this by the hotspot's own rules, new connections are judged by yours as ever.")
	s.first(menu, "no FastTrack up", "chain=forward action=accept connection-state=established,related in-interface="+quote(m.ifname))
	s.first(menu, "no FastTrack down", "chain=forward action=accept connection-state=established,related out-interface="+quote(m.ifname))
}

func (m mikrotikSetUp) ipv6(s *rsc) {
	s.part("The hotspot knows only IPv4 (manual, \"HotSpot\"): IPv6 would go around it.")
	if m.major == 6 {
		s.say("A router without the package ipv6 has no such menu and prints an error: then there is nothing to stop.")
	}
	s.first("/ipv6 firewall filter", "no IPv6", "chain=forward action=drop in-interface="+quote(m.ifname))
}

// left says what the script cannot do.
func (m mikrotikSetUp) left(s *rsc) {
	s.part("What is left to do by hand:")
	switch {
	case m.api:
		if m.password == "" {
			s.say("- a password of your own: /user set zonegate disabled=no password=...")
		}
	case m.secret == "":
		s.say("- the secret that zonegate nas add printed: /radius set [find where comment=%s] disabled=no secret=...", mark("radius"))
	}
	sessions := "radius"
	if m.api {
		sessions = "api"
	}
	s.say("- zonegate nas login-page --sessions %s http://%s > login.html, in place of that file in the", sessions, netip.AddrPortFrom(m.gate, uint16(m.portal)))
	s.say("  hotspot's directory: /ip hotspot profile print shows it as html-directory")
	if m.api {
		m.configuration(s)
	}
}

// configuration prints what the gateway must know to drive the router.
func (m mikrotikSetUp) configuration(s *rsc) {
	s.say("- the gateway's zonegate.toml. The fingerprint is that of the certificate which api-ssl uses:")
	s.say("  :put [/certificate get [/ip service get %s certificate] fingerprint]", apiSSL)
	s.say("  The password goes alone into the file that is named, then: chmod 600 on it.")
	s.WriteString("\n")
	for line := range strings.Lines(`[network]
lan = ""
# link_down = "20M"      # what the uplink really gives, if plans have a committed rate
# link_up = "5M"

[mikrotik]
address = "192.168.88.1" # this router, as the gateway reaches it
user = "zonegate"
password_file = "/etc/zonegate/mikrotik.password"
fingerprint = ""         # 64 hex digits
server = ` + strconv.Quote(m.server) + `
sessions = "api"
`) {
		s.do("%s", strings.TrimSpace("# "+line))
	}
}

// removal is the script that undoes setUp, and removes what the gateway made
// over the API.
func (m mikrotikSetUp) removal() string {
	s := &rsc{}
	s.say("zonegate: takes away what zonegate routeros script and the gateway made on a MikroTik with RouterOS %d.%d.", m.major, m.minor)
	s.say("Stop the gateway first, or it makes its own again. Twice changes nothing. Not run on a router yet.")
	s.say("Customers who are online are logged out.")

	s.part("What the gateway made over the API: sessions and users before their profiles, queues before their parent and types.")
	named := func(menu, field string) {
		s.do(`%s remove [%s find where %s~"^zonegate-"]`, menu, menu, field)
	}
	named("/ip hotspot active", "user")
	s.do(`/ip hotspot user remove [/ip hotspot user find where name~"^zonegate-" or comment~"^zonegate:"]`)
	named("/ip hotspot user profile", "name")
	s.do(`/queue simple remove [/queue simple find where (name~"^zonegate-" or comment~"^zonegate:") and parent!="none"]`)
	named("/queue simple", "name")
	named("/queue tree", "name")
	named("/queue type", "name")
	s.do(`/ip firewall mangle remove [/ip firewall mangle find where comment~"^zonegate:"]`)

	s.part("The hotspot's former profile, then ours.")
	s.do(`:foreach s in=[/ip hotspot find where profile~"^zonegate-"] do={ :local p [/ip hotspot get $s profile]; /ip hotspot set $s profile=[:pick $p 9 [:len $p]] }`)
	named("/ip hotspot profile", "name")

	s.part("What the script made.")
	marked := func(menu string) {
		s.do(`%s remove [%s find where comment~"^zonegate setup "]`, menu, menu)
	}
	for _, menu := range []string{"/ip hotspot walled-garden ip", "/ip hotspot ip-binding", "/ip firewall filter", "/ip firewall nat", "/radius", "/user", "/user group"} {
		marked(menu)
	}
	s.say("CoA stays accepted where another RADIUS server is left.")
	s.do(`:if ([:len [/radius find]] = 0) do={ /radius incoming set accept=no }`)
	s.do(`:if ([/ip service get %s certificate] = "zonegate-api") do={ /ip service set %s certificate=none address="" disabled=yes }`, apiSSL, apiSSL)
	s.do(`/certificate remove [/certificate find where name="zonegate-api"]`)
	if m.major == 6 {
		s.say("A router without the package ipv6 prints an error here.")
	}
	marked("/ipv6 firewall filter")

	s.part("Left as it is, because it may be yours: the NTP client, login.html, and shared-users of the default user profile,")
	s.say("which was 1 before: /ip hotspot user profile set default shared-users=1")
	return s.String()
}
