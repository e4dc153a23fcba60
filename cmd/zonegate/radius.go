package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/radius/nas"
)

// A radiusService keeps the RADIUS server on the addresses that the machine
// has, for as long as there is a NAS to answer, and says what became of it.
type radiusService struct {
	config *config.Config
	book   *nas.Book
	log    *slog.Logger
	// turned gets a value when the book changed.
	turned chan struct{}

	mu        sync.Mutex
	listening []netip.AddrPort
	problem   error
}

func newRADIUSService(cfg *config.Config, book *nas.Book, log *slog.Logger) *radiusService {
	return &radiusService{config: cfg, book: book, log: log, turned: make(chan struct{}, 1)}
}

func (s *radiusService) bookChanged() {
	select {
	case s.turned <- struct{}{}:
	default: // it is due already
	}
}

// retryRADIUS is how often a server is tried again that could not listen. It
// is no reason to end the program: who is on the LAN needs no NAS.
const retryRADIUS = 5 * time.Second

// Run serves until the context is done.
func (s *radiusService) Run(ctx context.Context) error {
	if !s.config.RADIUS.Enabled || s.book == nil {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		addrs := s.wanted()
		if len(addrs) == 0 {
			s.set(nil, nil)
			s.await(ctx, addrs)
			continue
		}
		err := until(ctx, s.serve(addrs), func(ctx context.Context) { s.await(ctx, addrs) })
		s.set(nil, err)
		if err != nil && ctx.Err() == nil {
			s.log.Error("NASes cannot be answered; it is tried again", "error", err)
			wait(ctx, retryRADIUS)
		}
	}
	return nil
}

// wanted are the addresses to listen at now: none when nobody may ask.
func (s *radiusService) wanted() []netip.Addr {
	if len(s.book.List()) == 0 {
		return nil
	}
	return nasAddresses(s.config)
}

// await returns when other addresses are wanted than those, or the context is
// done. Addresses that are all gone for a moment change nothing.
func (s *radiusService) await(ctx context.Context, have []netip.Addr) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.turned:
		case <-time.After(lookAtLAN):
		}
		now := s.wanted()
		if len(now) == 0 && len(s.book.List()) > 0 {
			continue
		}
		if !slices.Equal(now, have) {
			return
		}
	}
}

func (s *radiusService) serve(addrs []netip.Addr) func(context.Context) error {
	auth, acct := s.at(addrs, s.config.RADIUS.AuthPort), s.at(addrs, s.config.RADIUS.AcctPort)
	return func(ctx context.Context) error {
		s.set(append(auth, acct...), nil)
		<-ctx.Done()
		return nil
	}
}

func (s *radiusService) at(addrs []netip.Addr, port uint16) []netip.AddrPort {
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a, port)
	}
	return out
}

func (s *radiusService) set(listening []netip.AddrPort, problem error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening, s.problem = listening, problem
}

// report adds to a list of NASes what the server knows.
func (s *radiusService) report(out *control.NASes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.listening {
		out.Listening = append(out.Listening, a.String())
	}
	if s.problem != nil {
		out.Problem = s.problem.Error()
	}
}

// test examines a NAS.
func (s *radiusService) test(ctx context.Context, n nas.NAS, seen control.NAS, all control.NASes) []control.Finding {
	var f findings
	switch {
	case !s.config.RADIUS.Enabled:
		f.bad("server", "remove radius.enabled = false from the configuration, and restart", "the server is switched off")
	case all.Problem != "":
		f.bad("server", "stop what uses the port (another RADIUS server?), or set radius.auth_port and radius.acct_port", "%s", all.Problem)
	case len(all.Listening) == 0:
		f.bad("server", "give this machine one of the addresses in radius.listen, or correct them", "it does not listen: this machine has none of its addresses")
	default:
		f.good("server", "listens at %v", all.Listening)
	}
	if err := n.Secret.Weak(); err != nil {
		f.odd("secret", "nas remove, nas add without --secret-file, and the drawn secret into the NAS", "%v", err)
	}
	return f
}

// findings collects what a test says.
type findings []control.Finding

func (f *findings) add(severity, subject, fix, format string, args ...any) {
	*f = append(*f, control.Finding{Severity: severity, Subject: subject, Detail: fmt.Sprintf(format, args...), Fix: fix})
}

func (f *findings) good(subject, format string, args ...any) {
	f.add("info", subject, "", format, args...)
}

func (f *findings) odd(subject, fix, format string, args ...any) {
	f.add("warning", subject, fix, format, args...)
}

func (f *findings) bad(subject, fix, format string, args ...any) {
	f.add("error", subject, fix, format, args...)
}
