package store_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

func TestSettings(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r, other := w.reseller("A", plenty), w.reseller("B", plenty)
		s := w.site(r, "Market")
		b := w.gateway(s, "one")
		o := w.gateway(w.site(other, "Port"), "two")
		ra := hub.Actor{Name: "ra", Role: hub.RoleReseller, Reseller: r.ID}
		for _, tt := range []struct {
			what string
			by   hub.Actor
			s    hub.Setting
			want error
		}{
			{"an unknown setting", w.admin, hub.Setting{Body: 7}, new(hub.InputError)},
			{"an unknown language", w.admin, hub.Setting{Body: api.Brand{Language: "de"}}, new(hub.InputError)},
			{"no rate", w.admin, hub.Setting{Body: api.Link{Down: 1}}, new(hub.InputError)},
			{"no domain", w.admin, hub.Setting{Body: api.Garden{Domains: []string{"nope"}}}, new(hub.InputError)},
			{"a URL", w.admin, hub.Setting{Body: api.Garden{Domains: []string{"https://example.org/"}}}, new(hub.InputError)},
			{"a long text", w.admin, hub.Setting{Body: api.Message{EN: string(make([]byte, 501))}}, new(hub.InputError)},
			{"a reseller to all", ra, hub.Setting{Body: api.Message{EN: "x"}}, hub.ErrForbidden},
			{"a reseller to another", ra, hub.Setting{Target: hub.Target{Site: o.Site}, Body: api.Message{EN: "x"}}, hub.ErrForbidden},
			{"no such site", w.admin, hub.Setting{Target: hub.Target{Site: "x"}, Body: api.Message{EN: "x"}}, hub.ErrNotFound},
		} {
			_, _, err := w.PushSetting(w.ctx, tt.by, tt.s)
			wantErr(t, tt.what, err, tt.want)
		}
		_, _, err := w.PushSetting(w.ctx, ra, hub.Setting{Target: hub.Target{Reseller: r.ID}, Body: api.Garden{Domains: []string{"example.org", "*.example.net"}}})
		w.ok(err)
		if len(w.pushes(b, 0)) != 1 || len(w.pushes(o, 0)) != 0 {
			t.Error("a reseller's setting did not go to his sites alone")
		}
		p := w.pushes(b, 0)[0]
		signed := must(w.Sign(p))(t)
		got := must(signed.Open(w.keys.Push.Public().(ed25519.PublicKey), "any"))(t)
		if got.Seq != p.Seq || got.Site != "*" || got.Kind != api.KindGarden || string(got.Body) != `{"domains":["example.org","*.example.net"]}` {
			t.Errorf("it travels as %+v", got)
		}
	})
}

// Pushes that are made by many at once become visible in their order: whoever
// follows the numbers misses none.
func TestPushOrder(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		s := w.site(w.reseller("A", plenty), "Market")
		const writers, each = 8, 15
		second := w
		if w.database[:4] == "post" {
			second = w.other()
		}
		var wg sync.WaitGroup
		for i := range writers {
			x := []*world{w, second}[i%2]
			wg.Go(func() {
				for j := range each {
					if _, _, err := x.PushSetting(x.ctx, x.admin, hub.Setting{Target: hub.Target{Site: s.ID}, Body: api.Message{EN: fmt.Sprint(i, j)}}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		defer cancel()
		reader, head := w.other(), uint64(0)
		for n := 0; n < writers*each; {
			if _, err := reader.WaitPush(ctx, head); err != nil {
				t.Fatalf("waiting after %d: %v", head, err)
			}
			for _, p := range must(reader.Pushes(ctx, head, 100))(t) {
				if p.Seq != head+1 {
					t.Fatalf("after %d comes %d", head, p.Seq)
				}
				head = p.Seq
				n++
			}
		}
		wg.Wait()
	})
}

// Another process's push wakes those who wait, with Run at once.
func TestWaitPush(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		maker := w.other()
		ctx, cancel := context.WithCancel(w.ctx)
		ran := make(chan error, 1)
		go func() { ran <- w.store.Run(ctx) }()
		for i := range uint64(3) {
			got := make(chan uint64, 1)
			go func() {
				head, err := w.WaitPush(ctx, i)
				if err != nil {
					t.Error(err)
				}
				got <- head
			}()
			_, _, err := maker.PushSetting(w.ctx, w.admin, hub.Setting{Body: api.Message{EN: "x"}})
			w.ok(err)
			if head := <-got; head != i+1 {
				t.Errorf("woken with %d, want %d", head, i+1)
			}
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error("Run ended with", err)
		}
		if _, err := w.WaitPush(ctx, 99); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting when it is over: %v", err)
		}
	})
}

