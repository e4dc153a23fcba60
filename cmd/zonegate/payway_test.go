package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/kernel"
)

type payScene struct {
	now      time.Duration
	intents  []zonegate.Intent
	channels []zonegate.Channel
	waiting  []zonegate.MAC

	calls int
	last  []kernel.Payer
	busy  []zonegate.MAC
	err   error
}

func (s *payScene) Now() zonegate.Instant                { return zonegate.Instant{Mono: s.now} }
func (s *payScene) OpenIntents() []zonegate.Intent       { return s.intents }
func (s *payScene) Waiting(d zonegate.MAC)               { s.waiting = append(s.waiting, d) }
func (s *payScene) Channels() ([]zonegate.Channel, bool) { return s.channels, true }
func (s *payScene) Ask(zonegate.IntentID)                {}
func (s *payScene) SetPayers(_ context.Context, want []kernel.Payer) ([]zonegate.MAC, error) {
	s.calls++
	s.last = want
	return s.busy, s.err
}

// The way is open for who has a page to pay on, for as long as the payment is
// open and not a minute more than a quarter of an hour.
func TestPayWay(t *testing.T) {
	s := &payScene{now: time.Hour}
	w := &payWay{gate: s, till: s, path: s, clock: s, log: slog.New(slog.DiscardHandler)}
	step := func(pass time.Duration, calls, payers int) {
		t.Helper()
		s.now += pass
		s.calls = 0
		w.step(t.Context())
		if s.calls != calls || calls > 0 && len(s.last) != payers {
			t.Errorf("%d calls with %+v, want %d with %d", s.calls, s.last, calls, payers)
		}
	}
	mac := zonegate.MAC{2, 0, 0, 0, 0, 1}
	open := func(n byte, d zonegate.MAC, change func(*zonegate.Intent)) zonegate.Intent {
		in := zonegate.Intent{ID: zonegate.IntentID{n}, Device: d, Age: time.Minute}
		in.State, in.Flow, in.URL = zonegate.IntentPending, zonegate.FlowRedirect, "https://pay.example.org/x"
		if change != nil {
			change(&in)
		}
		return in
	}
	// What an earlier process left is closed, or kept, by the first call.
	step(0, 1, 0)
	step(time.Second, 0, 0)
	s.intents = []zonegate.Intent{
		open(1, mac, nil), open(2, mac, nil), // one payer
		open(3, zonegate.MAC{2, 3}, func(in *zonegate.Intent) { in.Flow = zonegate.FlowPush }),
		open(4, zonegate.MAC{2, 4}, func(in *zonegate.Intent) { in.URL = "" }),
		open(5, zonegate.MAC{2, 5}, func(in *zonegate.Intent) { in.Age = payTime }),
		open(6, zonegate.MAC{2, 6}, func(in *zonegate.Intent) { in.State = zonegate.IntentExpired }),
		open(7, zonegate.MAC{2, 7}, func(in *zonegate.Intent) { in.NAS = "bar" }),
	}
	step(time.Second, 1, 1)
	want := kernel.Payer{Device: mac, Until: s.now + 14*time.Minute, Octets: 10_000_000} // the second try
	if s.last[0] != want {
		t.Errorf("%+v, want %+v", s.last[0], want)
	}
	step(time.Second, 0, 0)
	// Who is on the provider's page waits; others do not.
	s.busy = []zonegate.MAC{mac, {2, 9}}
	step(payAgain, 1, 1)
	if len(s.waiting) != 1 || s.waiting[0] != mac {
		t.Errorf("waiting %v", s.waiting)
	}
	s.busy, s.err = nil, errors.New("no device")
	s.intents = s.intents[:1]
	s.intents[0].State = zonegate.IntentPaid
	step(time.Second, 1, 0)
	step(time.Second, 1, 0)
	s.err = nil
	step(time.Second, 1, 0)
	step(time.Hour, 0, 0)

	// Trying again and again is no way to be online.
	var sum uint64
	for n := range byte(40) {
		for i := range s.intents {
			s.intents[i].State, s.intents[i].Age = zonegate.IntentFailed, s.intents[i].Age+3*time.Minute
		}
		s.intents = append([]zonegate.Intent{open(100+n, mac, func(in *zonegate.Intent) { in.Age = 0 })}, s.intents...)
		step(3*time.Minute, 1, 1)
		if n == 0 && s.last[0].Octets != 20_000_000>>1 { // beside the one above
			t.Errorf("the first try has %d", s.last[0].Octets)
		}
		sum += s.last[0].Octets
	}
	if sum > 60_000_000 {
		t.Errorf("40 tries let %d octets through", sum)
	}
}

func TestPayWayNames(t *testing.T) {
	s := &payScene{}
	w := &payWay{gate: s, till: s, path: s, clock: s, log: slog.New(slog.DiscardHandler)}
	if w.leads("kkiapay.me") {
		t.Error("before anything is known")
	}
	s.channels = []zonegate.Channel{
		{ID: "A", Flow: zonegate.FlowPush, Hosts: []string{"push.example.org"}},
		{ID: "B", Flow: zonegate.FlowRedirect, Hosts: []string{"kkiapay.me", "*.cdn.example.org"}},
	}
	w.step(t.Context())
	for name, want := range map[string]bool{
		"kkiapay.me": true, "www.kkiapay.me": false, "xkkiapay.me": false,
		"a.cdn.example.org": true, "cdn.example.org": false, "xcdn.example.org": false,
		"push.example.org": false, "": false,
	} {
		if got := w.leads(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
