package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// probeHosts are the hosts with which phones and computers test for a portal.
// A device that reaches one takes itself for online and shows no portal.
var probeHosts = []string{
	// Android, Chrome OS
	"connectivitycheck.gstatic.com", "www.gstatic.com", "www.google.com", "play.googleapis.com",
	"clients1.google.com", "clients3.google.com", "connectivitycheck.android.com",
	// Xiaomi, Huawei, Honor
	"connect.rom.miui.com", "connectivitycheck.platform.hicloud.com", "connectivitycheck.platform.hihonorcloud.com",
	// Apple
	"captive.apple.com", "www.apple.com",
	// Windows
	"www.msftconnecttest.com", "ipv6.msftconnecttest.com", "www.msftncsi.com", "ipv6.msftncsi.com", "dns.msftncsi.com",
	// Firefox
	"detectportal.firefox.com",
	// Linux
	"nmcheck.gnome.org", "network-test.debian.org", "connectivity-check.ubuntu.com", "fedoraproject.org",
	"ping.archlinux.org", "networkcheck.kde.org",
	// Kindle
	"spectrum.s3.amazonaws.com",
}

// GardenDomain returns a domain of the walled garden in its canonical form, or
// why it is refused.
func GardenDomain(s string) (name, reason string) {
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), ".")
	base, wildcard := strings.CutPrefix(name, "*.")
	if r := hostName(base); r != "" {
		if strings.Contains(base, "*") {
			r = `a * can only stand alone at the beginning, as in "*.example.org"`
		}
		return "", fmt.Sprintf("%q is no domain: %s", s, r)
	}
	// Below a public suffix anybody can have a name, and with it a tunnel.
	if openSuffix(base) {
		return "", fmt.Sprintf("%q is refused: anybody can have a name under %s; write the whole domain", s, base)
	}
	for _, host := range probeHosts {
		if host == base && !wildcard || wildcard && strings.HasSuffix(host, "."+base) {
			covers := ""
			if wildcard {
				covers = " covers " + host + ", which"
			}
			return "", fmt.Sprintf("%q%s is refused: phones test with this host whether they are online, and would show no portal; remove it", s, covers)
		}
	}
	return name, ""
}

// secondLevels are the names under which registries of two-letter domains sell
// names, and shared are hosts whose customers choose a name below them. The
// full public suffix list would be another 0.1 MB in the router's program.
var (
	secondLevels = []string{"ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "ltd", "net", "nom", "or", "org", "sch"}
	shared       = []string{
		"appspot.com", "azurewebsites.net", "blogspot.com", "cloudfront.net", "duckdns.org", "eu.org",
		"firebaseapp.com", "fly.dev", "github.io", "gitlab.io", "herokuapp.com", "ngrok.io", "no-ip.org",
		"netlify.app", "onrender.com", "pages.dev", "r2.dev", "s3.amazonaws.com", "vercel.app", "web.app",
		"workers.dev",
	}
)

// openSuffix says whether anybody can have a name under a domain.
func openSuffix(base string) bool {
	first, rest, ok := strings.Cut(base, ".")
	return !ok || len(rest) == 2 && slices.Contains(secondLevels, first) || slices.Contains(shared, base)
}

// portalName returns the portal's name in its canonical form, or why it is
// refused.
func portalName(s string) (name, reason string) {
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), ".")
	if r := hostName(name); r != "" {
		return "", fmt.Sprintf("%q is no DNS name: %s", s, r)
	}
	if !strings.Contains(name, ".") {
		return "", fmt.Sprintf("%q has no dot, and phones search the web for it; write a name such as \"portail.example.org\"", s)
	}
	if strings.HasSuffix(name, ".local") {
		// RFC 6762 section 3.
		return "", fmt.Sprintf("%q ends in .local, which phones ask by multicast and never the gateway; write another name", s)
	}
	for _, host := range probeHosts {
		if name == host {
			return "", fmt.Sprintf("%q is a host with which phones test whether they are online; write a name of your own", s)
		}
	}
	return name, ""
}

// hostName says what is wrong with a host name in lower case (RFC 952, RFC
// 1123 section 2.1), or nothing. Names in other alphabets are written in their
// xn-- form.
func hostName(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return "write a name, not an address"
	}
	if strings.ContainsAny(s, "/:@") {
		return "write the name alone, without http:// or a path"
	}
	if s == "" {
		return "it is empty"
	}
	if len(s) > 253 {
		return "it is longer than 253 characters"
	}
	for label := range strings.SplitSeq(s, ".") {
		bad := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }
		switch {
		case label == "":
			return "it has two dots in a row, or one at the beginning"
		case len(label) > 63:
			return "a part is longer than 63 characters"
		case strings.ContainsFunc(label, bad), label[0] == '-', label[len(label)-1] == '-':
			return "its parts may have a-z, 0-9 and inner - only"
		}
	}
	return ""
}
