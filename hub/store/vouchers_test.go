package store_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
	"zonegate/sync/api"
)

func TestGenerate(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		s := w.site(r, "Market")
		b := w.gateway(s, "one")
		f := w.forfait(plan("Day", 500))
		ra := hub.Actor{Name: "ra", Role: hub.RoleReseller, Reseller: r.ID}
		until := w.clock.Now().Add(30 * 24 * time.Hour)
		batch, codes := must2(w.Generate(w.ctx, ra, hub.Generate{N: 2345, Forfait: f.Plan.ID, Reseller: r.ID, Expires: until, Batch: "feb"}))(t)
		if batch.ID != "feb" || batch.Site != s.ID || batch.Total != 2345 || batch.By != "ra" || batch.Version != 1 {
			t.Errorf("the batch is %+v; the only site is its site", batch)
		}
		seen := map[string]bool{}
		keys := map[string]bool{}
		for _, c := range codes {
			if !zonegate.WellFormedCode(c) || seen[c] {
				t.Fatalf("the code %q is none, or twice", c)
			}
			seen[c] = true
			keys[codeKey(t, b, c)] = true
		}
		ps := w.pushes(b, f.Seq)
		if len(ps) != 3 || len(codes) != 2345 {
			t.Fatalf("%d codes in %d pushes, want 2345 in 3", len(codes), len(ps))
		}
		for _, p := range ps {
			var x api.BatchIssued
			w.ok(json.Unmarshal(p.Body, &x))
			if x.Batch != "feb" || x.Plan.ID != f.Plan.ID || !x.Expires.Equal(until) || len(x.Keys) > api.MaxKeys {
				t.Errorf("pushed as %+v", x)
			}
			for _, k := range x.Keys {
				delete(keys, hexOf(k))
			}
		}
		if len(keys) != 0 {
			t.Errorf("%d codes were not pushed", len(keys))
		}

		port := w.site(r, "Port")
		w.forfait(f.Plan) // no change
		gone := must(w.WithdrawForfait(w.ctx, w.admin, w.forfait(plan("Gone", 100)).Plan.ID))(t)
		foreign, _, err := w.SetForfait(w.ctx, w.admin, hub.ForfaitChange{Plan: plan("B's", 100), Reseller: w.reseller("B", plenty).ID})
		w.ok(err)
		euro := must(w.CreateSite(w.ctx, w.admin, r.ID, "Hotel", "EUR"))(t)
		for _, tt := range []struct {
			what string
			by   hub.Actor
			q    hub.Generate
			want error
		}{
			{"none", ra, hub.Generate{Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID}, new(hub.InputError)},
			{"too many", ra, hub.Generate{N: 10_001, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID}, new(hub.InputError)},
			{"out of date", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID, Expires: w.clock.Now()}, new(hub.InputError)},
			{"a bad name", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID, Batch: "a b"}, new(hub.InputError)},
			{"a name twice", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID, Batch: "feb"}, hub.ErrExists},
			{"no forfait", ra, hub.Generate{N: 1, Forfait: "x", Reseller: r.ID, Site: s.ID}, hub.ErrNotFound},
			{"a withdrawn one", ra, hub.Generate{N: 1, Forfait: gone.Plan.ID, Reseller: r.ID, Site: s.ID}, new(hub.InputError)},
			{"another's forfait", ra, hub.Generate{N: 1, Forfait: foreign.Plan.ID, Reseller: r.ID, Site: s.ID}, hub.ErrNotFound},
			{"another currency", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: euro.ID}, new(hub.InputError)},
			{"roaming in two currencies", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID}, new(hub.InputError)},
			{"no such site", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: "x"}, hub.ErrNotFound},
			{"another reseller", ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: foreign.Reseller}, hub.ErrForbidden},
			{"a seller", hub.Actor{Role: hub.RoleSeller, Reseller: r.ID}, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: s.ID}, hub.ErrForbidden},
			{"a reseller without a site", w.admin, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: foreign.Reseller}, new(hub.InputError)},
		} {
			_, _, err := w.Generate(w.ctx, tt.by, tt.q)
			wantErr(t, tt.what, err, tt.want)
		}
		auto, _ := must2(w.Generate(w.ctx, ra, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Site: port.ID}))(t)
		if !strings.HasPrefix(auto.ID, "2602-") {
			t.Errorf("a batch without a name is called %q", auto.ID)
		}
		if bs := must(w.Batches(w.ctx, ra, "", 10))(t); len(bs) != 2 {
			t.Errorf("batches: %+v", bs)
		}
	})
}

