package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// A mikrotikZone is a zone whose data path is a simulated MikroTik.
type mikrotikZone struct{ zone }

const (
	// megaCap is what the plan mega gives, and granule what may pass above it:
	// the router looks every tenth of a second, on a busy machine less often,
	// at 2 MB a second.
	megaCap = 6e6
	granule = 1e6
	// lookAgain is longer than the daemon takes to look at the router's
	// counters, and comeBack than it takes to find a router again.
	lookAgain = 40 * time.Second
	comeBack  = time.Minute
)

func openMikroTik(t *testing.T, opts lab.Options) mikrotikZone {
	t.Helper()
	opts.MikroTik, opts.Vouchers = true, -1
	opts.Plans = []lab.Plan{
		{ID: "mega", Name: "6 MB", PriceFCFA: 50, DurationHours: 24, DataLimitMB: megaCap / 1e6, MIRKbps: 16000, DevicesMax: 1},
		{ID: "fast", Name: "a fast day", PriceFCFA: 500, DurationHours: 24, CIRKbps: 2000, MIRKbps: 16000, DevicesMax: 1},
		{ID: "minute", Name: "a minute", PriceFCFA: 10, Duration: "1m", MIRKbps: 16000, DevicesMax: 1},
	}
	return mikrotikZone{openZone(t, opts)}
}

// order has the router do something.
func (z mikrotikZone) order(words ...string) string {
	z.Helper()
	out, err := z.Router(z.Context(), words...)
	if err != nil {
		z.Fatal(err)
	}
	return string(out)
}

// list is what a menu of the router holds, that which is not zonegate's left
// out.
func (z mikrotikZone) list(menu string) (mine []map[string]string) {
	z.Helper()
	var list []map[string]string
	if err := json.Unmarshal([]byte(z.order("--json", "print", menu)), &list); err != nil {
		z.Fatal(err)
	}
	for _, item := range list {
		if strings.HasPrefix(item["user"]+item["name"], "zonegate-") {
			mine = append(mine, item)
		}
	}
	return mine
}

// passes reports whether a phone sees the internet.
func (z mikrotikZone) passes(host string) bool {
	z.Helper()
	a := z.curl(host, "--max-time", "3", overIPv4)
	return a.status == 200 && strings.Contains(a.body, "This is the internet")
}

// download fetches at most n octets at a phone and returns how many came; it
// gives up when nothing has come for three seconds.
func (z mikrotikZone) download(host string, n int) (got float64) {
	z.Helper()
	a := z.curl(host, "--max-time", "60", "-Y", "1", "-y", "3", "-o", "/dev/null",
		"-w", "\n%{size_download} -", fmt.Sprintf("%sbytes?n=%d", overIPv4, n))
	return float64(a.status) // the first word of what was written
}

// charged is what the daemon has counted for the only session, in octets.
func (z mikrotikZone) charged() (octets float64) {
	z.Helper()
	for _, s := range z.sessions() {
		octets += s["down_bytes"].(float64) + s["up_bytes"].(float64)
	}
	return octets
}

// hasSession reports whether the daemon lists a session of a phone.
func (z mikrotikZone) hasSession(host string) bool {
	z.Helper()
	for _, s := range z.sessions() {
		if s["device"] == z.Info.Hosts[host].MAC {
			return true
		}
	}
	return false
}

func TestMikroTikLeadsAStrangerToThePortal(t *testing.T) {
	z := openMikroTik(t, lab.Options{Phones: 1})
	a := z.curl("phone1", "http://example.com/some/page?q=1")
	if want := "http://10.77.0.1/login?"; a.status != http.StatusFound || !strings.HasPrefix(a.location, want) {
		t.Fatalf("a stranger's page: %d to %q, want the hotspot's %s", a.status, a.location, want)
	}
	if a := z.curl("phone1", a.location); a.status != 200 || !strings.Contains(a.body, "url="+z.Info.Portal) {
		t.Errorf("the login page: %d %q, want one that leads to %s", a.status, a.body, z.Info.Portal)
	}
	if a := z.curl("phone1", z.Info.Portal); a.status != 200 || !strings.Contains(a.body, "<form") {
		t.Errorf("portal: %d %q", a.status, a.body)
	}
	for _, to := range []string{
		"https://198.51.100.10/", "http://198.51.100.10:5201/", overIPv6, "https://[2001:db8:ffff::10]/",
		"https://192.168.88.1:8729/", "http://192.168.88.2/",
	} {
		if a := z.curl("phone1", to); a.exit != curlRefused && a.status != http.StatusFound || a.took > 2*time.Second {
			t.Errorf("%s: curl ended with %d and %d after %s, want a refusal at once", to, a.exit, a.status, a.took)
		}
	}
	if out := z.order("print", "/user"); strings.Contains(out, "password") {
		t.Errorf("the router's passwords are shown: %s", out)
	}
	// A real browser finds its way by itself. What it writes down is sometimes
	// the moment between two pages, which is empty.
	z.await("a browser shows the portal", time.Minute, func() bool {
		page := z.browse("phone1", "http://example.com/")
		return strings.Contains(page, `<form`) && strings.Contains(page, `name="code"`)
	})
}

