package config

import (
	"encoding/hex"
	"net"
	"strings"
)

// drives says that the file asks for a MikroTik as the data path.
func drives(raw *rawMikroTik) bool {
	return value(raw.Address, "") != "" && value(raw.Sessions, "") == "api"
}

// checkMikroTik checks how the router is reached, and who owns its sessions.
func (c *checker) checkMikroTik(cfg *Config, raw *rawMikroTik) {
	if value(raw.Address, "") == "" {
		if raw.Address == nil && *raw != (rawMikroTik{}) {
			c.missing("mikrotik.address", `write the router's address, such as address = "192.168.88.1", or remove the table`)
		}
		return
	}
	m := &cfg.MikroTik
	m.Plain = value(raw.Plain, false)
	m.Address = c.apiAddress(*raw.Address, m.Plain)
	m.User = c.word("mikrotik.user", raw.User, "zonegate")
	m.Server = c.word("mikrotik.server", raw.Server, "")
	if m.PasswordFile = c.path("mikrotik.password_file", raw.PasswordFile, ""); m.PasswordFile == "" {
		c.needs("mikrotik.password_file", raw.PasswordFile, `write the file whose only line is the password, such as "/etc/zonegate/mikrotik.password"`)
	}
	digits := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(value(raw.Fingerprint, "")))
	switch b, err := hex.DecodeString(digits); {
	case m.Plain && digits != "":
		c.add("mikrotik.fingerprint", "has no effect with plain = true; remove one of the two")
	case m.Plain:
	case digits == "":
		c.needs("mikrotik.fingerprint", raw.Fingerprint, "copy it from /certificate/print detail on the router")
	case err != nil || len(b) != 32:
		c.add("mikrotik.fingerprint", "must be 64 hex digits, the SHA-256 that /certificate/print detail shows on the router")
	default:
		m.Fingerprint = digits
	}
	switch who := value(raw.Sessions, ""); who {
	case "api":
		m.Drives = true
		if cfg.Network.LAN != "" {
			c.add("mikrotik.sessions", `"api" needs lan = "" under [network]: a gateway has one data path; run a second zonegate for the other, or write "radius" here`)
		}
	case "radius":
		if !cfg.RADIUS.Enabled {
			c.add("mikrotik.sessions", `"radius" needs radius.enabled = true`)
		}
	case "":
		c.needs("mikrotik.sessions", raw.Sessions, `write who owns the router's sessions, "api" or "radius"`)
	default:
		c.add("mikrotik.sessions", `must be "api" or "radius", not %q`, who)
	}
}

// needs records a key that is missing or empty.
func (c *checker) needs(key string, raw *string, fix string) {
	if raw == nil {
		c.missing(key, fix)
		return
	}
	c.add(key, "is empty; %s", fix)
}

// apiAddress returns host and port of the API.
func (c *checker) apiAddress(s string, plain bool) string {
	address := strings.ToLower(strings.TrimSpace(s))
	if !hostAndPort(address) {
		c.add("mikrotik.address", `%q is no address or name of a router; write one such as "192.168.88.1" or "192.168.88.1:8729"`, s)
		return address
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	if plain {
		return address + ":8728"
	}
	return address + ":8729"
}

// word checks a name of the router's.
func (c *checker) word(key string, raw *string, unset string) string {
	s := value(raw, unset)
	if s == "" && unset != "" {
		c.needs(key, raw, "write it as it stands on the router")
	}
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		c.add(key, "must be one line of at most 64 characters")
	}
	return s
}