// Nothing in the database shows a code that was not sold, a key of a site or a
// token.
func TestLeakedDatabase(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		s := w.site(r, "Market")
		code := must(w.NewEnrolment(w.ctx, w.admin, s.ID, time.Hour))(t)
		b := &box{instance: instance("x")}
		b.Enrolled = must(w.Enrol(w.ctx, api.Enrol{Code: code.Code, Instance: b.instance}))(t)
		f := w.forfait(plan("Day", 500))
		_, codes := must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 20, Forfait: f.Plan.ID, Reseller: r.ID}))(t)
		setUp := must(w.SetUpToken(w.ctx))(t)
		_, claim := must2(w.IssueGrant(w.ctx, w.admin, hub.IssueGrant{Site: s.ID, Forfait: f.Plan.ID, Ref: "p1"}))(t)
		secrets := append(codes, code.Code, b.Token, setUp, claim, b.Enrolled.CodeKey)
		for _, c := range codes {
			secrets = append(secrets, zonegate.NormalizeCode(c))
		}
		key, _ := base64.StdEncoding.DecodeString(b.Enrolled.CodeKey)
		secrets = append(secrets, hexOf(key), string(key))
		leak := w.dump()
		for _, secret := range secrets {
			if bytes.Contains(leak, []byte(secret)) {
				t.Errorf("the database holds %q", secret)
			}
		}
		if !bytes.Contains(leak, []byte("Market")) {
			t.Error("the dump shows nothing at all")
		}
	})
}

// dump is everything that the database holds.
func (w *world) dump() []byte {
	w.Helper()
	if !strings.HasPrefix(w.database, "postgres") {
		var all []byte
		for _, name := range []string{w.database, w.database + "-wal"} {
			b, err := os.ReadFile(name)
			w.ok(err)
			all = append(all, b...)
		}
		return all
	}
	db, err := sql.Open("pgx", w.database)
	w.ok(err)
	defer db.Close()
	rows, err := db.QueryContext(w.ctx, "SELECT query_to_xml('SELECT * FROM ' || quote_ident(table_name), true, true, '')::text FROM information_schema.tables WHERE table_schema = current_schema()")
	w.ok(err)
	defer rows.Close()
	var all []byte
	for rows.Next() {
		var s string
		w.ok(rows.Scan(&s))
		all = append(all, s...)
	}
	w.ok(rows.Err())
	return all
}

func TestRevokeBatch(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		b := w.gateway(w.site(r, "Market"), "one")
		f := w.forfait(plan("Day", 500))
		batch, _ := must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 2, Forfait: f.Plan.ID, Reseller: r.ID}))(t)
		wantErr(t, "another reseller", w.RevokeBatch(w.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: "x"}, batch.ID, ""), hub.ErrForbidden)
		wantErr(t, "no such batch", w.RevokeBatch(w.ctx, w.admin, "x", ""), hub.ErrNotFound)
		for range 2 {
			w.ok(w.RevokeBatch(w.ctx, w.admin, batch.ID, "stolen"))
		}
		if got := kinds(w.pushes(b, 0)); got != "plan.set batch.issued batch.revoked" {
			t.Errorf("the gateway is told %q", got)
		}
		if bs := must(w.Batches(w.ctx, w.admin, "", 10))(t); !bs[0].Revoked {
			t.Error("the batch is not revoked")
		}
	})
}

