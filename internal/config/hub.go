package config

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// checkHub checks which central server there is.
func (c *checker) checkHub(cfg *Config, all *rawConfig) {
	raw, h := &all.Hub, &cfg.Hub
	switch h.Mode = value(raw.Mode, ""); h.Mode {
	case "":
		if raw.Mode == nil && !raw.empty() {
			c.missing("hub.mode", `write the kind of server, "hub" or "rgz", or remove the table`)
		}
		return
	case HubJoined:
	case HubRGZ:
		if len(all.Plans) > 0 {
			c.add("plan[1]", `cannot stand beside mode = "rgz" under [hub]: that server's catalogue is what is sold here, all of it. Remove the [[plan]] blocks, or the [hub] table`)
		}
	default:
		c.add("hub.mode", `must be "hub" or "rgz", not %q`, h.Mode)
	}
	h.URL = c.baseURL(value(raw.URL, ""), raw.URL)
	h.Poll = c.period("hub.poll", raw.Poll, "15m", time.Minute, 24*time.Hour)
	h.CAFile = c.path("hub.ca_file", raw.CAFile, "")
	if h.TokenFile = c.path("hub.token_file", raw.TokenFile, ""); h.TokenFile == "" {
		if raw.Providers != nil || raw.PayHosts != nil {
			c.missing("hub.token_file", "name the file with the zone's token at the server, or remove providers and pay_hosts")
		}
		return
	}
	h.Providers = []string{"MTN_MOMO"}
	if raw.Providers != nil {
		h.Providers = raw.Providers
	}
	for i, p := range h.Providers {
		if p == "" || len(p) > 32 || strings.Trim(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			c.add("hub.providers", "entry %d must be the server's name of a provider, such as \"MTN_MOMO\", not %q", i+1, p)
		}
	}
	h.PayHosts = []string{"kkiapay.me", "*.kkiapay.me"}
	if raw.PayHosts != nil {
		h.PayHosts = nil
	}
	for i, d := range raw.PayHosts {
		name, reason := GardenDomain(d)
		if reason != "" {
			c.add("hub.pay_hosts", "entry %d: %s", i+1, reason)
		}
		h.PayHosts = append(h.PayHosts, name)
	}
}

// baseURL returns the base of an API. What is secret goes there, so only a
// server on this machine may be talked to in clear.
func (c *checker) baseURL(s string, raw *string) string {
	const example = `such as "https://hub.example.org/api/v1"`
	s = strings.TrimRight(strings.TrimSpace(s), "/")
	if s == "" {
		c.needs("hub.url", raw, "write the server's address, "+example)
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		c.add("hub.url", "%q is no address of a server; write one %s", s, example)
		return s
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		c.add("hub.url", "%q must be scheme, host and path alone, %s", s, example)
	case !strings.HasSuffix(u.Path, "/api/v1"):
		c.add("hub.url", "%q must end in /api/v1, %s", s, example)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		c.add("hub.url", "%q must begin with https://: codes and secrets go there", s)
	}
	return s
}
