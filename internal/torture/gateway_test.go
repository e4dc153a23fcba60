package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/internal/disk/faultdisk"
	"zonegate/internal/journal"
	"zonegate/internal/store"
	"zonegate/sync/api"
	"zonegate/sync/central"
)

// A gate is a gateway: what survives a restart, and one life of it.
type gate struct {
	*shop
	w    *world
	disk *faultdisk.Disk
	// skew is the wall clock's, against the true time; trusted says that it was
	// confirmed.
	skew    time.Duration
	trusted bool
	boot    int
	booted  time.Time
	down    bool // the line to the hub
	cutAt   int  // power goes at this change of the disk; 0 is never
	// sold are the sales that were reported, by their entry.
	sold map[uint64]string
	path *path

	alive  bool
	zone   *zonegate.Gate
	pay    *central.Pay
	keeper *store.Store
	cancel context.CancelFunc
	ended  chan error
	kept   api.Signed // a push from before
}

func (w *world) newGate(k *shop) *gate {
	g := &gate{shop: k, w: w, disk: faultdisk.New(w.rng.Uint64()), sold: map[uint64]string{}, trusted: true}
	g.path = &path{open: map[zonegate.SessionID]zonegate.MAC{}}
	g.start()
	e := g.enrolled
	check(w.t, g.zone.JoinHub(w.ctx, zonegate.HubLink{Hub: public, Site: e.SiteID, Gateway: e.GatewayID, CodeKey: k.codeKey, Applied: e.Head}, e.NextEntry))
	g.sync()
	return g
}

// Now implements zonegate.Clock.
func (g *gate) Now() zonegate.Instant {
	return zonegate.Instant{Boot: fmt.Sprint("boot-", g.boot), Mono: time.Since(g.booted) + time.Minute, Wall: g.w.now().Add(g.skew), Trusted: g.trusted}
}

// start begins a life on what the disk has.
func (g *gate) start() {
	w := g.w
	g.boot++
	g.booted = time.Now()
	place := filepath.Join(w.dir, g.currency, fmt.Sprint(g.boot))
	check(w.t, os.MkdirAll(place, 0o700))
	var err error
	g.keeper, err = store.Open(store.Options{Dir: "/data", FS: g.disk, StateDir: place,
		Journal: journal.Options{SegmentSize: 64 << 10, Reserve: -1}})
	if errors.Is(err, faultdisk.ErrPowerOff) && g.cutAt > 0 {
		w.say("the power of %s goes while it starts", g.currency)
		g.disk, g.cutAt = g.disk.Crash(), 0
		return
	} else if err != nil {
		w.fail("gateway %s does not start: %v", g.currency, err)
		return
	}
	g.zone = zonegate.NewGate(g.keeper.State(), g.keeper, g.keeper, g.path, g, zonegate.Options{RefusalTime: -1, MoveInterval: time.Nanosecond,
		Random: newDice(w.seed<<8 + uint64(g.boot)), Guessing: zonegate.Guessing{}})
	ctx, cancel := context.WithCancel(w.ctx)
	g.cancel, g.ended, g.alive = cancel, make(chan error, 1), true
	zone, ended := g.zone, g.ended
	go func() { ended <- zone.Run(ctx) }()
	g.pay = central.NewPay(g.zone, line{g}, g, nil)
	w.pass(time.Millisecond)
}

// stop ends a life in order.
func (g *gate) stop() {
	if !g.alive {
		return
	}
	g.alive = false
	g.cancel()
	<-g.ended
	g.keeper.Close()
}

// crash ends it by a cut of the power, or with kill the process alone.
func (g *gate) crash(kill bool) {
	if kill {
		g.disk.Kill()
		g.stop()
	} else {
		after := g.disk.Crash()
		g.stop()
		g.disk = after
		g.path.open, g.cutAt = map[zonegate.SessionID]zonegate.MAC{}, 0
	}
}

// restart brings it back, and looks whether it knows what it had sent.
func (g *gate) restart() {
	g.start()
	if !g.alive {
		return
	}
	check(g.w.t, g.w.store.Read(g.w.ctx, func(tx hub.Tx) error {
		for _, o := range g.w.orders {
			if o.gate != g {
				continue
			}
			if _, err := tx.PaymentByIntent(g.enrolled.GatewayID, o.id.String()); err != nil {
				continue
			}
			if _, ok := g.zone.Intent(o.id); !ok {
				g.w.fail("gateway %s has asked the hub for intent %s and does not know it any more", g.currency, o.id)
			}
		}
		return nil
	}))
}

// path is a data path in memory.
type path struct {
	mu   sync.Mutex
	open map[zonegate.SessionID]zonegate.MAC
}

func (p *path) Apply(_ context.Context, want []zonegate.Order) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = map[zonegate.SessionID]zonegate.MAC{}
	for _, o := range want {
		p.open[o.Session] = o.Device
	}
	return nil
}