func TestClaim(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r, other := w.reseller("A", plenty), w.reseller("B", plenty)
		a, b := w.gateway(w.site(r, "a"), "a"), w.gateway(w.site(r, "b"), "b")
		foreign := w.gateway(w.site(other, "c"), "c")
		f := w.forfait(plan("Day", 500))
		batch, codes := must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 3, Forfait: f.Plan.ID, Reseller: r.ID, Expires: w.clock.Now().Add(time.Hour)}))(t)
		if batch.Site != "" {
			t.Fatal("with two sites a batch roams")
		}
		head := must(w.Head(w.ctx))(t)
		phone, second := "02:00:00:00:00:0A", "02:00:00:00:00:0b"
		first := must(w.Claim(w.ctx, a.Gateway, api.Claim{Code: strings.ToLower(codes[0]), Device: phone}))(t)
		p := must(first.Open(w.keys.Push.Public().(ed25519.PublicKey), a.Site))(t)
		var g api.GrantIssued
		w.ok(json.Unmarshal(p.Body, &g))
		if p.Seq != 0 || p.Kind != api.KindGrant || g.Device != "02:00:00:00:00:0a" || g.Plan.ID != f.Plan.ID || g.Plan.Version != 1 {
			t.Errorf("the claim gives %+v %+v", p, g)
		}
		if _, err := first.Open(w.keys.Push.Public().(ed25519.PublicKey), b.Site); err == nil {
			t.Error("the grant is good at another site")
		}
		w.clock.pass(time.Minute)
		if again := must(w.Claim(w.ctx, a.Gateway, api.Claim{Code: codes[0], Device: phone}))(t); !bytes.Equal(again.Payload, first.Payload) || !bytes.Equal(again.Signature, first.Signature) {
			t.Error("the same claim gives another answer")
		}
		for _, tt := range []struct {
			what string
			g    *box
			c    api.Claim
			want error
		}{
			{"another device", a, api.Claim{Code: codes[0], Device: second}, hub.ErrUsed},
			{"another site", b, api.Claim{Code: codes[0], Device: phone}, hub.ErrUsed},
			{"another reseller", foreign, api.Claim{Code: codes[1], Device: phone}, hub.ErrNotFound},
			{"a wrong code", a, api.Claim{Code: "0000-0000", Device: phone}, hub.ErrNotFound},
			{"no code", a, api.Claim{Device: phone}, hub.ErrNotFound},
			{"a huge code", a, api.Claim{Code: strings.Repeat("0", 1000), Device: phone}, hub.ErrNotFound},
			{"no device", a, api.Claim{Code: codes[1]}, new(hub.InputError)},
		} {
			_, err := w.Claim(w.ctx, tt.g.Gateway, tt.c)
			wantErr(t, tt.what, err, tt.want)
		}
		// The sale is of cash that the reseller has.
		sale := a.sale(w, f, 500)
		sale.Source, sale.Ref = "hub", g.Grant
		must(w.report(a, sale))(t)
		if s := must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02"}))(t); len(s) != 1 || s[0].Custody != hub.CustodyReseller {
			t.Errorf("sales: %+v", s)
		}
		w.clock.pass(2 * time.Hour)
		_, err := w.Claim(w.ctx, a.Gateway, api.Claim{Code: codes[1], Device: phone})
		wantErr(t, "out of date", err, hub.ErrExpired)
		w.ok(w.RevokeBatch(w.ctx, w.admin, batch.ID, ""))
		_, err = w.Claim(w.ctx, a.Gateway, api.Claim{Code: codes[1], Device: phone})
		wantErr(t, "revoked", err, hub.ErrRevoked)
		must(w.Claim(w.ctx, a.Gateway, api.Claim{Code: codes[0], Device: phone}))(t) // claimed before
		if now := must(w.Head(w.ctx))(t); now != head {
			t.Error("a claim made pushes")
		}
	})
}

// Many claim one code at the same moment: one gets it.
func TestClaimRace(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		boxes := []*box{w.gateway(w.site(r, "a"), "a"), w.gateway(w.site(r, "b"), "b")}
		f := w.forfait(plan("Day", 500))
		_, codes := must2(w.Generate(w.ctx, w.admin, hub.Generate{N: 10, Forfait: f.Plan.ID, Reseller: r.ID}))(t)
		worlds := []*world{w, w.other()}
		for _, code := range codes {
			errs := make([]error, 6)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					_, errs[i] = worlds[i%2].Claim(w.ctx, boxes[i%2].Gateway, api.Claim{Code: code, Device: fmt.Sprintf("02:00:00:00:00:%02x", i)})
				})
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, hub.ErrUsed) {
					t.Error("refused with", err)
				}
			}
			if won != 1 {
				t.Errorf("%d claims of one code won", won)
			}
		}
	})
}

