package store_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

func TestEnrol(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		s := w.site(w.reseller("A", plenty), "Market")
		void := must(w.NewEnrolment(w.ctx, w.admin, s.ID, time.Hour))(t)
		code := must(w.NewEnrolment(w.ctx, w.admin, s.ID, time.Hour))(t)
		one, two := instance("one"), instance("two")
		for _, tt := range []struct {
			what, code, instance string
			want                 error
		}{
			{"a code that was replaced", void.Code, one, hub.ErrUnauthorized},
			{"a wrong code", "0000-0000-0000-0000", one, hub.ErrUnauthorized},
			{"no instance", code.Code, "", new(hub.InputError)},
			{"a bad instance", code.Code, "zz", new(hub.InputError)},
		} {
			_, err := w.Enrol(w.ctx, api.Enrol{Code: tt.code, Instance: tt.instance})
			wantErr(t, tt.what, err, tt.want)
		}
		first := must(w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: one, Name: "r1"}))(t)
		if first.NextEntry != 1 || first.SiteID != s.ID {
			t.Errorf("enrolled as %+v", first)
		}
		if key, err := api.ParseKey(first.HubKey); err != nil || !key.Equal(w.keys.Push.Public()) {
			t.Error("the hub's key is another one")
		}
		// The answer was lost: the same installation asks again.
		again := must(w.Enrol(w.ctx, api.Enrol{Code: " " + code.Code, Instance: one, Name: "r1"}))(t)
		if again.GatewayID != first.GatewayID || again.CodeKey != first.CodeKey || again.Head != first.Head || again.Token == first.Token {
			t.Errorf("the same installation got %+v and then %+v", first, again)
		}
		_, err := w.Authenticate(w.ctx, first.Token)
		wantErr(t, "the token that was replaced", err, hub.ErrUnauthorized)
		if g := must(w.Authenticate(w.ctx, again.Token))(t); g.ID != first.GatewayID || g.Site != s.ID || g.Currency != "XOF" || g.NextEntry != 1 {
			t.Errorf("the gateway is %+v", g)
		}
		_, err = w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: two})
		wantErr(t, "another installation with the code", err, hub.ErrUsed)
		w.clock.pass(2 * time.Hour)
		_, err = w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: one})
		wantErr(t, "the code after its life", err, hub.ErrExpired)
		_, err = w.NewEnrolment(w.ctx, w.admin, s.ID, time.Second)
		wantErr(t, "a life of a second", err, new(hub.InputError))
		_, err = w.NewEnrolment(w.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: "other"}, s.ID, time.Hour)
		wantErr(t, "another reseller's site", err, hub.ErrForbidden)
		_, err = w.Authenticate(w.ctx, "")
		wantErr(t, "no token", err, hub.ErrUnauthorized)
	})
}

// Two installations with one code at the same moment: one is let in.
func TestEnrolRace(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		s := w.site(w.reseller("A", plenty), "Market")
		code := must(w.NewEnrolment(w.ctx, w.admin, s.ID, time.Hour))(t)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: instance(string(rune('a' + i)))})
			})
		}
		wg.Wait()
		in := 0
		for _, err := range errs {
			if err == nil {
				in++
			} else if !errors.Is(err, hub.ErrUsed) {
				t.Error("refused with", err)
			}
		}
		if in != 1 {
			t.Errorf("%d installations got in with one code", in)
		}
	})
}