// browse opens an address in a real browser at a phone and returns the page
// that it ends with.
func (z mikrotikZone) browse(host, address string) string {
	z.Helper()
	ctx, cancel := context.WithTimeout(z.Context(), time.Minute)
	defer cancel()
	page, err := z.CommandContext(ctx, host, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-dev-shm-usage", "--no-proxy-server", "--user-data-dir="+z.TempDir(), "--virtual-time-budget=10000",
		"--dump-dom", address).Output()
	if err != nil {
		z.Fatalf("running chromium (make testdeps installs it): %v", err)
	}
	return string(page)
}

// A voucher is sold end to end: whoever was answered "online" is, with limits
// that the router has; what passes is counted, and ends at the cap.
func TestMikroTikSellsAVoucher(t *testing.T) {
	z := openMikroTik(t, lab.Options{BrowserPort: 18677})
	if out, err := z.Zonegate(t.Context(), "doctor"); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	code := z.code("mega")
	if a := z.redeem("phone1", code); a.status != 200 {
		t.Fatalf("redeeming: %d %q", a.status, a.body)
	}
	if !z.passes("phone1") || z.passes("phone2") {
		t.Error("not exactly the phone that has paid passes")
	}
	if a := z.curl("phone1", overIPv6); a.exit != curlRefused {
		t.Errorf("IPv6 of a customer: curl ended with %d %q", a.exit, a.body)
	}
	users, active := z.list("/ip/hotspot/user"), z.list("/ip/hotspot/active")
	if len(users) != 1 || users[0]["limit-bytes-total"] != fmt.Sprint(int(megaCap)) || users[0]["limit-uptime"] == "" {
		t.Errorf("the router's users: %v", users)
	}
	if len(active) != 1 || active[0]["address"] != z.Info.Hosts["phone1"].IPv4 {
		t.Errorf("the router's active list: %v", active)
	}
	const first = 2e6
	if got := z.download("phone1", first); got != first {
		t.Fatalf("%.0f octets came, want %.0f", got, first)
	}
	z.await("the download is charged", lookAgain, func() bool { return z.charged() >= first })
	if n := z.charged(); n > first*1.05 {
		t.Errorf("%.0f octets charged for %.0f", n, first)
	}
	if got := first + z.download("phone1", 20e6); got < 0.95*megaCap || got > megaCap+granule {
		t.Errorf("%.0f octets came of a cap of %.0f", got, megaCap)
	}
	if z.passes("phone1") {
		t.Error("phone1 passes after its cap")
	}
	if log := z.order("log"); !strings.Contains(log, "traffic limit reached") {
		t.Errorf("the router's log: %s", log)
	}
	z.await("the session ends", lookAgain, func() bool { return len(z.sessions()) == 0 })
	if a := z.redeem("phone1", code); a.status < 400 || a.status > 499 {
		t.Errorf("a spent code: %d %q", a.status, a.body)
	}
	z.buyInBrowser()
}

