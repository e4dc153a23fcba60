package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// minAllow and maxAllow bound how long an address stays allowed. Below, a
	// phone would be cut off between its question and its page; above, an
	// address would stay open long after the name has left it.
	minAllow = time.Minute
	maxAllow = time.Hour
	// maxLearned bounds the addresses learned from one answer.
	maxLearned = 64
	// maxChain bounds the aliases followed in one answer.
	maxChain = 16
	// allowTimeout bounds how long an answer waits for the Garden.
	allowTimeout = 2 * time.Second
)

// patterns are the names of the walled garden in canonical form.
type patterns struct {
	exact map[string]bool // the name alone
	below map[string]bool // every name below
}

func parsePatterns(domains []string) (patterns, error) {
	p := patterns{exact: make(map[string]bool), below: make(map[string]bool)}
	for _, d := range domains {
		name := strings.TrimSuffix(strings.ToLower(d), ".")
		base, wildcard := strings.CutPrefix(name, "*.")
		if base == "" || strings.Contains(base, "*") || strings.HasPrefix(base, ".") || strings.Contains(base, "..") {
			return p, fmt.Errorf("garden domain %q: write \"example.org\" or \"*.example.org\"", d)
		}
		// Below one label anybody can have a name.
		if !strings.Contains(base, ".") {
			return p, fmt.Errorf("garden domain %q would open a whole top-level domain: write \"example.org\" or \"*.example.org\"", d)
		}
		if wildcard {
			p.below[base] = true
		} else {
			p.exact[base] = true
		}
	}
	return p, nil
}

func (p *patterns) empty() bool { return len(p.exact)+len(p.below) == 0 }

func (p *patterns) match(name string) bool {
	if p.exact[name] {
		return true
	}
	for {
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		if p.below[parent] {
			return true
		}
		name = parent
	}
}

// addresses returns the addresses of names that match in an answer, and their
// longest TTL. It follows the aliases from the question; what comes after the
// first such name in that chain counts, and nothing else in the answer does.
func addresses(match func(name string) bool, q *query, answer []byte) (addrs []netip.Addr, ttl time.Duration) {
	var parser dnsmessage.Parser
	h, err := parser.Start(answer)
	if err != nil || h.RCode != dnsmessage.RCodeSuccess || parser.SkipAllQuestions() != nil {
		return nil, 0
	}
	alias := make(map[string]string)
	type found struct {
		owner string
		addr  netip.Addr
		ttl   uint32
	}
	var all []found
	for len(all) < 4*maxLearned && len(alias) < 4*maxChain {
		rh, err := parser.AnswerHeader()
		if err != nil {
			break
		}
		owner := canonical(rh.Name)
		switch {
		case rh.Class != dnsmessage.ClassINET:
			err = parser.SkipAnswer()
		case rh.Type == dnsmessage.TypeCNAME:
			var r dnsmessage.CNAMEResource
			if r, err = parser.CNAMEResource(); err == nil {
				if _, ok := alias[owner]; !ok {
					alias[owner] = canonical(r.CNAME)
				}
			}
		case rh.Type == dnsmessage.TypeA:
			var r dnsmessage.AResource
			if r, err = parser.AResource(); err == nil {
				all = append(all, found{owner, netip.AddrFrom4(r.A), rh.TTL})
			}
		case rh.Type == dnsmessage.TypeAAAA:
			var r dnsmessage.AAAAResource
			if r, err = parser.AAAAResource(); err == nil {
				all = append(all, found{owner, netip.AddrFrom16(r.AAAA), rh.TTL})
			}
		default:
			err = parser.SkipAnswer()
		}
		if err != nil {
			break
		}
	}

	name, inside := canonical(q.question.Name), false
	for range maxChain {
		if inside = inside || match(name); inside {
			for _, f := range all {
				if f.owner == name && len(addrs) < maxLearned && !slices.Contains(addrs, f.addr) {
					addrs = append(addrs, f.addr)
					// RFC 2181 section 8: the top bit set means zero.
					if f.ttl < 1<<31 {
						ttl = max(ttl, time.Duration(f.ttl)*time.Second)
					}
				}
			}
		}
		next, ok := alias[name]
		if !ok {
			break
		}
		name = next
	}
	return addrs, min(max(ttl, minAllow), maxAllow)
}

// learn passes the garden addresses in an answer on, before the client has the
// answer: its next packet goes there. If that fails the answer still leaves,
// because it is true, and a customer who has paid can use it.
func (s *Server) learn(ctx context.Context, q *query, answer []byte) {
	if !s.patterns.empty() {
		s.learnFor(ctx, s.Garden, s.patterns.match, q, answer)
	}
	if s.PayGarden != nil {
		s.learnFor(ctx, s.PayGarden, s.Pay, q, answer)
	}
}

func (s *Server) learnFor(ctx context.Context, garden Garden, match func(name string) bool, q *query, answer []byte) {
	addrs, ttl := addresses(match, q, answer)
	lan := s.lan.prefixes
	public := slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		reject := !isPublic(a) || slices.ContainsFunc(lan(), func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
		if reject {
			s.stats.rejected.Add(1)
		}
		return reject
	})
	if len(public) == 0 {
		return
	}
	for i := range public {
		public[i] = public[i].Unmap()
	}
	ctx, cancel := context.WithTimeout(ctx, allowTimeout)
	defer cancel()
	if err := garden.Allow(ctx, public, ttl); err != nil {
		if !s.noGarden.Swap(true) {
			s.Log.Error("dns: garden addresses cannot be allowed", "err", err)
		}
		return
	}
	s.stats.learned.Add(uint64(len(public)))
	if s.noGarden.Load() && s.noGarden.Swap(false) {
		s.Log.Info("dns: garden addresses are allowed again")
	}
}

// reserved are networks that no garden name may open: this machine, the
// operator's own and neighbouring networks, and forms that hide another
// address (RFC 6890). Documentation networks lead nowhere and are not listed.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598: shared behind the carrier's NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/32"), // RFC 4380
	netip.MustParsePrefix("2002::/16"), // RFC 3056
}

var (
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
)

// isPublic reports whether an address can only be one on the internet. A name
// that its owner points at a private address (DNS rebinding) must not open a
// hole towards the operator's own machines.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !global6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// lanAddrs remembers the addresses of the LAN for a while.
type lanAddrs struct {
	read func() []netip.Prefix

	mu    sync.Mutex
	until time.Time
	list  []netip.Prefix
}

// lanAge is how old the addresses of the LAN may be.
const lanAge = 10 * time.Second

// prefixes returns the addresses of the LAN with the length of their prefixes.
// The caller must not change them.
func (l *lanAddrs) prefixes() []netip.Prefix {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.After(l.until) {
		l.list = l.read()
		if len(l.list) > 0 { // an interface without one gets one any moment
			l.until = now.Add(lanAge)
		}
	}
	return l.list
}

func (l *lanAddrs) addrs() []netip.Addr {
	var addrs []netip.Addr
	for _, p := range l.prefixes() {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

// devicePrefixes returns the addresses of an interface, none if it is missing.
func devicePrefixes(device string) []netip.Prefix {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil
	}
	list, err := dev.Addrs()
	if err != nil {
		return nil
	}
	var prefixes []netip.Prefix
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
		}
	}
	return prefixes
}
