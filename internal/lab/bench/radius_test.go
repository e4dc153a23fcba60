package bench

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"zonegate/internal/lab/fakenas"
	"zonegate/internal/lab/freeradius"
)

// Both servers under a short load: logins and accounting are answered well, and
// what is measured is more than nothing.
func TestRadiusSides(t *testing.T) {
	b := &bench{opts: Options{Progress: io.Discard}}
	c := zoneConfig{Dir: filepath.Join(t.TempDir(), "data"), Guests: 200, Strict: true, Commit: time.Millisecond}
	err := b.withZone(t.Context(), c, true, func(z *zone, guests []*guest) error {
		free, err := freeradius.Start(t.Context(), freeradius.Config{Secret: radiusSecret, Users: freeUsers(guests)})
		if err != nil {
			return err
		}
		defer free.Close()
		for _, s := range []*side{
			{name: "logins at FreeRADIUS", pid: free.PID(), server: free.Auth, script: &logins{newGuestScript(guests)}},
			{name: "logins at zonegate", pid: z.pid(), server: z.Auth, script: &logins{newGuestScript(guests)}},
			{name: "accounting at FreeRADIUS", pid: free.PID(), server: free.Acct, script: &accounts{guestScript: newGuestScript(guests)}},
			{name: "accounting at zonegate", pid: z.pid(), server: z.Acct, script: &accounts{guestScript: newGuestScript(guests)}},
		} {
			sockets, err := fakenas.Open(s.server, outstanding)
			if err != nil {
				return err
			}
			defer sockets.Close()
			if err := b.round(t.Context(), s, fakenas.Load{From: sockets, Wait: 10 * time.Second, Tries: 3, Warm: 100 * time.Millisecond, For: 300 * time.Millisecond}); err != nil {
				return err
			}
			if s.rates[0] <= 0 || s.p99[0] < s.p50[0] || s.p50[0] <= 0 {
				t.Errorf("%s: %+v", s.name, s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// While the disk stands still nothing of a flood is answered, and afterwards
// everybody is.
func TestRadiusFlood(t *testing.T) {
	b := &bench{opts: Options{Progress: io.Discard}}
	err := b.withZone(t.Context(), zoneConfig{Dir: filepath.Join(t.TempDir(), "data"), Guests: 100}, true, func(z *zone, guests []*guest) error {
		if err := z.command("stall"); err != nil {
			return err
		}
		f, err := newFlood(z)
		if err != nil {
			return err
		}
		defer f.close()
		if err := f.run(t.Context(), guests, 2000, 100*time.Millisecond); err != nil {
			return err
		}
		if n := f.answers(); n > 0 {
			t.Errorf("%d answers while the disk stood still", n)
		}
		if err := z.command("resume"); err != nil {
			return err
		}
		if err := z.each(t.Context(), z.Auth, len(guests), time.Second, &logins{newGuestScript(guests)}); err != nil {
			return err
		}
		for deadline := time.Now().Add(20 * time.Second); f.answers() == 0; {
			if time.Now().After(deadline) {
				t.Error("nothing of the flood was answered at all")
				break
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWants(t *testing.T) {
	groups := map[string][]string{
		radiusGroup: {"radius-auth", "radius-accounting", "radius-slow", "radius-flood", "radius-flash"},
		hubGroup:    {"hub-streams", "hub-reports", "hub-idle", "hub-week"},
		moneyGroup:  {"money-portal", "money-page", "money-rate"},
	}
	all := Options{}
	for _, r := range rows {
		grouped := false
		for group, names := range groups {
			in := slices.Contains(names, r.name)
			grouped = grouped || in
			if o := (Options{Only: []string{group, "cap"}}); o.wants(r) != (in || r.name == "cap") {
				t.Errorf("%s with %s: %v", r.name, group, o.wants(r))
			}
		}
		one := Options{Only: []string{"radius-auth"}}
		if all.wants(r) == grouped || one.wants(r) != (r.name == "radius-auth") {
			t.Errorf("%s: %v without a choice, %v with another", r.name, all.wants(r), one.wants(r))
		}
	}
}

func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("working costs nothing")
		}
	}
}

func TestJournalEnd(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.seg": "abc", "b.seg": "de\x00f\x00\x00", "other": "long"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := journalEnd(dir); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