func TestLimits(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", hub.Limits{Vouchers: 10, Sites: 2, Gateways: 1})
		boss := hub.Actor{Name: "r", Role: hub.RoleReseller, Reseller: r.ID}
		a := must(w.CreateSite(w.ctx, boss, r.ID, "a", "XOF"))(t)
		b := must(w.CreateSite(w.ctx, boss, r.ID, "b", "XOF"))(t)
		_, err := w.CreateSite(w.ctx, boss, r.ID, "c", "XOF")
		wantErr(t, "a third site", err, hub.ErrLimit)
		one := w.gateway(a, "one")
		code := must(w.NewEnrolment(w.ctx, boss, b.ID, time.Hour))(t)
		_, err = w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: instance("two")})
		wantErr(t, "a second gateway", err, hub.ErrLimit)
		// The code was not used up by the refusal.
		w.ok(w.RevokeGateway(w.ctx, boss, one.ID, "stolen"))
		must(w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: instance("two")}))(t)

		f := w.forfait(plan("Day", 500))
		must2(w.Generate(w.ctx, boss, hub.Generate{N: 7, Forfait: f.Plan.ID, Reseller: r.ID, Site: a.ID, Batch: "seven"}))(t)
		_, _, err = w.Generate(w.ctx, boss, hub.Generate{N: 4, Forfait: f.Plan.ID, Reseller: r.ID, Site: a.ID})
		wantErr(t, "eleven vouchers", err, hub.ErrLimit)
		must2(w.Generate(w.ctx, boss, hub.Generate{N: 3, Forfait: f.Plan.ID, Reseller: r.ID, Site: a.ID, Expires: w.clock.Now().Add(time.Hour)}))(t)
		w.ok(w.RevokeBatch(w.ctx, boss, "seven", "lost"))
		w.clock.pass(2 * time.Hour) // those three are out of date
		must2(w.Generate(w.ctx, boss, hub.Generate{N: 10, Forfait: f.Plan.ID, Reseller: r.ID, Site: a.ID}))(t)

		wantErr(t, "a reseller lifts his limits", w.ChangeReseller(w.ctx, boss, r.ID, "A", plenty), hub.ErrForbidden)
		wantErr(t, "a negative limit", w.ChangeReseller(w.ctx, w.admin, r.ID, "A", hub.Limits{Sites: -1}), new(hub.InputError))
		wantErr(t, "no such reseller", w.ChangeReseller(w.ctx, w.admin, "x", "B", plenty), hub.ErrNotFound)
		w.ok(w.ChangeReseller(w.ctx, w.admin, r.ID, "A2", plenty))
		must(w.CreateSite(w.ctx, boss, r.ID, "c", "XOF"))(t)
		if rs := must(w.Resellers(w.ctx, boss))(t); len(rs) != 1 || rs[0].Name != "A2" || rs[0].Limits != plenty {
			t.Errorf("resellers: %+v", rs)
		}
	})
}

func must2[T, U any](v T, u U, err error) func(testing.TB) (T, U) {
	return func(tb testing.TB) (T, U) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v, u
	}
}

// A new gateway at a site gets what the site had, and the old one is told that
// it is out.
func TestReplaceGateway(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		s, elsewhere := w.site(r, "Market"), w.site(r, "Port")
		f := w.forfait(plan("Day", 500))
		old := w.gateway(s, "old")
		_, _, err := w.PushSetting(w.ctx, w.admin, hub.Setting{Body: api.Brand{Name: "First"}})
		w.ok(err)
		_, _, err = w.PushSetting(w.ctx, w.admin, hub.Setting{Body: api.Brand{Name: "Second"}})
		w.ok(err)
		_, _, err = w.PushSetting(w.ctx, w.admin, hub.Setting{Target: hub.Target{Site: elsewhere.ID}, Body: api.Message{EN: "not here"}})
		w.ok(err)
		_, codes := must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 3, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID, Batch: "b1"}))(t)
		must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 2, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID, Batch: "gone"}))(t)
		w.ok(w.RevokeBatch(w.ctx, w.admin, "gone", ""))
		open, _ := must2(w.IssueGrant(w.ctx, w.admin, hub.IssueGrant{Site: s.ID, Forfait: f.Plan.ID, Device: "02:00:00:00:00:01", Ref: "p1"}))(t)

		// One code is sold before the router breaks.
		used := old.sale(w, f, 500)
		used.HubCode, used.Ref = true, codeKey(t, old, codes[0])
		must(w.report(old, used))(t)

		fresh := w.gateway(s, "new")
		if fresh.Enrolled.NextEntry != 2 || fresh.Enrolled.CodeKey != old.Enrolled.CodeKey {
			t.Errorf("the new gateway begins with %+v", fresh.Enrolled)
		}
		ps := w.pushes(fresh, fresh.Enrolled.Head)
		if got, want := kinds(ps), "portal.brand batch.issued grant.issued"; got != want {
			t.Fatalf("the new gateway gets %q, want %q", got, want)
		}
		if string(ps[0].Body) != `{"name":"Second"}` {
			t.Errorf("it gets the brand %s", ps[0].Body)
		}
		var b api.BatchIssued
		w.ok(json.Unmarshal(ps[1].Body, &b))
		if b.Batch != "b1" || len(b.Keys) != 2 || b.Plan.ID != f.Plan.ID {
			t.Errorf("it gets the batch %+v, want the two codes that were not used", b)
		}
		var g api.GrantIssued
		w.ok(json.Unmarshal(ps[2].Body, &g))
		if g.Grant != open.ID || g.Device != "02:00:00:00:00:01" {
			t.Errorf("it gets the grant %+v", g)
		}

		gone, err := w.Authenticate(w.ctx, old.Token)
		wantErr(t, "the old gateway's token", err, hub.ErrRevoked)
		told, _, err := w.PushesFor(w.ctx, gone, old.Enrolled.Head, 10)
		w.ok(err)
		if kinds(told) != api.KindRevoked {
			t.Errorf("the old gateway is told %q", kinds(told))
		}
		_, err = w.report(old, old.sale(w, f, 500))
		wantErr(t, "a report of the old gateway", err, hub.ErrRevoked)
	})
}

