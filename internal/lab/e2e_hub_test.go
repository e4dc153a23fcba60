package lab_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/internal/lab"
	"zonegate/internal/lab/postgres"
	"zonegate/sync/api"
)

// zonehub builds the hub's program once.
var zonehub = sync.OnceValues(func() (string, error) {
	if _, err := zonegate(); err != nil { // makes buildDir
		return "", err
	}
	path := filepath.Join(buildDir, "zonehub")
	if out, err := exec.Command("go", "build", "-o", path, "zonegate/cmd/zonehub").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building zonehub: %w\n%s", err, out)
	}
	return path, nil
})

// openCentral builds a zone with a central server.
func openCentral(t *testing.T, opts lab.Options) zone {
	t.Helper()
	program, err := zonehub()
	if err != nil {
		t.Fatal(err)
	}
	opts.Zonehub, opts.Vouchers = program, -1
	z := openZone(t, opts)
	t.Cleanup(func() {
		if log, err := os.ReadFile(z.Info.Logs["hub"]); err == nil && t.Failed() {
			t.Logf("hub's log:\n%s", log)
		}
	})
	return z
}

// ask calls the central server.
func (z zone) ask(method, path, token string, body, into any) {
	z.Helper()
	z.askAt(lab.CentralURL, method, path, token, body, into)
}