func (p *path) Change(_ context.Context, set []zonegate.Order, stop []zonegate.SessionID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range stop {
		delete(p.open, id)
	}
	for _, o := range set {
		p.open[o.Session] = o.Device
	}
	return nil
}

func (p *path) Usage(context.Context) (out []zonegate.Usage, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.open {
		out = append(out, zonegate.Usage{Session: id})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Session < out[j].Session })
	return out, nil
}

// line is the way to the hub: it is lost, doubled, or answers too late.
type line struct{ g *gate }

func (l line) Channels() (list []zonegate.Channel, online bool) { return nil, true }

func (l line) StartPayment(ctx context.Context, in api.Intent) (out api.Payment, err error) {
	return out, l.call("start "+in.IntentID[:8], func(h *process, as hub.Gateway) error {
		out, err = h.StartPayment(ctx, as, in)
		return err
	})
}

func (l line) Payment(ctx context.Context, intent string) (out api.Payment, err error) {
	return out, l.call("ask "+intent[:8], func(h *process, as hub.Gateway) error {
		out, err = h.PaymentOf(ctx, as, intent)
		return err
	})
}

// call does what a request does: not arrive, arrive twice, or lose its answer.
func (l line) call(what string, do func(*process, hub.Gateway) error) error {
	g, w := l.g, l.g.w
	say := func(format string, args ...any) { w.say("%s %s: %s", g.currency, what, fmt.Sprintf(format, args...)) }
	if g.down || w.hub.dead {
		return &net.OpError{Op: "dial", Err: errLost}
	}
	if !w.calm && w.chance(5) {
		say("the request is lost")
		return errLost
	}
	times := 1
	if !w.calm && w.chance(8) {
		times = 2
	}
	var err error
	for range times {
		h := w.hub
		var as hub.Gateway
		if as, err = h.Authenticate(w.ctx, g.enrolled.Token); err == nil {
			err = do(h, as)
		}
		if h.dead {
			say("the hub dies")
			return errLost
		}
	}
	if !w.calm && w.chance(8) {
		say("the answer is lost (%s)", w.result(err))
		return errLost
	}
	if err != nil {
		say("%v", err)
	}
	return refusal(err)
}

// refusal is an error as the hub's server answers it.
func refusal(err error) error {
	status, code := http.StatusServiceUnavailable, api.CodeUnavailable
	var input *hub.InputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &input):
		status, code = http.StatusUnprocessableEntity, api.CodeBadRequest
	case errors.Is(err, hub.ErrNotFound):
		status, code = http.StatusNotFound, api.CodeNotFound
	case errors.Is(err, hub.ErrExists):
		status, code = http.StatusConflict, api.CodeExists
	}
	return &central.Refusal{Status: status, Problem: api.Problem{Detail: err.Error(), Code: code}}
}

// sync takes pushes, acknowledges them and reports.
func (g *gate) sync() {
	w := g.w
	if !g.alive || g.down || w.hub.dead {
		return
	}
	h := w.hub
	as, err := h.Authenticate(w.ctx, g.enrolled.Token)
	if err != nil {
		return
	}
	link, _ := g.zone.Hub()
	pushes, _, err := h.PushesFor(w.ctx, as, link.Applied, 100)
	if err != nil {
		return
	}
	var acks []hub.Ack
	for _, p := range pushes {
		signed, err := h.Sign(p)
		check(w.t, err)
		if !w.calm && w.chance(5) {
			break // the stream ends here
		}
		ack, ok := g.take(signed, p.Seq)
		if !ok {
			break
		}
		if g.kept.Payload == nil || w.chance(40) {
			g.kept = signed
		}
		acks = append(acks, ack)
		if !w.calm && w.chance(8) {
			g.take(signed, p.Seq)
		}
	}
	if len(acks) > 0 && (w.calm || !w.chance(8)) {
		h.Acks(w.ctx, as, api.Acks{Instance: g.instance, Acks: wireAcks(acks)})
	}
	g.report(h, as)
	g.beat(h)
}

// beat is a heartbeat, and the hub writes it down.
func (g *gate) beat(h *process) {
	w := g.w
	as, err := h.Authenticate(w.ctx, g.enrolled.Token)
	if err != nil || h.dead {
		return
	}
	link, _ := g.zone.Hub()
	last, unsent, _ := g.zone.OutboxStatus()
	if has := as.NextEntry - 1; has <= last {
		unsent = min(unsent, last-has)
	}
	_, err = h.Heartbeat(w.ctx, as, api.Heartbeat{Instance: g.instance, Boot: fmt.Sprint("boot-", g.boot), Nonce: "AAAAAAAAAAAAAAAAAAAAAA==",
		Applied: link.Applied, Entry: last, Unsent: unsent})
	if err == nil {
		err = h.Flush(w.ctx)
	}
	if err != nil && !h.dead {
		w.fail("the hub does not take a heartbeat of %s: %v", g.currency, err)
	}
}