// codeKey is the hash of a code as the gateway computes it.
func codeKey(tb testing.TB, b *box, code string) string {
	tb.Helper()
	key, err := base64.StdEncoding.DecodeString(b.Enrolled.CodeKey)
	if err != nil || len(key) != 32 {
		tb.Fatal("the code key is no key:", err)
	}
	k := zonegate.ZoneKey(key).VoucherKey(code)
	return hexOf(k[:])
}

func TestHeartbeat(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		s := w.site(w.reseller("A", plenty), "Market")
		b := w.gateway(s, "one")
		nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
		good := api.Heartbeat{Instance: b.instance, Boot: "b1", Version: "1.2", Nonce: nonce, Uptime: 60, Applied: b.Enrolled.Head, Unsent: 7,
			Health: []api.Health{{Severity: "warning", Subject: "disk", Detail: "nearly full"}}}
		for _, tt := range []struct {
			what   string
			change func(*api.Heartbeat)
		}{
			{"no nonce", func(x *api.Heartbeat) { x.Nonce = "" }},
			{"a short nonce", func(x *api.Heartbeat) { x.Nonce = "AAAA" }},
			{"a number beyond all", func(x *api.Heartbeat) { x.Applied = 1 << 63 }},
			{"negative sessions", func(x *api.Heartbeat) { x.Sessions = -1 }},
		} {
			bad := good
			tt.change(&bad)
			_, err := w.Heartbeat(w.ctx, b.Gateway, bad)
			wantErr(t, tt.what, err, new(hub.InputError))
		}
		beat := must(w.Heartbeat(w.ctx, b.Gateway, good))(t)
		sig, _ := base64.StdEncoding.DecodeString(beat.Signature)
		if !ed25519.Verify(w.keys.Push.Public().(ed25519.PublicKey), api.TimeMessage(nonce, beat.Time), sig) || !beat.Time.Equal(w.clock.Now()) {
			t.Error("the time is not signed over the nonce")
		}
		if beat.Entry != 0 || beat.Head != 0 {
			t.Errorf("the answer is %+v", beat)
		}

		// Seen at once by this process, by others when it is written down.
		other := w.other()
		status := func(w *world) hub.Status {
			return must(w.Fleet(w.ctx, w.admin, hub.FleetQuery{}))(t)[0].Status
		}
		if st := status(w); st.Unsent != 7 || !st.Seen.Equal(w.clock.Now()) || len(st.Health) != 1 {
			t.Errorf("the fleet has %+v", st)
		}
		if st := status(other); !st.Seen.IsZero() {
			t.Errorf("another process knows %+v already", st)
		}
		w.ok(w.Flush(w.ctx))
		if st := status(other); st.Version != "1.2" || st.Uptime != time.Minute || st.Boot != "b1" || !st.Seen.Equal(w.clock.Now()) {
			t.Errorf("another process has %+v", st)
		}

		// The last push for this gateway, not that for others.
		w.site(must(w.Resellers(w.ctx, w.admin))(t)[0], "Port")
		_, _, err := w.PushSetting(w.ctx, w.admin, hub.Setting{Body: api.Message{EN: "x"}})
		w.ok(err)
		port := must(w.Sites(w.ctx, w.admin, ""))(t)[1]
		_, _, err = w.PushSetting(w.ctx, w.admin, hub.Setting{Target: hub.Target{Site: port.ID}, Body: api.Message{EN: "x"}})
		w.ok(err)
		for range 2 {
			if beat = must(w.Heartbeat(w.ctx, w.again(b), good))(t); beat.Head != 1 {
				t.Errorf("the gateway's head is %d, want 1", beat.Head)
			}
		}
	})
}