// askAt calls a server of the internet.
func (z zone) askAt(base, method, path, token string, body, into any) {
	z.Helper()
	client, err := z.HubClient()
	if err != nil {
		z.Fatal(err)
	}
	sent, err := json.Marshal(body)
	if err != nil {
		z.Fatal(err)
	}
	r, err := http.NewRequestWithContext(z.Context(), method, base+path, bytes.NewReader(sent))
	if err != nil {
		z.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := client.Do(r)
	if err != nil {
		z.Fatal(err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode >= 300 {
		z.Fatalf("%s %s: %s %v: %s", method, path, a.Status, err, got)
	}
	if into != nil {
		if err := json.Unmarshal(got, into); err != nil {
			z.Fatalf("%s %s: %v: %s", method, path, err, got)
		}
	}
}

// summary is what the hub has been told of this month.
func (z zone) summary() (s api.Summary) {
	z.Helper()
	h := z.Info.Hub
	var token api.Token
	z.ask("POST", "/api/v1"+api.PathLogin, "", api.Login{Name: h.Admin, Password: h.Password}, &token)
	z.ask("GET", "/api/v1"+api.PathSummary+"?reseller_id="+h.Reseller+"&month="+time.Now().UTC().Format("2006-01"), token.Token, nil, &s)
	return s
}

// hubStatus is how the gateway sees its hub.
func (z zone) hubStatus() (s struct {
	Joined, Connected bool
	Unsent            uint64
}) {
	z.Helper()
	// It ends with 1 while something is wrong, and prints all the same.
	out, err := z.CommandContext(z.Context(), "gateway", z.program, "--config", z.Info.Config, "hub", "status", "--json").Output()
	if err != nil && len(out) == 0 {
		z.Fatal(err)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		z.Fatalf("%v: %s", err, out)
	}
	return s
}

func (z zone) hub(args ...string) string {
	z.Helper()
	out, err := z.Zonehub(z.Context(), args...)
	if err != nil {
		z.Fatal(err)
	}
	return string(out)
}

// hubCode is a voucher that the hub made, and that has reached the gateway.
func (z zone) hubCodes(n int) (codes []string) {
	z.Helper()
	unused := func() (n int) {
		out, err := z.Zonegate(z.Context(), "voucher", "list", "--json")
		if err != nil {
			z.Fatal(err)
		}
		var list struct {
			Batches []struct {
				Plan   string
				Unused int
			}
		}
		if err := json.Unmarshal(out, &list); err != nil {
			z.Fatal(err)
		}
		for _, b := range list.Batches {
			if b.Plan == z.Info.Hub.Forfait.ID {
				n += b.Unused
			}
		}
		return n
	}
	before := unused()
	made, err := z.HubVouchers(z.Context(), z.Info.Hub.Forfait.ID, n)
	if err != nil {
		z.Fatal(err)
	}
	z.await("the hub's vouchers", time.Minute, func() bool { return unused() == before+n })
	for _, v := range made {
		codes = append(codes, v.Code)
	}
	return codes
}

// within counts what comes in a second.
func within(got func() uint64) uint64 {
	from, begun := got(), time.Now()
	time.Sleep(time.Second) // this is the window of the measurement
	return uint64(float64(got()-from) / time.Since(begun).Seconds())
}

// onEachDatabase runs a test with a hub on SQLite, and with one on PostgreSQL.
func onEachDatabase(t *testing.T, test func(t *testing.T, opts lab.Options)) {
	opts := lab.Options{Central: lab.CentralHub}
	t.Run("SQLite", func(t *testing.T) { test(t, opts) })
	t.Run("PostgreSQL", func(t *testing.T) {
		server, err := postgres.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		})
		opts := opts
		if opts.HubDatabase, err = server.Database(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, opts)
	})
}

// A forfait that is changed in the hub changes the rate of those who have it,
// and their downloads go on.
func TestForfaitOfTheHubReachesARunningSession(t *testing.T) {
	onEachDatabase(t, testForfaitReachesARunningSession)
}

func testForfaitReachesARunningSession(t *testing.T, opts lab.Options) {
	opts.Phones = 1
	z := openCentral(t, opts)
	if a := z.redeem("phone1", z.hubCodes(1)[0]); a.status != http.StatusOK {
		t.Fatalf("redeeming: %d %q", a.status, a.body)
	}
	got4, stop4 := z.stream("phone1", "198.51.100.10:80") // fails the test if it is cut
	defer stop4()
	z.await("the download begins", time.Minute, func() bool { return got4() > 100_000 })
	// 4 Mbit/s are 500,000 octets a second. A busy machine may only be slower.
	const slow = 700_000
	if n := within(got4); n > slow {
		t.Errorf("%d octets a second at 4 Mbit/s", n)
	}
	before := z.sessions()
	id := z.Info.Hub.Forfait.ID
	z.hub("forfait", "set", "--id", id, "--mir-kbps", "40000", "--running")
	z.await("the download gets faster", time.Minute, func() bool { return within(got4) > 2*slow })
	z.hub("forfait", "set", "--id", id, "--mir-kbps", "4000", "--running")
	z.await("the download gets slower", time.Minute, func() bool { return within(got4) < slow })
	if from := got4(); true {
		z.await("the download goes on", time.Minute, func() bool { return got4() > from })
	}
	// For new sales only: who has it keeps what he has.
	z.hub("forfait", "set", "--id", id, "--mir-kbps", "40000")
	z.await("the new version", time.Minute, func() bool {
		out, err := z.Zonegate(t.Context(), "plan", "list", "--json")
		return err == nil && strings.Contains(string(out), "40000000")
	})
	if n := within(got4); n > slow {
		t.Errorf("%d octets a second after a change for new sales", n)
	}
	if after := z.sessions(); len(before) != 1 || len(after) != 1 || after[0]["id"] != before[0]["id"] {
		t.Errorf("the session was another one: %v and %v", before, after)
	}
}

// While the hub is dead, the zone sells and its customers are online; what was
// sold is told once when the hub is back.
func TestZoneSellsWithoutItsHub(t *testing.T) { onEachDatabase(t, testZoneSellsWithoutItsHub) }

func testZoneSellsWithoutItsHub(t *testing.T, opts lab.Options) {
	opts.Phones = 4
	z := openCentral(t, opts)
	codes := z.hubCodes(3)
	redeem := func(phone, code string) {
		t.Helper()
		if a := z.redeem(phone, code); a.status != http.StatusOK {
			t.Fatalf("redeeming at %s: %d %q", phone, a.status, a.body)
		}
	}
	redeem("phone1", codes[0])
	got, stop := z.stream("phone1", "[2001:db8:ffff::10]:80")
	grows := func(what string) {
		t.Helper()
		from := got()
		z.await(what, time.Minute, func() bool { return got() > from })
	}
	z.await("the first sale is told", time.Minute, func() bool { x := z.hubStatus(); return x.Connected && x.Unsent == 0 })
	if s := z.summary(); s.TotalFCFA != 300 || s.SessionsCount != 1 {
		t.Errorf("the hub has been told %+v", s)
	}

	if err := z.KillHub(); err != nil {
		t.Fatal(err)
	}
	grows("a download goes on without the hub")
	redeem("phone2", codes[1])        // a voucher of the hub's
	redeem("phone3", z.code("small")) // and one of the zone's own
	z.await("the hub is missed", time.Minute, func() bool { x := z.hubStatus(); return !x.Connected && x.Unsent > 0 })
	for _, phone := range []string{"phone1", "phone2", "phone3"} {
		if !z.isOnline(phone) {
			t.Errorf("%s is not online without the hub", phone)
		}
	}
	if !z.isOut("phone4") {
		t.Error("a stranger is online without the hub")
	}
	// The gateway loses its power meanwhile, and keeps what it has to tell.
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	if err := z.StartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	redeem("phone4", codes[2])
	grows("a download goes on without hub and daemon")

	if err := z.StartHub(); err != nil {
		t.Fatal(err)
	}
	// A gateway does not call a dead hub all the time.
	z.await("everything is told", 3*time.Minute, func() bool { x := z.hubStatus(); return x.Connected && x.Unsent == 0 })
	if s := z.summary(); s.TotalFCFA != 3*300+100 || s.SessionsCount != 4 {
		t.Errorf("the hub has been told %+v, want 4 sales of 1000 in all", s)
	}
	grows("a download goes on with the hub")
	stop()
}

// A server that has nothing but the documented API gives the zone its plans;
// what it generates is imported, and sold.
func TestPlainRGZServer(t *testing.T) {
	z := openCentral(t, lab.Options{Central: lab.CentralRGZ, Phones: 2})
	type plan struct {
		ID    string
		Price int64
	}
	plans := func() (list struct{ Plans []plan }) {
		out, err := z.Zonegate(t.Context(), "plan", "list", "--json")
		if err == nil {
			err = json.Unmarshal(out, &list)
		}
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	z.await("the catalogue", time.Minute, func() bool { return len(plans().Plans) == 5 })
	first := plans().Plans[0]
	sell := func(phone, forfait string) {
		t.Helper()
		var made json.RawMessage
		z.ask("POST", "/api/v1"+api.PathGenerate, "sandbox-admin", api.Generate{N: 2, ForfaitID: forfait, ResellerID: "r"}, &made)
		file := filepath.Join(t.TempDir(), "vouchers.json")
		if err := os.WriteFile(file, made, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := z.Zonegate(t.Context(), "voucher", "import", file); err != nil {
			t.Fatal(err)
		}
		var v api.Vouchers
		if err := json.Unmarshal(made, &v); err != nil {
			t.Fatal(err)
		}
		if a := z.redeem(phone, v.Items[0].Code); a.status != http.StatusOK {
			t.Fatalf("redeeming: %d %q", a.status, a.body)
		}
		if !z.isOnline(phone) {
			t.Errorf("%s has paid and is not online", phone)
		}
	}
	sell("phone1", first.ID)

	// Half an answer changes nothing, and the gateway starts with what it had.
	const faults, forfaits = "/_control/faults", "/_control/forfaits"
	z.ask("PUT", faults, "", map[string]any{"kind": "half"}, nil)
	if err := z.RestartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.await("a failed reading", time.Minute, func() bool {
		out, _ := z.CommandContext(t.Context(), "gateway", z.program, "--config", z.Info.Config, "hub", "status").Output()
		return bytes.Contains(out, []byte("last error"))
	})
	if n := len(plans().Plans); n != 5 {
		t.Errorf("after half an answer %d plans are on sale, want 5", n)
	}
	if !z.isOnline("phone1") {
		t.Error("after half an answer who has paid is not online")
	}
	// Numbers as strings are numbers; a changed price is one of the next sale.
	z.ask("DELETE", faults, "", nil, nil)
	z.ask("PUT", forfaits, "", []map[string]any{{"id": first.ID, "name": "Changed", "price_fcfa": "700", "duration_hours": 24, "cir_kbps": 512, "mir_kbps": 2048}}, nil)
	if err := z.RestartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.await("the changed catalogue", time.Minute, func() bool {
		p := plans().Plans
		return len(p) == 1 && p[0] == plan{first.ID, 700}
	})
	sell("phone2", first.ID)
	if !z.isOnline("phone1") {
		t.Error("after the change who has paid is not online")
	}
}
