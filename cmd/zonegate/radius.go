package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zonegate"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/portal"
	"zonegate/radius"
	"zonegate/radius/coa"
	"zonegate/radius/nas"
)

// A radiusService answers NASes, and the customers that they send to the
// portal, for as long as there are some, and says what became of it.
type radiusService struct {
	config  *config.Config
	book    *nas.Book // nil when it could not be read
	gate    *zonegate.Gate
	tickets *radius.Tickets
	coa     *coa.Client // nil without a book
	log     *slog.Logger
	// page is the portal but for where it is; set before the tasks run.
	page func() *portal.Server
	// counters outlive the servers.
	counters radius.Counters
	servers  []*follower
	// sick says that what must be written down cannot be.
	sick atomic.Bool

	mu        sync.Mutex
	listening []netip.AddrPort
	problem   error
	seen      map[string]sighting
}

// A sighting is when the count of good packets of a NAS was last seen to grow.
type sighting struct {
	good uint64
	at   time.Time
}

// newRADIUSService must be called before the gate runs: it carries its errands.
func newRADIUSService(cfg *config.Config, book *nas.Book, gate *zonegate.Gate, c zonegate.Clock, log *slog.Logger) *radiusService {
	s := &radiusService{
		config: cfg, book: book, gate: gate, tickets: radius.NewTickets(c), log: log,
		seen: map[string]sighting{},
	}
	if s.runs() {
		s.coa = coa.New(coa.Options{
			Book: book, Gate: gate, Idle: cfg.RADIUS.IdleTimeout, Interim: cfg.RADIUS.Interim, Logger: log,
		})
		gate.DispatchTo(s.coa)
	}
	return s
}

// runs says whether NASes are answered at all.
func (s *radiusService) runs() bool { return s.book != nil && s.config.RADIUS.Enabled }

// tasks are the service's, with their names.
func (s *radiusService) tasks() []task {
	if !s.runs() {
		return nil
	}
	server := &follower{turned: make(chan struct{}, 1), wanted: s.addresses, serve: s.serve, said: s.said}
	pages := &follower{turned: make(chan struct{}, 1), wanted: s.pageAddresses, serve: s.servePages, said: s.pagesSaid}
	s.servers = []*follower{server, pages}
	return []task{
		{"the RADIUS server", server.Run},
		{"the portal for customers of NASes", pages.Run},
		{"the watch over the RADIUS server", s.watch},
		{"the errands to NASes", s.coa.Run},
	}
}

// bookChanged has the servers look whether somebody may ask at all.
func (s *radiusService) bookChanged() {
	for _, f := range s.servers {
		f.turn()
	}
}

// list are the NASes; none without a book.
func (s *radiusService) list() []nas.NAS {
	if s.book == nil {
		return nil
	}
	return s.book.List()
}

// addresses are where NASes are answered: nowhere when there are none.
func (s *radiusService) addresses() []netip.Addr {
	if len(s.book.List()) == 0 {
		return nil
	}
	return nasAddresses(s.config)
}

func (s *radiusService) serve(ctx context.Context, addrs []netip.Addr) error {
	c := s.config
	server := &radius.Server{
		Gate: s.gate, Book: s.book, Tickets: s.tickets, Witness: s.coa,
		Auth: at(addrs, c.RADIUS.AuthPort), Acct: at(addrs, c.RADIUS.AcctPort), Listening: s.opened,
		Language: radius.Language(c.Zone.Language), Strict: c.RADIUS.Strict,
		Interim: c.RADIUS.Interim, IdleTimeout: c.RADIUS.IdleTimeout,
		Healthy: func() bool { return !s.sick.Load() }, Counters: &s.counters, Logger: s.log,
	}
	return server.Run(ctx)
}

// pageAddresses are where customers come whom NASes send to the portal, but for
// those of the LAN, where the portal is anyway, as it is on all of them for
// customers behind a MikroTik that we drive.
func (s *radiusService) pageAddresses() []netip.Addr {
	sends := slices.ContainsFunc(s.book.List(), func(n nas.NAS) bool { return len(n.Login) > 0 })
	if !sends || s.config.MikroTik.Drives {
		return nil
	}
	addrs := nasAddresses(s.config)
	if lan := s.config.Network.LAN; lan != "" {
		own := lanAddresses(lan)
		addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return slices.Contains(own, a) })
	}
	return addrs
}

func (s *radiusService) servePages(ctx context.Context, addrs []netip.Addr) error {
	p := s.page()
	p.Hotspots, p.Tickets = hotspots{s.book}, s.tickets
	p.Remote, p.RemoteNames = at(addrs, s.config.Portal.Port), s.config.Portal.NASNames
	s.log.Info("the portal is open for customers of NASes", "at", p.Remote)
	return p.Run(ctx)
}

func (s *radiusService) pagesSaid(_ []netip.Addr, err error) {
	if err != nil {
		s.log.Error("customers of NASes see no portal; it is tried again", "error", err)
	}
}

// hotspots is the book of NASes as the portal asks for it.
type hotspots struct{ book *nas.Book }