func TestTwins(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
		beat := func(b *box, instance, boot string) {
			must(w.Heartbeat(w.ctx, b.Gateway, api.Heartbeat{Instance: instance, Boot: boot, Nonce: nonce}))(t)
		}
		// A restart is no twin; a boot that comes back is one.
		b := w.gateway(w.site(r, "a"), "one")
		beat(b, b.instance, "b1")
		beat(b, b.instance, "b2")
		beat(b, b.instance, "b2")
		if len(w.alarms(b)) != 0 {
			t.Error("a restart raised", w.alarms(b))
		}
		beat(b, b.instance, "b1")
		if _, ok := w.alarms(b)[hub.AlarmTwin]; !ok {
			t.Error("a copied disk raised no alarm")
		}
		wantErr(t, "clearing another's alarm", w.ClearAlarm(w.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: "x"}, b.ID, hub.AlarmTwin), hub.ErrForbidden)
		w.ok(w.ClearAlarm(w.ctx, w.admin, b.ID, hub.AlarmTwin))
		if len(w.alarms(b)) != 0 {
			t.Error("the alarm is still there")
		}
		wantErr(t, "clearing it twice", w.ClearAlarm(w.ctx, w.admin, b.ID, hub.AlarmTwin), hub.ErrNotFound)
		w.clock.pass(time.Hour)
		beat(b, b.instance, "b2")
		if a := w.alarms(b)[hub.AlarmTwin]; a.Count != 1 || !a.First.Equal(w.clock.Now()) {
			t.Errorf("raised anew it is %+v", a)
		}

		c := w.gateway(w.site(r, "c"), "three")
		beat(c, instance("somebody else"), "b1")
		if _, ok := w.alarms(c)[hub.AlarmTwin]; !ok {
			t.Error("another installation raised no alarm")
		}
		d := w.gateway(w.site(r, "d"), "four")
		must(w.Report(w.ctx, d.Gateway, api.Reports{Instance: instance("somebody else")}))(t)
		if _, ok := w.alarms(d)[hub.AlarmTwin]; !ok {
			t.Error("a report of another installation raised no alarm")
		}
	})
}

// A hub that was restored from an old backup lifts its numbers above what a
// gateway has seen.
func TestRestoredHub(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		s := w.site(w.reseller("A", plenty), "Market")
		b := w.gateway(s, "one")
		nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
		for range 2 {
			must(w.Heartbeat(w.ctx, w.again(b), api.Heartbeat{Instance: b.instance, Nonce: nonce, Applied: 100}))(t)
		}
		if a := w.alarms(b)[hub.AlarmAhead]; a.Count != 1 {
			t.Errorf("the alarm is %+v", a)
		}
		w.forfait(plan("Day", 500))
		// Another one, which was away, may have applied some more.
		if ps := w.pushes(b, 100); len(ps) != 1 || ps[0].Seq < 1000 {
			t.Errorf("after it the gateway gets %+v", ps)
		}
	})
}

// Gateways that are ahead of a restored database get what is pushed from then
// on, though none of them has told how far it is.
func TestRestored(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
		before := must(w.Hub.Head(w.ctx))(t)
		head := must(w.Restored(w.ctx, w.admin))(t)
		if now := must(w.Hub.Head(w.ctx))(t); head != before+100_000 || now != head {
			t.Errorf("the head went from %d to %d, said was %d", before, now, head)
		}
		w.forfait(plan("Day", 500))
		if ps := w.pushes(b, before+50_000); len(ps) != 1 || ps[0].Seq <= head {
			t.Errorf("a gateway ahead gets %+v", ps)
		}
		// One that is ahead by that much is believed still.
		nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
		must(w.Heartbeat(w.ctx, w.again(b), api.Heartbeat{Instance: b.instance, Nonce: nonce, Applied: before + 50_000}))(t)
		if a := w.alarms(b); len(a) > 0 {
			t.Errorf("alarms: %+v", a)
		}
		noted := 0
		for _, d := range must(w.Deeds(w.ctx, w.admin, "", 100))(t) {
			if d.What == "hub.restored" {
				noted++
			}
		}
		if noted != 1 {
			t.Errorf("the audit log has it %d times", noted)
		}
		_, err := w.Restored(w.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: b.Reseller})
		wantErr(t, "a reseller", err, hub.ErrForbidden)
	})
}