func TestPushTargets(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ra, rb := w.reseller("A", plenty), w.reseller("B", plenty)
		boxes := []*box{
			w.gateway(w.site(ra, "a1"), "a1"), w.gateway(w.site(ra, "a2"), "a2"), w.gateway(w.site(rb, "b1"), "b1"),
			w.gateway(must(w.CreateSite(w.ctx, w.admin, rb.ID, "b2", "XAF"))(t), "b2"),
		}
		targets := []hub.Target{
			{Share: hub.All}, {Site: boxes[0].Site}, {Share: hub.All, Reseller: rb.ID}, {Share: hub.All, Currency: "XAF"},
			{Share: hub.All, Reseller: ra.ID, Currency: "XAF"}, {Share: boxes[1].Bucket + 1}, {Share: boxes[2].Bucket}, {Site: boxes[3].Site, Share: 1, Reseller: ra.ID},
		}
		for _, to := range targets {
			_, _, err := w.PushSetting(w.ctx, w.admin, hub.Setting{Target: to, Body: api.Message{EN: "x"}})
			w.ok(err)
		}
		all := must(w.Pushes(w.ctx, 0, 100))(t)
		for _, b := range boxes {
			var want, got []uint64
			for _, p := range all {
				if p.Target.Includes(b.Gateway) {
					want = append(want, p.Seq)
				}
			}
			for _, p := range w.pushes(b, 0) {
				got = append(got, p.Seq)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s gets %v, and is meant by %v", b.Name, got, want)
			}
		}
	})
}

// Answers to what was never pushed, or to others, are not kept: a push that gets
// the number later would seem to be applied.
func TestAcksOfOthers(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.reseller("A", plenty), w.reseller("B", plenty)
		mine, stranger := w.gateway(w.site(a, "a"), "a"), w.gateway(w.site(b, "b"), "b")
		f, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: plan("Day", 500), Reseller: a.ID})
		w.ok(err)
		for _, outcome := range []string{api.Applied, api.Refused} {
			w.ok(w.Acks(w.ctx, stranger.Gateway, api.Acks{Acks: []api.Ack{{Seq: f.Seq, Outcome: outcome}}}))
			w.ok(w.Acks(w.ctx, mine.Gateway, api.Acks{Acks: []api.Ack{{Seq: f.Seq + 1, Outcome: outcome}}}))
		}
		if n := w.count("acks"); n != 0 || len(w.alarms(mine)) > 0 || len(w.alarms(stranger)) > 0 {
			t.Errorf("%d answers are kept; alarms %v, %v", n, w.alarms(mine), w.alarms(stranger))
		}
		w.ok(w.Acks(w.ctx, mine.Gateway, api.Acks{Acks: []api.Ack{{Seq: f.Seq + 1, Outcome: api.Applied}, {Seq: f.Seq, Outcome: api.Applied}}}))
		if _, applied, err := w.AcksOf(w.ctx, w.admin, f.Seq, 10); err != nil || applied != 1 || w.count("acks") != 1 {
			t.Errorf("its own answer: %d applied, %v", applied, err)
		}
	})
}

func TestBadAcks(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		for _, tt := range []struct {
			what string
			acks []api.Ack
			want error
		}{
			{"no outcome", []api.Ack{{Seq: 1}}, new(hub.InputError)},
			{"a number beyond all", []api.Ack{{Seq: 1 << 63, Outcome: api.Applied}}, new(hub.InputError)},
			{"too many", make([]api.Ack, 501), new(hub.InputError)},
			{"none", nil, nil},
			{"a claimed grant", []api.Ack{{Seq: 0, Outcome: api.Applied}}, nil},
			{"one push twice", []api.Ack{{Seq: 1, Outcome: api.Applied}, {Seq: 1, Outcome: api.Refused, Reason: "no\x00t text\xff"}}, nil},
		} {
			wantErr(t, tt.what, w.Acks(w.ctx, b.Gateway, api.Acks{Acks: tt.acks}), tt.want)
		}
	})
}