// ByLogin finds the NAS that has a login page, if customers can be signed in
// there.
func (h hotspots) ByLogin(host string) (portal.Hotspot, bool) {
	n, ok := h.book.ByLogin(host)
	return portal.Hotspot{Name: n.Name, UAMSecret: n.UAMSecret, Kind: hotspotKind(n.Vendor)}, ok
}

// hotspotKind is how customers are signed in at the login page of a make;
// empty when they cannot be.
func hotspotKind(v nas.Vendor) string {
	switch v {
	case nas.MikroTik:
		return portal.KindMikroTik
	case nas.CoovaChilli, nas.Uspot:
		return portal.KindUAM
	}
	return ""
}

// watchEvery is how often the watch looks, and sightEvery after how many looks
// it notes which NASes were heard.
const (
	watchEvery = time.Second
	sightEvery = 15
)

// watch keeps what must be known at once by who may not wait for it.
func (s *radiusService) watch(ctx context.Context) error {
	for n := 0; wait(ctx, watchEvery) == nil; n++ {
		s.sick.Store(s.gate.Health().Journal != nil)
		if n%sightEvery == 0 {
			s.sight(s.counters.Snapshot(), time.Now())
		}
	}
	return nil
}

// sight notes which NASes were heard. What they send that is not good may come
// from anybody.
func (s *radiusService) sight(c radius.Counts, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, counts := range c.NAS {
		if good := goodPackets(counts); good > s.seen[name].good {
			s.seen[name] = sighting{good, now}
		}
	}
}

// goodPackets are the requests that passed every check.
func goodPackets(counts map[string]uint64) uint64 {
	return counts["access_requests"] + counts["accounting_requests"] + counts["status_requests"]
}

// opened is told where the server listens.
func (s *radiusService) opened(auth, acct []netip.AddrPort) {
	s.log.Info("NASes are answered", "auth", auth, "acct", acct)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening, s.problem = append(append([]netip.AddrPort(nil), auth...), acct...), nil
}

// said is told that the server begins, that it need not, or why it cannot go
// on. The problem stays until the server is open.
func (s *radiusService) said(addrs []netip.Addr, err error) {
	if err != nil {
		s.log.Error("NASes cannot be answered; it is tried again", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listening = nil; err != nil || len(addrs) == 0 {
		s.problem = err
	}
}

func at(addrs []netip.Addr, port uint16) []netip.AddrPort {
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a, port)
	}
	return out
}

// report adds to a list of NASes what the server knows.
func (s *radiusService) report(out *control.NASes) {
	c := s.counters.Snapshot()
	s.sight(c, time.Now())
	waiting := map[string]int{}
	for _, x := range s.unconfirmed() {
		waiting[nasOf(x.Path)]++
	}
	out.Packets = noZeros(c.Total)
	for name, n := range noZeros(c.Decisions) {
		out.Packets[name] = n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.listening {
		out.Listening = append(out.Listening, a.String())
	}
	if s.problem != nil {
		out.Problem = s.problem.Error()
	}
	for i := range out.NASes {
		n := &out.NASes[i]
		n.Packets, n.Unconfirmed = noZeros(c.NAS[n.Name]), waiting[n.Name]
		if seen, ok := s.seen[n.Name]; ok {
			n.Seen = &seen.at
		}
	}
}

// noZeros leaves out what has not happened.
func noZeros(from map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for name, n := range from {
		if n > 0 {
			out[name] = n
		}
	}
	return out
}

// unconfirmed is what NASes were told and have not shown yet that they do.
func (s *radiusService) unconfirmed() []coa.Status {
	var out []coa.Status
	if s.coa != nil {
		for _, x := range s.coa.Snapshot() {
			if x.State != coa.Confirmed && x.State != coa.Awaited {
				out = append(out, x)
			}
		}
	}
	return out
}

// unconfirmedSessions are their sessions.
func (s *radiusService) unconfirmedSessions() map[zonegate.SessionID]bool {
	out := map[zonegate.SessionID]bool{}
	for _, x := range s.unconfirmed() {
		out[x.Session] = true
	}
	return out
}

// failed counts the errands to a NAS that it did not take, by what was to be.
func (s *radiusService) failed(name string) (f failedErrands) {
	for _, x := range s.unconfirmed() {
		switch {
		case nasOf(x.Path) != name || x.State != coa.Refused && x.State != coa.Unreachable:
		case x.Stop || x.Cut:
			f.ends++
		default:
			f.changes++
		}
	}
	return f
}

// test examines a NAS.
func (s *radiusService) test(ctx context.Context, n nas.NAS, seen control.NAS, all control.NASes) []control.Finding {
	if n.Interim == 0 {
		n.Interim = s.config.RADIUS.Interim
	}
	t := nasTest{
		failed: s.failed(n.Name), nas: n, seen: seen, all: all, enabled: s.config.RADIUS.Enabled, plans: s.gate.Plans(),
		probe: func(ctx context.Context) error {
			if s.coa == nil {
				return errors.New("not asked: the server is switched off")
			}
			return s.coa.Probe(ctx, n.Name)
		},
	}
	return t.run(ctx)
}
