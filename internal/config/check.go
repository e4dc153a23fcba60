package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds that keep products of settings far inside 64 bits.
const (
	maxHours     = 10 * 366 * 24 // ten years
	maxKbps      = 100_000_000   // 100 Gbit/s
	maxMegabytes = 1_000_000_000 // a petabyte
	maxPrice     = 1_000_000_000
	maxDevices   = 100
)

// check turns what the file says into a Config. The result counts only if no
// problem was added.
func (c *checker) check(raw *rawConfig) *Config {
	cfg := &Config{
		DataDir:       c.path("data_dir", raw.DataDir, "/etc/zonegate/data"),
		ControlSocket: c.path("control_socket", raw.ControlSocket, "/var/run/zonegate.sock"),
	}
	// sun_path of unix(7) holds 108 octets with its final zero.
	if len(cfg.ControlSocket) > 107 {
		c.add("control_socket", "must be at most 107 characters long, the system allows no more")
	}
	switch level := value(raw.LogLevel, "info"); level {
	case "debug":
		cfg.LogLevel = slog.LevelDebug
	case "info":
		cfg.LogLevel = slog.LevelInfo
	case "warn":
		cfg.LogLevel = slog.LevelWarn
	case "error":
		cfg.LogLevel = slog.LevelError
	default:
		c.add("log_level", `must be "debug", "info", "warn" or "error", not %q`, level)
	}
	c.checkZone(cfg, &raw.Zone)
	c.checkNetwork(cfg, &raw.Network, drives(&raw.MikroTik))
	c.checkPortal(cfg, &raw.Portal)
	c.checkDNS(cfg, &raw.DNS)
	c.checkRADIUS(cfg, &raw.RADIUS, drives(&raw.MikroTik))
	c.checkMikroTik(cfg, &raw.MikroTik)
	c.checkHub(cfg, raw)
	if noLAN(raw) && len(raw.Garden.Domains) > 0 {
		c.add("garden.domains", "has no effect without network.lan; what can be reached before paying is set on the NAS or the MikroTik")
	}
	for i, d := range raw.Garden.Domains {
		name, reason := GardenDomain(d)
		if reason != "" {
			// One problem per domain: the list has one line, the fixes differ.
			c.add(fmt.Sprintf("garden.domains[%d]", i+1), "%s", reason)
		} else if !slices.Contains(cfg.Garden.Domains, name) {
			cfg.Garden.Domains = append(cfg.Garden.Domains, name)
		}
	}
	cfg.Vouchers.WrongPerDevice = int(c.whole("vouchers.wrong_per_device", raw.Vouchers.WrongPerDevice, 5, 1, 100))
	cfg.Limits.Checkpoint = c.period("limits.checkpoint", raw.Limits.Checkpoint, "60s", time.Second, 10*time.Minute)
	cfg.Limits.IdleTimeout = c.period("limits.idle_timeout", raw.Limits.IdleTimeout, "15m", time.Minute, 24*time.Hour)
	switch mb := value(raw.Limits.Megabyte, 1_000_000); mb {
	case 1_000_000, 1 << 20:
		cfg.Limits.Megabyte = uint64(mb)
	default:
		c.add("limits.megabyte", "must be 1000000 or 1048576, not %d", mb)
	}
	for i := range raw.Plans {
		if c.full() {
			break
		}
		cfg.Plans = append(cfg.Plans, c.plan(i, raw.Plans, cfg.Limits.Megabyte))
	}
	return cfg
}

func (c *checker) checkZone(cfg *Config, raw *rawZone) {
	cfg.Zone.Name = c.text("zone.name", raw.Name, true, 64)
	cfg.Zone.ID = c.id("zone.id", raw.ID, 16, "-", "awa-01")
	cfg.Zone.Contact = c.text("zone.contact", raw.Contact, false, 100)
	cfg.Zone.Language = value(raw.Language, "fr")
	if l := cfg.Zone.Language; l != "fr" && l != "en" {
		c.add("zone.language", `must be "fr" or "en", not %q`, l)
	}
}

