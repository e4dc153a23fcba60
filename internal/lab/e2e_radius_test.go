package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// A nasZone is a zone with a NAS, and what is done there with radclient.
type nasZone struct{ zone }

func openNASZone(t *testing.T) nasZone {
	t.Helper()
	return nasZone{openZone(t, lab.Options{Vouchers: -1, Phones: 1, NAS: true, Plans: []lab.Plan{
		{ID: "mega", Name: "5 MB", PriceFCFA: 50, DurationHours: 24, DataLimitMB: 5, CIRKbps: 256, MIRKbps: 2000, DevicesMax: 1},
		{ID: "day", Name: "a day", PriceFCFA: 500, DurationHours: 24, MIRKbps: 2000, DevicesMax: 1},
	}})}
}

// radclient sends one request and returns what it printed; ok says that it was
// answered, and not with a refusal.
func (z nasZone) radclient(to, kind string, attributes ...string) (out string, ok bool) {
	z.Helper()
	ctx, cancel := context.WithTimeout(z.Context(), 30*time.Second)
	defer cancel()
	attributes = append(attributes, "NAS-IP-Address="+lab.NASAddr)
	cmd := z.CommandContext(ctx, "nas", "radclient", "-x", "-t", "5", "-r", "1", to, kind, z.Info.Secrets[lab.NASSecret])
	cmd.Stdin = strings.NewReader(strings.Join(attributes, "\n") + "\n")
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		z.Fatalf("radclient (package freeradius-utils): %v", err)
	}
	return string(text), err == nil
}

const nasDevice = "02-00-00-00-00-2A"

func (z nasZone) login(code string) (string, bool) {
	z.Helper()
	return z.loginOf(nasDevice, code)
}

func (z nasZone) loginOf(device, code string) (string, bool) {
	z.Helper()
	return z.radclient(lab.RADIUSAuth, "auth",
		"User-Name="+code, "User-Password="+code, "Calling-Station-Id="+device, "Message-Authenticator=0")
}

// report sends accounting of a session.
func (z nasZone) report(user, session, status string, seconds int, down uint64) {
	z.Helper()
	out, ok := z.radclient(lab.RADIUSAcct, "acct",
		"User-Name="+user, "Calling-Station-Id="+nasDevice, "Framed-IP-Address=10.5.50.9",
		"Acct-Session-Id="+session, "Acct-Status-Type="+status, fmt.Sprintf("Acct-Session-Time=%d", seconds),
		fmt.Sprintf("Acct-Output-Octets=%d", down%(1<<32)), fmt.Sprintf("Acct-Output-Gigawords=%d", down>>32), "Acct-Input-Octets=0")
	if !ok || !strings.Contains(out, "Received Accounting-Response") {
		z.Fatalf("accounting %s: %s", status, out)
	}
}

// told waits until the NAS was asked something about a session.
func (z nasZone) told(kind, session string) {
	z.Helper()
	want := fmt.Sprintf("%s User-Name=", kind)
	z.await(kind+" at the NAS", 20*time.Second, func() bool {
		log, err := os.ReadFile(z.Info.Logs["nas"])
		if err != nil {
			z.Fatal(err)
		}
		for line := range strings.SplitSeq(string(log), "\n") {
			if strings.HasPrefix(line, want) && strings.Contains(line, fmt.Sprintf("Acct-Session-Id=%q", session)) {
				return true
			}
		}
		return false
	})
}

// state is how the daemon lists the only session.
func (z nasZone) state() string {
	z.Helper()
	list := z.sessions()
	if len(list) != 1 {
		return fmt.Sprintf("%d sessions", len(list))
	}
	return fmt.Sprintf("%v reserved=%v unconfirmed=%v", list[0]["path"], list[0]["reserved"], list[0]["unconfirmed"])
}

// unconfirmed is how many sessions the NAS has not shown to obey.
func (z nasZone) unconfirmed() int {
	z.Helper()
	out, err := z.Zonegate(z.Context(), "nas", "list", "--json")
	if err != nil {
		z.Fatal(err)
	}
	var list struct {
		NASes []struct {
			Unconfirmed int `json:"unconfirmed"`
		} `json:"nases"`
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list.NASes) != 1 {
		z.Fatalf("nas list: %v\n%s", err, out)
	}
	return list.NASes[0].Unconfirmed
}