// A gateway whose token was stolen cannot use up the numbers of pushes, nor
// those of the entries of its site: with none left nobody would be answered.
func TestNumbersAreNotUsedUp(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		bad, good := w.gateway(w.site(r, "a"), "bad"), w.gateway(w.site(r, "b"), "good")
		nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
		beat := func(b *box, applied uint64) {
			t.Helper()
			must(w.Heartbeat(w.ctx, w.again(b), api.Heartbeat{Instance: b.instance, Nonce: nonce, Applied: applied}))(t)
		}
		beat(bad, 1<<53)
		if a := w.alarms(bad)[hub.AlarmAhead]; a.Count != 1 {
			t.Errorf("the alarm is %+v", a)
		}
		f := w.forfait(plan("Day", 500))
		beat(good, f.Seq)
		w.ok(w.Acks(w.ctx, good.Gateway, api.Acks{Acks: []api.Ack{{Seq: f.Seq, Outcome: api.Applied}}}))

		e := bad.sale(w, f, 500)
		e.N = 1 << 53
		var input *hub.InputError
		if _, err := w.Report(w.ctx, bad.Gateway, api.Reports{Instance: bad.instance, Entries: []api.Entry{e}, Lost: true}); !errors.As(err, &input) {
			t.Errorf("so many lost entries are answered with %v", err)
		}
		e.N = 1
		must(w.report(bad, e))(t)
	})
}

func TestFleetPages(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.reseller("A", plenty), w.reseller("B", plenty)
		nonce := base64.StdEncoding.EncodeToString(make([]byte, 16))
		var boxes []*box
		for _, name := range []string{"c", "a", "b"} {
			boxes = append(boxes, w.gateway(w.site(a, name), name))
		}
		w.gateway(w.site(b, "z"), "z")
		for _, x := range boxes[:2] { // those at "c" and "a" are heard
			must(w.Heartbeat(w.ctx, x.Gateway, api.Heartbeat{Instance: x.instance, Nonce: nonce}))(t)
		}
		w.ok(w.Flush(w.ctx))
		names := func(by hub.Actor, q hub.FleetQuery) (out string) {
			for _, m := range must(w.Fleet(w.ctx, by, q))(t) {
				out += m.SiteName + m.ResellerName + " "
			}
			return out
		}
		ra := hub.Actor{Role: hub.RoleSeller, Reseller: a.ID}
		first := must(w.Fleet(w.ctx, w.admin, hub.FleetQuery{Max: 2}))(t)
		for _, tt := range []struct {
			by   hub.Actor
			q    hub.FleetQuery
			want string
		}{
			{w.admin, hub.FleetQuery{}, "aA bA cA zB "},
			{w.admin, hub.FleetQuery{Max: 2, After: first[1].ID}, "cA zB "},
			{ra, hub.FleetQuery{}, "aA bA cA "},
			{w.admin, hub.FleetQuery{Reseller: b.ID}, "zB "},
			{w.admin, hub.FleetQuery{Troubled: true}, "bA zB "},
		} {
			if got := names(tt.by, tt.q); got != tt.want {
				t.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
			}
		}
		_, err := w.Fleet(w.ctx, ra, hub.FleetQuery{Reseller: b.ID})
		wantErr(t, "another's fleet", err, hub.ErrForbidden)
		w.ok(w.RevokeGateway(w.ctx, w.admin, boxes[1].ID, ""))
		if got := names(w.admin, hub.FleetQuery{}); got != "bA cA zB " {
			t.Errorf("without the revoked: %q", got)
		}
		if got := names(w.admin, hub.FleetQuery{Revoked: true}); got != "aA bA cA zB " {
			t.Errorf("with the revoked: %q", got)
		}
	})
}

// Of two who revoke a gateway at once, or replace it, the second finds that it
// is done.
func TestRevokedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		b := w.gateway(w.site(w.reseller("A", plenty), "a"), "a")
		w.ok(w.store.Write(w.ctx, func(tx hub.Tx) error { return tx.RevokeGateway(b.ID, "one") }))
		wantErr(t, "revoking it again", w.store.Write(w.ctx, func(tx hub.Tx) error { return tx.RevokeGateway(b.ID, "two") }), hub.ErrNotFound)
	})
}