// noLAN says that the file asks for a gateway without a data path of its own.
func noLAN(raw *rawConfig) bool { return raw.Network.LAN != nil && *raw.Network.LAN == "" }

// checkNetwork checks the interfaces. api says that the data path is a
// MikroTik.
func (c *checker) checkNetwork(cfg *Config, raw *rawNetwork, api bool) {
	n := &cfg.Network
	n.IsolateClients = value(raw.IsolateClients, true)
	if raw.LAN == nil {
		c.missing("network.lan", `name the interface of the customers, such as lan = "br-lan", or write lan = "" if all of them are behind NASes or a MikroTik`)
	} else if *raw.LAN == "" {
		c.checkNoNetwork(n, raw, api)
		return
	} else if n.LAN = *raw.LAN; !validInterface(n.LAN) {
		c.add("network.lan", "%q cannot be the name of an interface; ip link shows the names", n.LAN)
	}
	const fix = `name the interfaces of the internet, such as wan = ["eth0"]`
	if raw.WAN == nil {
		c.missing("network.wan", fix)
	} else if len(raw.WAN) == 0 {
		c.add("network.wan", "is empty; %s", fix)
	}
	for i, w := range raw.WAN {
		switch {
		case !validInterface(w):
			c.add("network.wan", "%q cannot be the name of an interface; ip link shows the names", w)
		case w == n.LAN:
			c.add("network.wan", "%q is the LAN already; customers and internet need an interface each", w)
		case slices.Contains(raw.WAN[:i], w):
			c.add("network.wan", "%q is listed twice; remove one", w)
		}
	}
	n.WAN = raw.WAN
	n.LinkDown = c.rate("network.link_down", raw.LinkDown)
	n.LinkUp = c.rate("network.link_up", raw.LinkUp)
}

// checkNoNetwork refuses what would shape traffic that never comes by. A
// MikroTik's commitments are scaled to the link if it is told.
func (c *checker) checkNoNetwork(n *Network, raw *rawNetwork, api bool) {
	const fix = "has no effect without a LAN; remove it, or name the interface of the customers in lan"
	if raw.WAN != nil {
		c.add("network.wan", fix)
	}
	link := func(key string, raw *string) uint64 {
		if raw == nil {
			return 0
		}
		if !api {
			c.add(key, fix)
			return 0
		}
		return c.rate(key, raw)
	}
	n.LinkDown = link("network.link_down", raw.LinkDown)
	n.LinkUp = link("network.link_up", raw.LinkUp)
	if raw.IsolateClients != nil {
		c.add("network.isolate_clients", fix)
	}
}

func (c *checker) checkPortal(cfg *Config, raw *rawPortal) {
	p := &cfg.Portal
	p.Port = uint16(c.whole("portal.port", raw.Port, 2050, 1, 65535))
	if name := value(raw.Name, ""); name != "" {
		var reason string
		if p.Name, reason = portalName(name); reason != "" {
			c.add("portal.name", "%s", reason)
		}
	}
	p.TLSCert = c.path("portal.tls_cert", raw.TLSCert, "")
	p.TLSKey = c.path("portal.tls_key", raw.TLSKey, "")
	for i, name := range raw.NASNames {
		host := strings.ToLower(strings.TrimSpace(name))
		if !hostAndPort(host) {
			c.add(fmt.Sprintf("portal.nas_names[%d]", i+1), `%q is no name or address with a port; write one such as "wifi.example.org:2050"`, name)
		} else if !slices.Contains(p.NASNames, host) {
			p.NASNames = append(p.NASNames, host)
		}
	}
	switch {
	case p.TLSCert != "" && p.TLSKey == "":
		c.add("portal.tls_key", "is missing; tls_cert needs its key, or remove both")
	case p.TLSKey != "" && p.TLSCert == "":
		c.add("portal.tls_cert", "is missing; tls_key needs its certificate, or remove both")
	case p.TLSCert != "" && value(raw.Name, "") == "":
		c.add("portal.name", "is missing; HTTPS needs the name that the certificate is for, or remove tls_cert and tls_key")
	}
}