func TestGrants(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		s := w.site(r, "Market")
		b := w.gateway(s, "one")
		f := w.forfait(plan("Day", 500))
		ask := hub.IssueGrant{Site: s.ID, Forfait: f.Plan.ID, Ref: "payment-1", Expires: w.clock.Now().Add(time.Hour)}
		g, code := must2(w.IssueGrant(w.ctx, w.admin, ask))(t)
		again, none := must2(w.IssueGrant(w.ctx, w.admin, ask))(t)
		if again != g || none != "" || code == "" {
			t.Errorf("the same again is %+v %q, want %+v", again, none, g)
		}
		for _, tt := range []struct {
			what   string
			change func(*hub.IssueGrant)
			want   error
		}{
			{"the ref for another device", func(q *hub.IssueGrant) { q.Device = "02:00:00:00:00:01" }, hub.ErrExists},
			{"no ref", func(q *hub.IssueGrant) { q.Ref = "" }, new(hub.InputError)},
			{"no device", func(q *hub.IssueGrant) { q.Ref, q.Device = "x", "phone" }, new(hub.InputError)},
			{"out of date", func(q *hub.IssueGrant) { q.Ref, q.Expires = "x", w.clock.Now() }, new(hub.InputError)},
			{"no such site", func(q *hub.IssueGrant) { q.Ref, q.Site = "x", "x" }, hub.ErrNotFound},
			{"no such forfait", func(q *hub.IssueGrant) { q.Ref, q.Forfait = "x", "x" }, hub.ErrNotFound},
		} {
			q := ask
			tt.change(&q)
			_, _, err := w.IssueGrant(w.ctx, w.admin, q)
			wantErr(t, tt.what, err, tt.want)
		}
		// Its sale is money of the platform's: no reseller makes one for himself.
		for _, role := range []hub.Role{hub.RoleReseller, hub.RoleSeller} {
			q := ask
			q.Ref = "his own"
			_, _, err := w.IssueGrant(w.ctx, hub.Actor{Name: "ra", Role: role, Reseller: r.ID}, q)
			wantErr(t, "a grant by a "+string(role), err, hub.ErrForbidden)
		}
		ps := w.pushes(b, f.Seq)
		if kinds(ps) != api.KindGrant {
			t.Fatalf("pushed %q, want the grant once", kinds(ps))
		}
		var x api.GrantIssued
		w.ok(json.Unmarshal(ps[0].Body, &x))
		if x.Grant != g.ID || x.Device != "" || hexOf(x.Key) != codeKey(t, b, code) || !x.Expires.Equal(ask.Expires) {
			t.Errorf("pushed as %+v", x)
		}
		e := b.sale(w, f, 500)
		e.Source, e.Ref = "hub", g.ID
		must(w.report(b, e))(t)
		if s := must(w.Sales(w.ctx, w.admin, hub.SaleQuery{Month: "2026-02"}))(t); s[0].Custody != hub.CustodyPlatform {
			t.Errorf("a purchase is in the custody of %s", s[0].Custody)
		}
		for range 2 {
			w.ok(w.RevokeGrant(w.ctx, w.admin, g.ID, "refunded"))
		}
		wantErr(t, "no such grant", w.RevokeGrant(w.ctx, w.admin, "x", ""), hub.ErrNotFound)
		if got := kinds(w.pushes(b, f.Seq)); got != "grant.issued grant.revoked" {
			t.Errorf("pushed %q", got)
		}
	})
}

// A database that belongs to another key file is told apart, not misread.
func TestWrongKeys(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		w.site(r, "Market")
		f := w.forfait(plan("Day", 500))
		keys, err := hub.NewKeys()
		w.ok(err)
		wrong := hub.New(hub.Options{Store: w.store, Keys: keys, Hasher: plainHasher{}, Now: w.clock.Now})
		_, _, err = wrong.Generate(context.Background(), w.admin, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID})
		if err == nil || !strings.Contains(err.Error(), "key file does not belong to this database") {
			t.Errorf("with another key file: %v", err)
		}
	})
}

// Gateways do not take codes that end beyond the year 2200, so none are made.
func TestExpiresFarAway(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "hub.db"))
	r := w.reseller("A", plenty)
	s := w.site(r, "a")
	f := w.forfait(plan("Day", 500))
	never := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	var input *hub.InputError
	if _, _, err := w.Generate(w.ctx, w.admin, hub.Generate{N: 1, Forfait: f.Plan.ID, Reseller: r.ID, Expires: never}); !errors.As(err, &input) {
		t.Errorf("codes until 9999: %v", err)
	}
	if _, _, err := w.IssueGrant(w.ctx, w.admin, hub.IssueGrant{Site: s.ID, Forfait: f.Plan.ID, Ref: "x", Expires: never}); !errors.As(err, &input) {
		t.Errorf("a grant until 9999: %v", err)
	}
}
