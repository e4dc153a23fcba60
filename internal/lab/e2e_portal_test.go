package lab_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// curlRefused is curl's exit code when a connection is refused.
const curlRefused = 7

func TestStrangerFindsThePortalAndNothingElse(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	for _, to := range []string{"http://example.com/", overIPv4, "http://any.name.example/deep/path?q=1"} {
		a := z.curl("phone1", "-4", to)
		if a.status != http.StatusFound || !strings.HasPrefix(a.location, lab.PortalURL) {
			t.Errorf("%s: got %d to %q, want 302 to %s", to, a.status, a.location, lab.PortalURL)
		}
		if strings.TrimSpace(a.body) == "" {
			t.Errorf("%s: an empty body looks like the internet to Android", to)
		}
	}
	if a := z.curl("phone1", overIPv6); strings.Contains(a.body, "internet") || a.took > 5*time.Second {
		t.Errorf("IPv6: got %d %q after %s, want a redirect or a refusal at once", a.status, a.body, a.took)
	}
	if a := z.curl("phone1", lab.PortalURL); a.status != http.StatusOK || !strings.Contains(a.body, "<form") {
		t.Errorf("portal: got %d %q, want a page with a form", a.status, a.body)
	}
	for _, to := range []string{"https://198.51.100.10/", "https://[2001:db8:ffff::10]/", "http://198.51.100.10:5201/"} {
		if a := z.curl("phone1", to); a.exit != curlRefused || a.took > 2*time.Second {
			t.Errorf("%s: curl ended with %d after %s, want %d at once", to, a.exit, a.took, curlRefused)
		}
	}
	for _, addr := range []string{"198.51.100.10:443", "[2001:db8:ffff::10]:443"} {
		conn, err := z.Dial(t.Context(), "phone1", "udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := conn.Write([]byte("quic")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("UDP to %s: got %v, want a refusal so that a browser falls back", addr, err)
		}
		conn.Close()
	}
	for _, to := range []string{"198.51.100.10", "2001:db8:ffff::10"} {
		if code := exitCode(t, z.Command("phone1", "ping", "-c", "1", "-W", "1", to)); code == 0 {
			t.Errorf("ping %s came back", to)
		}
	}
}

func TestStrangerResolvesNamesAndReachesTheGarden(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	if got := output(t, z.Lab, "phone1", "getent", "ahostsv4", "example.com"); !strings.HasPrefix(got, "198.51.100.10 ") {
		t.Errorf("example.com: got %q, want the true address", got)
	}
	if a := z.curl("phone1", "-4", "http://garden.example/"); !strings.Contains(a.body, "This is the garden") {
		t.Errorf("garden over IPv4: got %d %q", a.status, a.body)
	}
	if a := z.curl("phone1", "-6", "http://garden.example/"); !strings.Contains(a.body, "This is the garden") {
		t.Errorf("garden over IPv6: got %d %q", a.status, a.body)
	}
	if !z.isOut("phone1") {
		t.Error("the garden opened the internet")
	}
}