// hostAndPort accepts a name or an address (IPv6 in brackets), and perhaps a
// port, as they stand in a URL.
func hostAndPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		// Without a port: what is good with one is good.
		host, port, err = net.SplitHostPort(s + ":80")
	}
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Zone() == "" && a.Is6() == strings.HasPrefix(s, "[")
	}
	return hostName(host) == "" && !strings.HasPrefix(s, "[")
}

func (c *checker) checkDNS(cfg *Config, raw *rawDNS) {
	cfg.DNS.Port = uint16(c.whole("dns.port", raw.Port, 2053, 1, 65535))
	if cfg.DNS.Port == cfg.Portal.Port && cfg.DNS.Port != 0 {
		c.add("dns.port", "must differ from portal.port (%d)", cfg.Portal.Port)
	}
	for i, u := range raw.Upstream {
		key := fmt.Sprintf("dns.upstream[%d]", i+1)
		ap, err := netip.ParseAddrPort(u)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(u); err == nil {
				ap = netip.AddrPortFrom(a, 53)
			}
		}
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		switch {
		case err != nil || ap.Port() == 0:
			c.add(key, `%q is no address; write an address such as "9.9.9.9", "1.1.1.1:53" or "[2620:fe::fe]:53"`, u)
		case ap.Addr().IsUnspecified() || ap.Addr().IsMulticast():
			c.add(key, "%q is no address of one resolver", u)
		case ap.Addr().IsLoopback() && ap.Port() == cfg.DNS.Port:
			c.add(key, "%q is this forwarder itself; write the address of another resolver", u)
		case !slices.Contains(cfg.DNS.Upstream, ap):
			cfg.DNS.Upstream = append(cfg.DNS.Upstream, ap)
		}
	}
}

// checkRADIUS checks the server. api says that a MikroTik lets customers in
// without it.
func (c *checker) checkRADIUS(cfg *Config, raw *rawRADIUS, api bool) {
	r := &cfg.RADIUS
	r.Enabled = value(raw.Enabled, true)
	if !r.Enabled && cfg.Network.LAN == "" && !api && c.places.has("network.lan") {
		c.add("radius.enabled", "must be true without network.lan: nobody could come online")
	}
	r.AuthPort = uint16(c.whole("radius.auth_port", raw.AuthPort, 1812, 1, 65535))
	r.AcctPort = uint16(c.whole("radius.acct_port", raw.AcctPort, 1813, 1, 65535))
	if r.AcctPort == r.AuthPort {
		c.add("radius.acct_port", "must differ from radius.auth_port (%d)", r.AuthPort)
	}
	if r.AuthPort == cfg.DNS.Port {
		c.add("radius.auth_port", "must differ from dns.port (%d)", cfg.DNS.Port)
	}
	if r.AcctPort == cfg.DNS.Port {
		c.add("radius.acct_port", "must differ from dns.port (%d)", cfg.DNS.Port)
	}
	r.Strict = value(raw.Strict, false)
	// RFC 2869 section 5.16 has 60 s as the least; several NASes ignore less.
	r.Interim = c.period("radius.interim", raw.Interim, "300s", time.Minute, time.Hour)
	r.IdleTimeout = c.period("radius.idle_timeout", raw.IdleTimeout, "15m", time.Minute, 24*time.Hour)
	for i, text := range raw.Listen {
		key := fmt.Sprintf("radius.listen[%d]", i+1)
		a, err := netip.ParseAddr(text)
		a = a.Unmap()
		switch {
		case err != nil:
			c.add(key, `%q is no address; write one that this machine has, such as "192.168.88.2", without a port`, text)
		case a.IsUnspecified() || a.IsMulticast():
			c.add(key, "%q is no address of one interface; write one that this machine has, or leave listen out", text)
		case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
			c.add(key, `%q needs its interface, such as "fe80::1%%eth1"`, text)
		case !slices.Contains(r.Listen, a):
			r.Listen = append(r.Listen, a)
		}
	}
}

