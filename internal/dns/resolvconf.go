package dns

import (
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultResolvConf is where systems keep the resolvers that the uplink named:
// OpenWrt from 21.02, OpenWrt before, systemd-resolved, everybody else. Where
// a local resolver is in front, /etc/resolv.conf names only that one.
var DefaultResolvConf = []string{
	"/tmp/resolv.conf.d/resolv.conf.auto",
	"/tmp/resolv.conf.auto",
	"/run/systemd/resolve/resolv.conf",
	"/etc/resolv.conf",
}

const (
	// resolvAge is how often the files are looked at.
	resolvAge = 10 * time.Second
	// maxResolvers bounds the resolvers taken from the files.
	maxResolvers = 8
	// maxResolvConf bounds what is read of one file, in octets.
	maxResolvConf = 64 << 10
)

// A resolvConf reads resolvers from files, again when they have changed.
type resolvConf struct {
	paths []string
	now   func() time.Time // nil means time.Now

	mu     sync.Mutex
	looked time.Time
	seen   []os.FileInfo // per path, nil if the file was missing
	list   []netip.Addr
}

// servers returns the resolvers of all files: those of the first file first,
// none twice.
func (r *resolvConf) servers() []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.now != nil {
		now = r.now()
	}
	if !r.looked.IsZero() && now.Sub(r.looked) < resolvAge {
		return r.list
	}
	r.looked = now
	seen := make([]os.FileInfo, len(r.paths))
	changed := len(r.seen) != len(r.paths)
	for i, p := range r.paths {
		seen[i], _ = os.Stat(p) // nil on error
		changed = changed || !sameState(r.seen[i], seen[i])
	}
	if !changed {
		return r.list
	}
	r.seen = seen
	r.list = nil
	for i, p := range r.paths {
		if seen[i] == nil {
			continue
		}
		for _, a := range readResolvConf(p) {
			if !slices.Contains(r.list, a) && len(r.list) < maxResolvers {
				r.list = append(r.list, a)
			}
		}
	}
	return r.list
}

// sameState compares without an order of times: the clock of a router jumps.
func sameState(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}

// readResolvConf returns the name servers of one file, none if it cannot be
// read: it is looked at again.
func readResolvConf(path string) []netip.Addr {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxResolvConf))
	if err != nil {
		return nil
	}
	return parseResolvConf(string(text))
}

// parseResolvConf follows resolv.conf(5): the keyword begins its line, what
// comes after the address is ignored.
func parseResolvConf(text string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		if err != nil || a.IsUnspecified() || a.IsMulticast() {
			continue
		}
		list = append(list, a.Unmap())
	}
	return list
}
