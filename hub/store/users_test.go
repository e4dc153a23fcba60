package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zonegate/hub"
)

func TestSetUp(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		old := must(w.SetUpToken(w.ctx))(t)
		token := must(w.SetUpToken(w.ctx))(t)
		for _, tt := range []struct {
			what, token, name, password string
			want                        error
		}{
			{"a token that was replaced", old, "boss", "long enough pw", hub.ErrUnauthorized},
			{"a wrong token", "x", "boss", "long enough pw", hub.ErrUnauthorized},
			{"no name", token, " ", "long enough pw", new(hub.InputError)},
			{"a name with a blank", token, "the boss", "long enough pw", new(hub.InputError)},
			{"a short password", token, "boss", "short", new(hub.InputError)},
			{"a huge password", token, "boss", strings.Repeat("x", 300), new(hub.InputError)},
		} {
			_, err := w.SetUp(w.ctx, tt.token, tt.name, tt.password)
			wantErr(t, tt.what, err, tt.want)
		}
		u := must(w.SetUp(w.ctx, token, " Boss ", "long enough pw"))(t)
		if u.Role != hub.RoleAdmin || u.Name != "boss" {
			t.Errorf("the first user is %+v", u)
		}
		if _, err := w.SetUp(w.ctx, token, "boss2", "long enough pw"); !errors.Is(err, hub.ErrSetUp) {
			t.Errorf("the token again: %v, want %v", err, hub.ErrSetUp)
		}
		if again := must(w.SetUpToken(w.ctx))(t); again != "" {
			t.Error("there is an admin and still a set-up link")
		}
		if got := must(w.Login(w.ctx, "BOSS", "long enough pw"))(t); got.ID != u.ID {
			t.Error("the admin cannot sign in")
		}
	})
}

func TestSetUpTokenExpires(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		token := must(w.SetUpToken(w.ctx))(t)
		w.clock.pass(25 * time.Hour)
		_, err := w.SetUp(w.ctx, token, "boss", "long enough pw")
		wantErr(t, "an old link", err, hub.ErrExpired)
	})
}