// A voucher is sold at a NAS: the plan's attributes come with the Accept, and
// what the NAS reports ends the grant at its cap with a Disconnect-Request.
func TestRADIUSSellsAndEndsAPlan(t *testing.T) {
	z := openNASZone(t)
	code := z.code("mega")
	if out, ok := z.login("AAAA-AAAA"); ok || !strings.Contains(out, "Received Access-Reject") || !strings.Contains(out, "Reply-Message = ") {
		t.Errorf("a wrong code: %s", out)
	}
	out, ok := z.login(code)
	if !ok {
		t.Fatalf("the code of a voucher: %s", out)
	}
	for _, want := range []string{
		"Received Access-Accept", "Session-Timeout = 86", "Acct-Interim-Interval = 300", "Class = 0x", "Message-Authenticator = 0x",
		`Mikrotik-Rate-Limit = "2000k/2000k 0/0 0/0 0/0 8 256k/256k"`, "Mikrotik-Total-Limit = 5000000", "Mikrotik-Total-Limit-Gigawords = 0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in the Accept:\n%s", want, out)
		}
	}
	if got, want := z.state(), "nas reserved=true unconfirmed=false"; got != want {
		t.Errorf("after the Accept: %s, want %s", got, want)
	}
	if out, ok := z.loginOf("02-00-00-00-00-2B", code); ok {
		t.Errorf("the same code on another device: %s", out)
	}
	z.report(code, "s1", "Start", 0, 0)
	if got, want := z.state(), "nas reserved=false unconfirmed=false"; got != want {
		t.Errorf("after the start: %s, want %s", got, want)
	}
	z.report(code, "s1", "Interim-Update", 10, 3_000_000)
	if list := z.sessions(); len(list) != 1 || list[0]["down_bytes"] != 3e6 {
		t.Errorf("after 3 MB: %v", list)
	}
	z.report(code, "s1", "Interim-Update", 20, 5_000_000)
	z.told("Disconnect-Request", "s1")
	if got := z.state(); got != "0 sessions" {
		t.Errorf("after the cap: %s", got)
	}
	z.report(code, "s1", "Stop", 21, 5_000_000)
	if out, ok := z.login(code); ok {
		t.Errorf("a spent code: %s", out)
	}
}

// A top-up needs no word to the NAS; a revocation ends the session there. A
// phone on the LAN cannot use the same voucher.
func TestRADIUSChangesReachTheNAS(t *testing.T) {
	z := openNASZone(t)
	code := z.code("day")
	if out, ok := z.login(code); !ok {
		t.Fatal(out)
	}
	z.report(code, "s2", "Start", 0, 0)
	if a := z.redeem("phone1", code); a.status != 409 {
		t.Errorf("the code of a device at the NAS, typed at the portal: %d %q", a.status, a.body)
	}
	if _, err := z.Zonegate(t.Context(), "grant", "topup", "--time", "2h", "1"); err != nil {
		t.Fatal(err)
	}
	z.told("CoA-Request", "s2")
	z.report(code, "s2", "Interim-Update", 10, 1000)
	z.await("the change is confirmed", 10*time.Second, func() bool { return z.state() == "nas reserved=false unconfirmed=false" })
	if _, err := z.Zonegate(t.Context(), "grant", "revoke", "1"); err != nil {
		t.Fatal(err)
	}
	z.told("Disconnect-Request", "s2")
	// That the NAS agreed is no proof; its last report is.
	if n := z.unconfirmed(); n != 1 {
		t.Errorf("%d unconfirmed sessions after the Disconnect", n)
	}
	z.report(code, "s2", "Stop", 12, 2000)
	if n := z.unconfirmed(); n != 0 {
		t.Errorf("%d unconfirmed sessions after the stop", n)
	}
	if out, ok := z.login(code); ok {
		t.Errorf("a revoked code: %s", out)
	}
}

// What the operator sees of a NAS, and that a daemon started anew still knows
// it with its sessions.
func TestRADIUSIsLookedAfter(t *testing.T) {
	z := openNASZone(t)
	code := z.code("mega")
	if out, ok := z.login(code); !ok {
		t.Fatal(out)
	}
	z.report(code, "s3", "Start", 0, 0)
	out, err := z.Zonegate(t.Context(), "nas", "test", "nas")
	if err != nil {
		t.Errorf("nas test: %v\n%s", err, out)
	}
	for _, want := range []string{"ok    server", "ok    packets: 2 good ones", "ok    signature", "ok    accounting", "ok    CoA: port 3799 answers"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := z.StartGateway(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := z.state(), "nas reserved=false unconfirmed=false"; got != want {
		t.Errorf("after a kill: %s, want %s", got, want)
	}
	z.report(code, "s3", "Interim-Update", 30, 5_000_000)
	z.told("Disconnect-Request", "s3")
	if _, err := z.Zonegate(ctx, "nas", "remove", "nas"); err != nil {
		t.Fatal(err)
	}
	if out, ok := z.login(z.code("mega")); ok || strings.Contains(out, "Received") {
		t.Errorf("a NAS that was removed is answered: %s", out)
	}
}
