package central

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonegate/sync/api"
)

var epoch = time.Unix(30, 0).UTC()

// A router boots in 1970. It reaches the hub, and has the time.
func TestClockOf1970(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.stopGate()
	z.clock = newClock(epoch, false)
	z.clock.boot = "second"
	z.startGate()
	z.sold(1)
	z.open()
	z.run()
	h.has(z)
	eventually(t, "the time is trusted", func() bool { return z.clock.Now().Trusted })
	if now := z.clock.Now().Wall; now.Before(day) || now.After(day.Add(time.Minute)) {
		t.Errorf("the time is %v", now)
	}
	h.is(func() bool {
		if h.beats[0].ClockTrusted {
			t.Error("the first heartbeat said that the clock is right")
		}
		return true
	})
	// What was accepted without a clock is made anew with one.
	z.connected()
	h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
	if z.central.line.client.verify.lenient.Load() {
		t.Error("connections from before the time are still used")
	}
}

// What is wrong with a certificate, with and without a clock.
func TestCertificates(t *testing.T) {
	names := []string{"hub.test"}
	for name, c := range map[string]struct {
		from, to time.Time
		names    []string
		trusted  bool
		wall     time.Time
		seen     time.Time
		otherCA  bool
		noCA     bool
		want     string // "" is accepted
	}{
		"good":                                   {from: day.AddDate(0, -1, 0), to: day.AddDate(0, 1, 0), trusted: true, wall: day},
		"expired":                                {from: day.AddDate(0, -2, 0), to: day.AddDate(0, -1, 0), trusted: true, wall: day, want: "out of date"},
		"not valid yet":                          {from: day.AddDate(0, 0, 1), to: day.AddDate(0, 1, 0), trusted: true, wall: day, want: "out of date"},
		"not valid yet by a clock a little slow": {from: day.Add(30 * time.Minute), to: day.AddDate(0, 1, 0), trusted: true, wall: day},
		"1970":                                   {from: day, to: day.AddDate(0, 1, 0), wall: epoch},
		"a clock that is far ahead":              {from: day, to: day.AddDate(0, 1, 0), wall: day.AddDate(12, 0, 0)},
		"1970, expired before the program was":   {from: notBefore.AddDate(-1, 0, 0), to: notBefore.AddDate(0, 0, -1), wall: epoch, want: "out of date"},
		"1970, expired before the hub was heard": {from: day, to: day.AddDate(0, 0, 1), wall: epoch, seen: day.AddDate(0, 0, 2), want: "out of date"},
		"1970, another authority":                {from: day, to: day.AddDate(0, 1, 0), wall: epoch, otherCA: true, want: "not from the authority"},
		"1970, another name":                     {from: day, to: day.AddDate(0, 1, 0), wall: epoch, names: []string{"other.test"}, want: "another name"},
		"another authority":                      {from: day, to: day.AddDate(0, 1, 0), wall: day, trusted: true, otherCA: true, want: "not from the authority"},
		"an authority of the system":             {from: day, to: day.AddDate(0, 1, 0), wall: day, trusted: true, noCA: true, want: "does not know"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHubAt(t, c.from, c.to)
			at := h.endpoint()
			if c.otherCA {
				if err := os.WriteFile(at.CA, newAuthority(t).pem, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.noCA {
				at.CA = ""
			}
			if c.names == nil {
				c.names = names
			}
			v := &verifier{host: c.names[0], clock: newClock(c.wall, c.trusted)}
			v.seen.Store(c.seen.Unix())
			client, err := newClient(at, "", v.clock, c.seen, quick)
			if err != nil {
				t.Fatal(err)
			}
			// The name that the transport would ask for.
			config := client.verify.config()
			config.ServerName = c.names[0]
			conn, err := tls.Dial("tcp", h.server.Listener.Addr().String(), config)
			if err == nil {
				conn.Close()
			} else {
				err = client.verify.explain(err)
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error is %v, want it to say %q", err, c.want)
			}
			if strings.Contains(name, "name") {
				return
			}
			// The same by address, where no name is sent.
			err = client.call(t.Context(), "POST", api.PathEnrol, api.Enrol{Code: "wrong"}, nil)
			if denied := isDenied(err); denied != (c.want == "") {
				t.Errorf("by address: %v", err)
			}
		})
	}
}

// By address the address of the URL must stand in the certificate.
func TestAddressThatIsNotInTheCertificate(t *testing.T) {
	h := newFakeHub(t)
	v := &verifier{host: "127.0.0.2", clock: newClock(day, true)}
	roots, err := readRoots(h.ca.pem)
	if err != nil {
		t.Fatal(err)
	}
	v.roots = roots
	_, err = tls.Dial("tcp", h.server.Listener.Addr().String(), v.config())
	if err == nil || !strings.Contains(v.explain(err).Error(), "another name") {
		t.Fatalf("error is %v", err)
	}
}

// The hub's certificate runs out while the gateway runs: it says so, and goes
// on when there is a new one.
func TestCertificateRunsOut(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	z.sold(1)
	h.has(z)
	later := day.AddDate(1, 0, 0)
	z.clock.set(func(c *handClock) { c.wall = later })
	h.server.CloseClientConnections()
	eventually(t, "the status says it", func() bool { return strings.Contains(z.central.Status().LastError, "out of date") })
	z.sold(1)
	h.certify(h.ca.issue(t, later.AddDate(0, 0, -1), later.AddDate(0, 1, 0), "hub.test"))
	h.has(z)
	h.dense()
}

// A slow answer does not tell the time; an answer for another nonce neither.
func TestTimeOfASlowAnswer(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.pace.slow = 0
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.clock.set(func(c *handClock) { c.trusted = false })
	z.run()
	z.connected()
	eventually(t, "several heartbeats", func() bool { return h.beatCount() > 5 })
	if z.clock.Now().Trusted {
		t.Error("a slow answer was believed")
	}
}

// A gateway's clock that is wrong although it is trusted is reported, and the
// hub does not overrule it.
func TestClockThatDiffers(t *testing.T) {
	h := newFakeHub(t)
	h.now = func() time.Time { return day.Add(200 * time.Minute) }
	z := joined(t, h)
	if f := z.found("clock"); !strings.Contains(f.Detail, "3h") {
		t.Errorf("finding: %+v", f)
	}
	eventually(t, "the hub is told", func() bool {
		return h.is(func() bool {
			last := h.beats[len(h.beats)-1]
			return len(last.Health) == 1 && last.Health[0].Subject == "clock"
		})
	})
	if now := z.clock.Now().Wall; now.After(day.Add(time.Hour)) {
		t.Errorf("the time went to %v", now)
	}
	z.clock.set(func(c *handClock) { c.wall = c.wall.Add(200 * time.Minute) })
	eventually(t, "the finding is gone", func() bool { return len(z.central.Status().Findings) == 0 })
}

func TestSettingsOfTheEndpoint(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range []Endpoint{
		{URL: ""}, {URL: "hub.example.org"}, {URL: "ftp://hub.example.org/"}, {URL: "https:///api/v1"},
		{URL: "http://hub.example.org/api/v1"}, {URL: "http://10.0.0.1/api/v1"}, {URL: "https://user:pw@hub.example.org/"},
		{URL: "https://hub.example.org/api/v1?x=1"}, {URL: "https://hub.example.org/", CA: filepath.Join(dir, "none.pem")},
		{URL: "https://hub.example.org/", CA: empty},
	} {
		if _, err := newClient(e, "t", newClock(day, true), time.Time{}, quick); err == nil {
			t.Errorf("%+v was accepted", e)
		}
	}
	for _, e := range []Endpoint{{URL: "https://hub.example.org/api/v1"}, {URL: "https://[2001:db8::1]:8443/"}, {URL: "http://127.0.0.1:8080/api/v1"}} {
		if _, err := newClient(e, "t", newClock(day, true), time.Time{}, quick); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	// One that is mended while the gateway runs is used then.
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(z.opts.CA); err != nil {
		t.Fatal(err)
	}
	z.run()
	z.found("hub")
	if err := os.WriteFile(z.opts.CA, h.ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	z.connected()
}