func TestUsers(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.reseller("A", plenty), w.reseller("B", plenty)
		boss := must(w.CreateUser(w.ctx, w.admin, hub.NewUser{Name: "boss", Password: "long enough pw", Role: hub.RoleAdmin}))(t)
		ra := must(w.CreateUser(w.ctx, w.admin, hub.NewUser{Name: "ra", Password: "long enough pw", Role: hub.RoleReseller, Reseller: a.ID}))(t)
		for _, tt := range []struct {
			what string
			by   hub.Actor
			n    hub.NewUser
			want error
		}{
			{"a name twice", w.admin, hub.NewUser{Name: "RA", Password: "long enough pw", Role: hub.RoleReseller, Reseller: a.ID}, hub.ErrExists},
			{"no such reseller", w.admin, hub.NewUser{Name: "x", Password: "long enough pw", Role: hub.RoleSeller, Reseller: "nope"}, hub.ErrNotFound},
			{"an admin of a reseller", w.admin, hub.NewUser{Name: "x", Password: "long enough pw", Role: hub.RoleAdmin, Reseller: a.ID}, new(hub.InputError)},
			{"no role", w.admin, hub.NewUser{Name: "x", Password: "long enough pw", Reseller: a.ID}, new(hub.InputError)},
			{"a reseller makes an admin", ra.Actor(), hub.NewUser{Name: "x", Password: "long enough pw", Role: hub.RoleAdmin}, hub.ErrForbidden},
			{"a reseller makes another's seller", ra.Actor(), hub.NewUser{Name: "x", Password: "long enough pw", Role: hub.RoleSeller, Reseller: b.ID}, hub.ErrForbidden},
			{"a reseller makes a reseller", ra.Actor(), hub.NewUser{Name: "x", Password: "long enough pw", Role: hub.RoleReseller, Reseller: a.ID}, hub.ErrForbidden},
		} {
			_, err := w.CreateUser(w.ctx, tt.by, tt.n)
			wantErr(t, tt.what, err, tt.want)
		}
		seller := must(w.CreateUser(w.ctx, ra.Actor(), hub.NewUser{Name: "kiosk", Password: "long enough pw", Role: hub.RoleSeller, Reseller: a.ID}))(t)
		if _, err := w.CreateUser(w.ctx, seller.Actor(), hub.NewUser{Name: "y", Password: "long enough pw", Role: hub.RoleSeller, Reseller: a.ID}); !errors.Is(err, hub.ErrForbidden) {
			t.Errorf("a seller made a user: %v", err)
		}

		// A change of the password voids tokens; so does shutting out.
		actor := must(w.Actor(w.ctx, seller.ID, seller.Epoch))(t)
		if actor != seller.Actor() {
			t.Errorf("the actor of a token is %+v", actor)
		}
		w.ok(w.SetPassword(w.ctx, ra.Actor(), seller.ID, "another long one"))
		if _, err := w.Actor(w.ctx, seller.ID, seller.Epoch); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("a token of the old password: %v", err)
		}
		_, err := w.Login(w.ctx, "kiosk", "long enough pw")
		wantErr(t, "the old password", err, hub.ErrUnauthorized)
		now := must(w.Login(w.ctx, "kiosk", "another long one"))(t)
		w.ok(w.DisableUser(w.ctx, ra.Actor(), seller.ID, true))
		_, err = w.Login(w.ctx, "kiosk", "another long one")
		wantErr(t, "a user who is shut out", err, hub.ErrUnauthorized)
		_, err = w.Actor(w.ctx, seller.ID, now.Epoch)
		wantErr(t, "his token", err, hub.ErrUnauthorized)
		_, err = w.Login(w.ctx, "nobody", "another long one")
		wantErr(t, "a user who does not exist", err, hub.ErrUnauthorized)
		wantErr(t, "a seller changes the admin", w.SetPassword(w.ctx, seller.Actor(), boss.ID, "another long one"), hub.ErrForbidden)
		wantErr(t, "the last admin", w.DisableUser(w.ctx, w.admin, boss.ID, true), new(hub.InputError))

		if got := must(w.Users(w.ctx, ra.Actor()))(t); len(got) != 2 || got[0].Name != "kiosk" || got[1].Name != "ra" {
			t.Errorf("a reseller sees %+v", got)
		}
		if got := must(w.Users(w.ctx, w.admin))(t); len(got) != 3 {
			t.Errorf("an admin sees %d users, want 3", len(got))
		}
	})
}

func TestDeeds(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		r := w.reseller("A", plenty)
		w.clock.pass(time.Second)
		s := w.site(r, "Market")
		deeds := must(w.Deeds(w.ctx, w.admin, "", 10))(t)
		if len(deeds) != 2 || deeds[0].What != "site.create" || deeds[0].Subject != s.ID || deeds[0].By != "root" || !deeds[0].At.Equal(w.clock.Now()) || deeds[1].What != "reseller.create" {
			t.Errorf("the audit log is %+v", deeds)
		}
		if older := must(w.Deeds(w.ctx, w.admin, deeds[0].ID, 10))(t); len(older) != 1 || older[0] != deeds[1] {
			t.Errorf("the page before is %+v", older)
		}
		_, err := w.Deeds(w.ctx, hub.Actor{Role: hub.RoleReseller, Reseller: r.ID}, "", 10)
		wantErr(t, "a reseller reads the audit log", err, hub.ErrForbidden)

		// What is refused leaves no line and nothing else.
		_, err = w.CreateSite(w.ctx, w.admin, r.ID, "Market", "XOF")
		wantErr(t, "a site twice", err, hub.ErrExists)
		if after := must(w.Deeds(w.ctx, w.admin, "", 10))(t); len(after) != 2 {
			t.Errorf("%d lines after a refusal", len(after))
		}
	})
}

// wantErr compares errors: a *hub.InputError by its type.
func wantErr(tb testing.TB, what string, got, want error) {
	tb.Helper()
	var input *hub.InputError
	if errors.As(want, &input) {
		if !errors.As(got, &input) {
			tb.Errorf("%s: %v, want an input error", what, got)
		}
		return
	}
	if !errors.Is(got, want) || want == nil && got != nil {
		tb.Errorf("%s: %v, want %v", what, got, want)
	}
}