// plan checks the plan with index i (from 0). megabyte is 0 if it was refused.
func (c *checker) plan(i int, all []rawPlan, megabyte uint64) Plan {
	raw := &all[i]
	key := func(name string) string { return fmt.Sprintf("plan[%d].%s", i+1, name) }
	p := Plan{
		ID:         c.id(key("id"), raw.ID, 32, "-_", "jour"),
		Name:       c.text(key("name"), raw.Name, true, 64),
		Trial:      value(raw.Trial, false),
		DevicesMax: int(c.whole(key("devices_max"), raw.DevicesMax, 1, 1, maxDevices)),
	}
	for j := range i {
		if raw.ID != nil && all[j].ID != nil && *raw.ID == *all[j].ID {
			c.add(key("id"), "%q is the id of plan[%d] already; every plan needs its own", p.ID, j+1)
			break
		}
	}

	if raw.PriceFCFA == nil && !p.Trial {
		c.missing(key("price_fcfa"), "write the price, such as price_fcfa = 200")
	}
	p.PriceFCFA = c.whole(key("price_fcfa"), raw.PriceFCFA, 0, 0, maxPrice)
	if raw.PriceFCFA != nil && *raw.PriceFCFA == 0 && !p.Trial {
		c.add(key("price_fcfa"), "is 0; write a price, or trial = true for a free trial")
	}

	switch {
	case raw.DurationHours != nil && raw.Duration != nil:
		c.add(key("duration"), "contradicts duration_hours; keep one of them")
	case raw.DurationHours != nil:
		p.Duration = time.Duration(c.whole(key("duration_hours"), raw.DurationHours, 0, 1, maxHours)) * time.Hour
	case raw.Duration != nil:
		p.Duration = c.period(key("duration"), raw.Duration, "", time.Minute, maxHours*time.Hour)
	case !c.places.has(key("duration")):
		c.missing(key("duration_hours"), `write how long the plan lasts, such as duration_hours = 24 or duration = "30m"`)
	}
	p.DataLimit = uint64(c.whole(key("data_limit_mb"), raw.DataLimitMB, 0, 0, maxMegabytes)) * megabyte

	down, up := c.rates(key, "cir_kbps", raw.CIRKbps, "cir_up_kbps", raw.CIRUpKbps)
	p.CIRDown, p.CIRUp = down, up
	p.MIRDown, p.MIRUp = c.rates(key, "mir_kbps", raw.MIRKbps, "mir_up_kbps", raw.MIRUpKbps)
	if p.MIRDown > 0 && p.CIRDown > p.MIRDown {
		c.add(key("cir_kbps"), "%d is more than mir_kbps (%d); the committed rate cannot exceed the maximum", p.CIRDown/1000, p.MIRDown/1000)
	}
	if p.MIRUp > 0 && p.CIRUp > p.MIRUp {
		name := "cir_up_kbps"
		if raw.CIRUpKbps == nil {
			name = "mir_up_kbps"
		}
		// Both values may come from the keys for both directions, and then
		// cir_kbps has been reported.
		if raw.CIRUpKbps != nil || raw.MIRUpKbps != nil {
			c.add(key(name), "uploads have a committed rate of %d kbit/s and a maximum of %d; the committed rate cannot exceed the maximum", p.CIRUp/1000, p.MIRUp/1000)
		}
	}

	switch t := value(raw.Time, "calendar"); t {
	case "calendar":
	case "online":
		p.Online = true
	default:
		c.add(key("time"), `must be "calendar" or "online", not %q`, t)
	}
	return p
}

// rates returns a rate for downloads and one for uploads in bit/s.
func (c *checker) rates(key func(string) string, both string, rawBoth *int64, upload string, rawUp *int64) (down, up uint64) {
	down = 1000 * uint64(c.whole(key(both), rawBoth, 0, 0, maxKbps))
	up = down
	if rawUp != nil {
		up = 1000 * uint64(c.whole(key(upload), rawUp, 0, 0, maxKbps))
	}
	return down, up
}

