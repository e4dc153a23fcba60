package main

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"zonegate"
	"zonegate/portal"
	"zonegate/shaper/kernel"
)

// A payWay opens the way to a provider's page for the device that pays there,
// while its payment is open, and no longer than payTime and payOctets.
type payWay struct {
	gate interface {
		OpenIntents() []zonegate.Intent
		Waiting(zonegate.MAC)
	}
	till portal.Till
	path interface {
		SetPayers(context.Context, []kernel.Payer) ([]zonegate.MAC, error)
	}
	clock zonegate.Clock
	log   *slog.Logger

	hosts atomic.Pointer[[]string]
	// open are the devices whose way is open.
	open atomic.Pointer[map[zonegate.MAC]bool]
	// told is who could pay when the data path was told last, at toldAt.
	told   []zonegate.IntentID
	toldAt time.Duration
	failed bool
}

const (
	payTime   = 15 * time.Minute
	payOctets = 20_000_000
	// Each try of a device within triesTime that brought no money gets half of
	// the one before: starting payments is no way to be online for nothing.
	triesTime = 2 * time.Hour
	maxHalved = 5
	// payLook is how often payments are looked at, payAgain how often the data
	// path is told what it should know.
	payLook  = time.Second
	payAgain = 5 * time.Second
)

// Run keeps the way as it should be until the context is done. What is open
// then ends by itself.
func (w *payWay) Run(ctx context.Context) error {
	tick := time.NewTicker(payLook)
	defer tick.Stop()
	for {
		w.step(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *payWay) step(ctx context.Context) {
	w.learn()
	now := w.clock.Now().Mono
	var want []kernel.Payer
	var ids []zonegate.IntentID
	has := map[zonegate.MAC]bool{}
	list := w.gate.OpenIntents()
	tries := map[zonegate.MAC]int{}
	for i := range list {
		if in := &list[i]; in.Flow == zonegate.FlowRedirect && in.Age < triesTime {
			tries[in.Device]++
		}
	}
	for i := range list {
		in := &list[i]
		if in.State.Open() && in.NAS == "" && in.Flow == zonegate.FlowRedirect && in.URL != "" && in.Age < payTime && !has[in.Device] {
			has[in.Device] = true
			want = append(want, kernel.Payer{Device: in.Device, Until: now + payTime - in.Age, Octets: payOctets >> min(tries[in.Device]-1, maxHalved)})
			ids = append(ids, in.ID)
		}
	}
	same := len(ids) == len(w.told)
	for i := range ids {
		same = same && ids[i] == w.told[i]
	}
	if same && !w.failed && w.toldAt != 0 && (len(ids) == 0 || now-w.toldAt < payAgain) {
		return
	}
	busy, err := w.path.SetPayers(ctx, want)
	if err != nil {
		if !w.failed && ctx.Err() == nil {
			w.log.Error("who pays cannot reach the payment page; it will be tried again", "error", err)
		}
		w.failed = true
		return
	}
	w.told, w.toldAt, w.failed = ids, now, false
	w.open.Store(&has)
	// Who is on the provider's page waits, though not on ours.
	for _, d := range busy {
		if has[d] {
			w.gate.Waiting(d)
		}
	}
}

// isOpen says whether a device reaches the provider's page. Before that nobody
// is led there.
func (w *payWay) isOpen(d zonegate.MAC) bool {
	open := w.open.Load()
	return open != nil && (*open)[d]
}

// learn notes where providers' pages are.
func (w *payWay) learn() {
	channels, _ := w.till.Channels()
	var hosts []string
	for _, ch := range channels {
		if ch.Flow == zonegate.FlowRedirect {
			hosts = append(hosts, ch.Hosts...)
		}
	}
	w.hosts.Store(&hosts)
}

// leads says whether a name (lower case, no final dot) is of a provider's page.
func (w *payWay) leads(name string) bool {
	hosts := w.hosts.Load()
	if hosts == nil {
		return false
	}
	for _, h := range *hosts {
		if below, wild := strings.CutPrefix(h, "*"); h == name || wild && strings.HasSuffix(name, below) {
			return true
		}
	}
	return false
}