// buyInBrowser goes the way of a person who looks at the lab.
func (z mikrotikZone) buyInBrowser() {
	z.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	read := func(resp *http.Response, err error) string {
		z.Helper()
		if err != nil {
			z.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		if err := resp.Write(&b); err != nil {
			z.Fatal(err)
		}
		return b.String()
	}
	if page := read(client.Get(z.Info.Browser + "internet")); !strings.Contains(page, "url=/") {
		z.Errorf("the internet before paying: %s", page)
	}
	if page := read(client.PostForm(z.Info.Browser+"voucher", url.Values{"code": {z.code("fast")}})); !strings.Contains(page, " 200 ") {
		z.Errorf("a code typed in the browser: %s", page)
	}
	if page := read(client.Get(z.Info.Browser + "internet")); !strings.Contains(page, "This is the internet") {
		z.Errorf("the internet after paying: %s", page)
	}
}

// The router loses its power in the middle: the session comes back by itself,
// and the cap holds over both lives.
func TestMikroTikIsStartedAgain(t *testing.T) {
	z := openMikroTik(t, lab.Options{Phones: 1})
	code := z.code("mega")
	if a := z.redeem("phone1", code); a.status != 200 {
		t.Fatalf("redeeming: %d %q", a.status, a.body)
	}
	const part = 1.5e6
	if got := z.download("phone1", part); got != part {
		t.Fatalf("%.0f octets came, want %.0f", got, part)
	}
	z.await("the download is charged", lookAgain, func() bool { return z.charged() >= part })
	before, session := z.charged(), fmt.Sprint(z.sessions()[0]["id"])
	z.order("reboot")
	if z.passes("phone1") {
		t.Error("phone1 passes a router that has forgotten it")
	}
	z.await("phone1 is back", comeBack, func() bool { return z.passes("phone1") })
	if got := z.download("phone1", part); got != part {
		t.Fatalf("%.0f octets came, want %.0f", got, part)
	}
	z.await("the second download is charged", lookAgain, func() bool { return z.charged() >= before+part })
	if n := z.charged(); n > 2*part*1.05 {
		t.Errorf("%.0f octets charged for %.0f", n, 2*part)
	}
	if list := z.sessions(); len(list) != 1 || fmt.Sprint(list[0]["id"]) != session {
		t.Errorf("sessions: %v, want only %s", list, session)
	}
	if users, active := z.list("/ip/hotspot/user"), z.list("/ip/hotspot/active"); len(users) != 1 || len(active) != 1 {
		t.Errorf("the router's users: %v\nactive: %v", users, active)
	}
	if got := 2*part + z.download("phone1", 20e6); got < 0.95*megaCap || got > megaCap+granule {
		t.Errorf("%.0f octets came of a cap of %.0f", got, megaCap)
	}
	z.await("the session ends", lookAgain, func() bool { return len(z.sessions()) == 0 })
	if a := z.redeem("phone1", code); a.status < 400 || a.status > 499 {
		t.Errorf("a spent code: %d %q", a.status, a.body)
	}
	// A longer one.
	z.pay("phone1", "fast")
	z.order("off")
	if z.passes("phone1") {
		t.Error("phone1 passes a router without power")
	}
	z.order("on")
	z.await("phone1 is back again", comeBack, func() bool { return z.passes("phone1") })
}

// The daemon is killed: nobody feels it, and volume and time end all the same.
func TestMikroTikGoesOnWithoutTheDaemon(t *testing.T) {
	z := openMikroTik(t, lab.Options{Phones: 4})
	sold := time.Now()
	z.pay("phone2", "minute")
	z.pay("phone3", "fast")
	z.pay("phone1", "mega")
	got, stop := z.stream("phone3", "198.51.100.10:80")
	grows := func(what string) {
		t.Helper()
		from := got()
		z.await(what, 10*time.Second, func() bool { return got() > from })
	}
	grows("a download begins")
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	grows("the download goes on without the daemon")
	for _, phone := range []string{"phone1", "phone2", "phone3"} {
		if !z.passes(phone) {
			t.Errorf("%s does not pass without the daemon", phone)
		}
	}
	if z.passes("phone4") {
		t.Error("a stranger passes without the daemon")
	}
	if err := z.StartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	grows("the download goes on after the restart")
	if n := len(z.sessions()); n != 3 {
		t.Errorf("%d sessions after the restart, want 3", n)
	}
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	if n := z.download("phone1", 20e6); n < 0.95*megaCap || n > megaCap+granule {
		t.Errorf("%.0f octets came of a cap of %.0f without the daemon", n, megaCap)
	}
	if z.passes("phone1") {
		t.Error("phone1 passes after its cap")
	}
	z.await("the paid minute ends", time.Until(sold.Add(75*time.Second)), func() bool { return !z.passes("phone2") })
	if d := time.Since(sold); d < 55*time.Second {
		t.Errorf("a minute ended after %s", d)
	}
	log := z.order("log")
	if !strings.Contains(log, "traffic limit reached") || !strings.Contains(log, "session timeout") {
		t.Errorf("the router's log: %s", log)
	}
	grows("the download still goes on")
	if err := z.StartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.await("the ends of cap and minute are noticed", lookAgain, func() bool { return !z.hasSession("phone1") && !z.hasSession("phone2") })
	stop()
	if z.passes("phone1") {
		t.Error("phone1 has its cap twice")
	}
	z.pay("phone4", "fast")
	if !z.passes("phone4") || !z.passes("phone3") || z.passes("phone2") {
		t.Error("not exactly those who have paid pass after the restart")
	}
}

// The router's API does not answer: vouchers are still taken, and what was
// bought arrives when it does.
func TestMikroTikIsAway(t *testing.T) {
	z := openMikroTik(t, lab.Options{})
	z.pay("phone1", "fast")
	if a := z.curl("phone2", z.Info.Portal); a.status != 200 { // the portal learns who it is
		t.Fatalf("portal: %d %q", a.status, a.body)
	}
	z.order("api", "off")
	code := z.code("mega")
	a := z.redeem("phone2", code, "-H", "Accept: application/json")
	if a.status != http.StatusAccepted || !strings.Contains(a.body, `"reason":"pending"`) {
		t.Fatalf("a sale without the router: %d %q, want 202 and pending", a.status, a.body)
	}
	if z.passes("phone2") || !z.passes("phone1") {
		t.Error("a router that does not answer let others pass than before")
	}
	if n := len(z.sessions()); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	z.order("api", "on")
	z.await("phone2 is online", comeBack, func() bool { return z.passes("phone2") })
	if a := z.redeem("phone2", code); a.status != 200 {
		t.Errorf("the same code again: %d %q", a.status, a.body)
	}
	if users := z.list("/ip/hotspot/user"); len(users) != 2 {
		t.Errorf("the router's users: %v", users)
	}
	if log, err := os.ReadFile(z.Info.Logs["gateway"]); err != nil || !strings.Contains(string(log), "cannot be reached") {
		t.Errorf("the daemon's log does not tell (%v):\n%s", err, log)
	}
}