func value[T any](p *T, unset T) T {
	if p == nil {
		return unset
	}
	return *p
}

// whole returns a number between two bounds, or the default where it is
// refused.
func (c *checker) whole(key string, raw *int64, unset, least, most int64) int64 {
	n := value(raw, unset)
	if raw != nil && (n < least || n > most) {
		c.add(key, "must be between %d and %d, not %d", least, most, n)
		return unset
	}
	return n
}

func (c *checker) path(key string, raw *string, unset string) string {
	p := value(raw, unset)
	if p == "" && unset == "" {
		return ""
	}
	if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) {
		c.add(key, "must be a whole path that begins with /, not %q", p)
		return p
	}
	return filepath.Clean(p)
}

// text checks words for people: no control characters, at most so many
// characters.
func (c *checker) text(key string, raw *string, required bool, most int) string {
	s := strings.TrimSpace(value(raw, ""))
	switch {
	case raw == nil && required:
		c.missing(key, "write the name that customers see")
	case s == "" && required:
		c.add(key, "is empty; write the name that customers see")
	case strings.ContainsFunc(s, unicode.IsControl):
		c.add(key, "must be one line without control characters")
	case utf8.RuneCountInString(s) > most:
		c.add(key, "must be at most %d characters long", most)
	}
	return s
}

func (c *checker) id(key string, raw *string, most int, extra, example string) string {
	s := value(raw, "")
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune(extra, r))
	}
	switch {
	case raw == nil:
		c.missing(key, fmt.Sprintf("write a short id, such as id = %q", example))
	case s == "":
		c.add(key, "is empty; write a short id, such as id = %q", example)
	case len(s) > most || strings.ContainsFunc(s, bad) || strings.Contains(extra, s[:1]):
		c.add(key, "must be at most %d of a-z, 0-9 and %q beginning with a letter or digit, such as %q, not %q", most, extra, example, s)
	}
	return s
}

func (c *checker) period(key string, raw *string, unset string, least, most time.Duration) time.Duration {
	s := value(raw, unset)
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		c.add(key, `must be a period such as "30s", "15m" or "24h", not %q`, s)
	case d < least || d > most:
		c.add(key, "must be between %s and %s, not %q", short(least), short(most), s)
	}
	return d
}

// short writes a period without zero parts.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// minLink is the least rate of an uplink in bit/s. What is below was meant to
// have a unit.
const minLink = 64_000

// rate parses the rate of the link: digits, perhaps a fraction, and k, M or G.
func (c *checker) rate(key string, raw *string) uint64 {
	if raw == nil {
		c.missing(key, `write what the uplink really gives, such as "20M" for 20 Mbit/s`)
		return 0
	}
	s := strings.TrimSpace(*raw)
	if s == "" {
		c.add(key, `is empty; write what the uplink really gives, such as "20M" for 20 Mbit/s`)
		return 0
	}
	number, unit := s, 1.0
	switch s[len(s)-1] {
	case 'k', 'K':
		unit = 1e3
	case 'M', 'm':
		unit = 1e6
	case 'G', 'g':
		unit = 1e9
	}
	if unit > 1 {
		number = strings.TrimSpace(s[:len(s)-1])
	}
	plain := !strings.ContainsFunc(number, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !plain {
		c.add(key, `must be a rate in bit/s with k, M or G, such as "20M" for 20 Mbit/s, not %q`, s)
		return 0
	}
	if f*unit < minLink || f*unit > maxKbps*1000 {
		c.add(key, `must be between 64k and 100G, not %q (%s); write "20M" for 20 Mbit/s`, s, bits(f*unit))
		return 0
	}
	return uint64(f*unit + 0.5)
}

func bits(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) + " bit/s" }

// validInterface follows dev_valid_name of Linux.
func validInterface(s string) bool {
	if s == "" || len(s) > 15 || s == "." || s == ".." {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r == '/' || r == ':' || r <= ' ' || r == 0x7f || unicode.IsSpace(r)
	})
}