func TestVoucherOpensTheInternet(t *testing.T) {
	z := openZone(t, lab.Options{})
	code := z.Info.Vouchers[0].Code
	if len(z.Info.Vouchers) != 6*len(z.Info.Plans) {
		t.Errorf("%d vouchers, want 6 of each of %d plans", len(z.Info.Vouchers), len(z.Info.Plans))
	}
	a := z.redeem("phone1", code)
	if a.status != http.StatusOK || strings.Count(a.body, "\n") != 1 {
		t.Errorf("redeeming: got %d %q, want 200 and one line", a.status, a.body)
	}
	// 200 means online: there is nothing to wait for.
	for _, to := range []string{overIPv4, overIPv6, "http://example.com/", "https://198.51.100.10/", "https://[2001:db8:ffff::10]/"} {
		if a := z.curl("phone1", to); a.status != 200 || !strings.Contains(a.body, "This is the internet") {
			t.Errorf("%s after paying: got %d %q (curl %d)", to, a.status, a.body, a.exit)
		}
	}
	if !z.isOut("phone2") {
		t.Error("phone2 is online without having paid")
	}
	// The same code on the same phone is no second purchase.
	if a := z.redeem("phone1", code); a.status != http.StatusOK {
		t.Errorf("the same code again: got %d %q, want 200", a.status, a.body)
	}
	if n := len(z.sessions()); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestVoucherAnswersInJSON(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	var got struct {
		Online bool   `json:"online"`
		Reason string `json:"reason"`
		Plan   string `json:"plan"`
		State  string `json:"state"`
	}
	a := z.redeem("phone1", z.code("fast"), "-H", "Accept: application/json")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
	if a.status != 200 || !got.Online || got.Reason != "online" || got.Plan != "A fast day" || got.State != "active" {
		t.Errorf("got %d %+v", a.status, got)
	}
	got.Online = true
	a = z.redeem("phone2", "WRONG-CODE", "-H", "Accept: application/json")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
	if a.status < 400 || a.status > 499 || got.Online || got.Reason == "" || got.Reason == "online" {
		t.Errorf("a wrong code: got %d %+v", a.status, got)
	}
}

func TestWrongCodesAreRefusedInOneLine(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	for _, code := range []string{"", "x", "AAAA-AAAA-AAAA", strings.Repeat("9", 300)} {
		a := z.redeem("phone1", url.QueryEscape(code))
		if a.status < 400 || a.status > 499 {
			t.Errorf("code %q: got %d, want 4xx", code, a.status)
		}
		if strings.Count(a.body, "\n") != 1 || len(strings.TrimSpace(a.body)) == 0 {
			t.Errorf("code %q: got %q, want the reason in one line", code, a.body)
		}
	}
	if !z.isOut("phone1") {
		t.Error("a wrong code opened the internet")
	}
}

func TestUsedCodeMovesOnlyWhenConfirmed(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	code := z.code("fast")
	if a := z.redeem("phone1", code); a.status != 200 {
		t.Fatalf("redeeming: %d %q", a.status, a.body)
	}
	if a := z.redeem("phone2", code); a.status != http.StatusConflict || strings.Count(a.body, "\n") != 1 {
		t.Errorf("used code on phone2: got %d %q, want 409 and one line", a.status, a.body)
	}
	if !z.isOnline("phone1") || !z.isOut("phone2") {
		t.Error("an unconfirmed move changed who is online")
	}
	if a := z.redeem("phone2", code, "-d", "move=1"); a.status != 200 {
		t.Errorf("confirmed move: got %d %q, want 200", a.status, a.body)
	}
	if !z.isOnline("phone2") {
		t.Error("phone2 is not online after the move")
	}
	z.await("phone1 goes offline", 2*time.Second, func() bool { return z.isOut("phone1") })
}

func TestProbesTellPortalThenOnline(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	probes := []struct {
		url    string
		status int
		body   string
	}{
		{"http://connectivitycheck.gstatic.com/generate_204", 204, ""},
		{"http://captive.apple.com/hotspot-detect.html", 200, "Success"},
		{"http://www.msftconnecttest.com/connecttest.txt", 200, "Microsoft Connect Test"},
		{"http://detectportal.firefox.com/success.txt", 200, "success"},
	}
	for _, p := range probes {
		a := z.curl("phone1", "-4", p.url)
		if a.status != http.StatusFound || strings.TrimSpace(a.body) == "" || (p.body != "" && strings.Contains(a.body, p.body)) {
			t.Errorf("%s before paying: got %d %q, want a redirect with a body", p.url, a.status, a.body)
		}
	}
	z.pay("phone1", "fast")
	for _, p := range probes {
		if a := z.curl("phone1", "-4", p.url); a.status != p.status || !strings.Contains(a.body, p.body) {
			t.Errorf("%s after paying: got %d %q, want %d %q", p.url, a.status, a.body, p.status, p.body)
		}
	}
}

func TestPhonesCannotReachEachOther(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	z.pay("phone1", "fast")
	z.pay("phone2", "fast")
	for _, addr := range []string{z.Info.Hosts["phone2"].IPv4, z.Info.Hosts["phone2"].IPv6} {
		if code := exitCode(t, z.Command("phone1", "ping", "-c", "1", "-W", "1", addr)); code == 0 {
			t.Errorf("phone1 reaches %s", addr)
		}
	}
}

func TestBrowserSeesPortalThenInternet(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1, BrowserPort: 18577})
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	get := func(path string) (int, string, string) {
		t.Helper()
		resp, err := client.Get(z.Info.Browser + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		if err := resp.Write(&b); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Location"), b.String()
	}
	if status, _, page := get(""); status != 200 || !strings.Contains(page, "<form") || strings.Contains(page, lab.PortalAddr) {
		t.Errorf("front page: got %d %s", status, page)
	}
	if status, to, _ := get("internet"); status != 302 || !strings.HasPrefix(to, "/") {
		t.Errorf("internet before paying: got %d to %q, want a redirect to the portal", status, to)
	}
	resp, err := client.PostForm(z.Info.Browser+"voucher", url.Values{"code": {z.code("fast")}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode >= 400 {
		t.Errorf("code typed in the browser: got %d", resp.StatusCode)
	}
	if status, _, page := get("internet"); status != 200 || !strings.Contains(page, "This is the internet") {
		t.Errorf("internet after paying: got %d %s", status, page)
	}
}