func wireAcks(acks []hub.Ack) (out []api.Ack) {
	for _, a := range acks {
		out = append(out, api.Ack{Seq: a.Seq, Outcome: a.Outcome, Reason: a.Reason})
	}
	return out
}

// take has the gate take a push. Not ok is one that is wanted again.
func (g *gate) take(s api.Signed, seq uint64) (hub.Ack, bool) {
	key, err := api.ParseKey(g.enrolled.HubKey)
	check(g.w.t, err)
	p, err := s.Open(key, g.enrolled.SiteID)
	if err != nil {
		g.w.fail("a push of the hub does not open: %v", err)
		return hub.Ack{}, false
	}
	change, err := changeOf(p)
	if err != nil {
		g.w.fail("a push of the hub makes no sense: %v", err)
		return hub.Ack{}, false
	}
	err = g.zone.TakePush(g.w.ctx, seq, change)
	g.w.say("%s takes push %d %s: %s", g.currency, seq, p.Kind, g.w.result(err))
	if c, ok := change.(zonegate.GrantGone); ok && err == nil {
		g.w.gone[c.Grant] = true
	}
	ack := hub.Ack{Seq: p.Seq, Outcome: api.Applied}
	for _, no := range []error{zonegate.ErrBadPush, zonegate.ErrStalePlan, zonegate.ErrPlanTaken, zonegate.ErrCodeConflict} {
		if errors.Is(err, no) {
			ack.Outcome, ack.Reason = api.Refused, err.Error()
			g.w.fail("gateway %s refuses push %d %s: %v", g.currency, p.Seq, p.Kind, err)
			return ack, true
		}
	}
	return ack, err == nil
}

// changeOf is what a push means: of the kinds that money has.
func changeOf(p api.Push) (zonegate.HubChange, error) {
	plan := func(x api.Plan) zonegate.Plan {
		return zonegate.Plan{ID: x.ID, Version: x.Version, Name: x.Name, Price: zonegate.Money(x.Price), Duration: time.Duration(x.Seconds) * time.Second,
			DataCap: x.Octets, Rate: zonegate.Rate{CIRUp: x.CIRUp, CIRDown: x.CIRDown, MIRUp: x.MIRUp, MIRDown: x.MIRDown}, DevicesMax: x.DevicesMax}
	}
	switch p.Kind {
	case api.KindPlan:
		var b api.PlanSet
		err := json.Unmarshal(p.Body, &b)
		return zonegate.PlanPushed{Plan: plan(b.Plan)}, err
	case api.KindGrantRevoked:
		var b api.GrantRevoked
		err := json.Unmarshal(p.Body, &b)
		return zonegate.GrantGone{Grant: b.Grant}, err
	case api.KindGrant:
		var b api.GrantIssued
		if err := json.Unmarshal(p.Body, &b); err != nil {
			return nil, err
		}
		c := zonegate.GrantPushed{Grant: b.Grant, Plan: plan(b.Plan), Intent: b.Intent}
		if b.Expires != nil {
			c.Expires = b.Expires.UTC()
		}
		copy(c.Key[:], b.Key)
		mac, err := net.ParseMAC(b.Device)
		copy(c.Device[:], mac)
		return c, err
	}
	return nil, fmt.Errorf("it is a %s", p.Kind)
}

// report sends what the hub has not got, and perhaps forgets that it did.
func (g *gate) report(h *process, as hub.Gateway) {
	w := g.w
	_, _, _ = g.zone.OutboxStatus()
	entries, err := g.zone.Outbox(as.NextEntry-1, api.MaxEntries)
	if err != nil || len(entries) == 0 {
		return
	}
	r := api.Reports{Instance: g.instance}
	for _, e := range entries {
		out := api.Entry{N: e.N, Kind: e.Kind.String(), Grant: uint64(e.Grant), Source: e.Source.Kind, Ref: e.Source.Ref, HubCode: e.HubCode,
			Plan: e.Plan.ID, PlanVersion: e.Plan.Version, Up: e.Used.Up, Down: e.Used.Down}
		if !e.At.IsZero() {
			at := e.At.UTC()
			out.At = &at
		}
		if e.Price != (zonegate.Money{}) {
			m := api.Money(e.Price)
			out.Price = &m
		}
		if e.Kind == zonegate.EntryEnded {
			out.State = e.State.String()
		}
		r.Entries = append(r.Entries, out)
		if e.Kind == zonegate.EntrySale {
			g.sold[e.N] = e.Source.Ref
		}
	}
	got, err := h.Report(w.ctx, as, r)
	if h.dead {
		return
	}
	if err != nil {
		w.fail("the hub does not take the entries of %s: %v", g.currency, err)
		return
	}
	if w.calm || !w.chance(20) {
		g.zone.Delivered(w.ctx, got.Through)
	}
}
