package radius_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/lab/freeradius"
	"zonegate/internal/lab/naszone"
	"zonegate/radius/coa"
	"zonegate/radius/nas"
)

// run starts a program of Debian's and returns what it said and how it ended.
func run(t *testing.T, stdin, name string, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is missing; run: apt-get install freeradius-utils eapoltest", name)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// radclient sends one request and returns what it printed.
func radclient(t *testing.T, to netip.AddrPort, kind string, attributes ...string) string {
	t.Helper()
	out, _ := run(t, strings.Join(attributes, "\n")+"\n", "radclient", "-x", "-r", "3", "-t", "10", to.String(), kind, labSecret)
	return out
}

func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// A customer of a NAS from the first packet to the last, with clients and a NAS
// that others wrote: radclient asks, FreeRADIUS takes our orders.
func TestCustomerOfForeignClients(t *testing.T) {
	free, err := freeradius.Start(t.Context(), freeradius.Config{Secret: labSecret, Orders: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := free.Close(); err != nil {
			t.Error(err)
		}
	})
	plan := naszone.DayPlan
	plan.DataCap = 5e9
	z := openZone(t, naszone.Options{Plan: plan, NAS: nas.NAS{Name: "tower", CoAPort: free.CoA.Port()}})
	codes, err := z.Sell(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	code, device := codes[0], []string{`Calling-Station-Id = "02-5A-47-00-00-01"`, `NAS-Identifier = "tower"`, "NAS-IP-Address = 127.0.0.1"}
	login := func(attributes ...string) string {
		return radclient(t, z.Auth, "auth", append(append(attributes, device...), "Message-Authenticator = 0x00")...)
	}
	account := func(attributes ...string) string {
		return radclient(t, z.Acct, "acct", append(append(attributes, device...), `Acct-Session-Id = "80000001"`, fmt.Sprintf("User-Name = %q", code))...)
	}
	user := fmt.Sprintf("User-Name = %q", code)

	// Both ports say that they work; radclient checks the signatures.
	contains(t, radclient(t, z.Auth, "status", "Message-Authenticator = 0x00"), "Received Access-Accept")
	contains(t, radclient(t, z.Acct, "status", "Message-Authenticator = 0x00"), "Received Accounting-Response")

	// What nobody sold, and the way of proving a password that is not offered.
	contains(t, login(`User-Name = "ABCD-EFGH"`, `User-Password = "ABCD-EFGH"`), "Received Access-Reject", "Reply-Message")
	contains(t, login(user, fmt.Sprintf("MS-CHAP-Password = %q", code)), "Received Access-Reject", "Reply-Message")

	// Each way that is, with what the plan becomes.
	terms := []string{"Received Access-Accept", "Message-Authenticator", "Session-Timeout = 86400", `Mikrotik-Rate-Limit = "2000k/2000k`,
		"256k/256k", "Mikrotik-Total-Limit = 705032704", "Mikrotik-Total-Limit-Gigawords = 1", "Acct-Interim-Interval = 300", "Class = 0x7a67313a"}
	contains(t, login(user, fmt.Sprintf("User-Password = %q", code)), terms...)
	out := login(user, fmt.Sprintf("CHAP-Password = %q", code))
	contains(t, out, "Received Access-Accept")
	_, class, _ := strings.Cut(out, "Class = ")
	class, _, _ = strings.Cut(class, "\n")

	// The session begins, and its plan changes while it lasts: an order.
	contains(t, account("Acct-Status-Type = Start", "Class = "+class), "Received Accounting-Response")
	faster := plan
	faster.Rate.MIRUp, faster.Rate.MIRDown = 4e6, 4e6
	if err := z.Gate.SetPlans(t.Context(), []zonegate.Plan{faster}, true); err != nil {
		t.Fatal(err)
	}
	order := func(wants ...string) {
		t.Helper()
		orders, err := free.Orders()
		for deadline := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(deadline); orders, err = free.Orders() {
			if strings.Contains(orders, wants[0]) && acked(z.Orders) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		contains(t, orders, wants...)
		if !acked(z.Orders) {
			t.Errorf("the order was not acknowledged: %+v", z.Orders.Snapshot())
		}
	}
	order("Packet-Type = CoA-Request", user, `Acct-Session-Id = "80000001"`, `Mikrotik-Rate-Limit = "4000k/4000k`)

	// A report that reaches the cap ends it: another order. What came before
	// the last gigawords is counted.
	contains(t, account("Acct-Status-Type = Interim-Update", "Class = "+class, "Acct-Session-Time = 60",
		"Acct-Input-Octets = 1000", "Acct-Input-Gigawords = 0", "Acct-Output-Octets = 705032704", "Acct-Output-Gigawords = 1"), "Received Accounting-Response")
	order("Packet-Type = Disconnect-Request")
	contains(t, account("Acct-Status-Type = Stop", "Class = "+class, "Acct-Session-Time = 61",
		"Acct-Input-Octets = 1000", "Acct-Input-Gigawords = 0", "Acct-Output-Octets = 705032705", "Acct-Output-Gigawords = 1"), "Received Accounting-Response")
	contains(t, login(user, fmt.Sprintf("User-Password = %q", code)), "Received Access-Reject", "Reply-Message")
}

// acked says that the last order was obeyed, as far as the NAS says.
func acked(c *coa.Client) bool {
	list := c.Snapshot()
	return len(list) == 1 && (list[0].State == coa.Acked || list[0].State == coa.Confirmed)
}

// wpa_supplicant's eapol_test wants WPA-Enterprise by each of its usual methods
// and hears at once that there is none: it fails, and not for want of an
// answer.
func TestEAPMethodsAreRefused(t *testing.T) {
	z := openZone(t, naszone.Options{})
	if err := z.Listening(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, method := range map[string]string{
		"PEAP": `eap=PEAP
	phase2="auth=MSCHAPV2"`,
		"TTLS": `eap=TTLS
	phase2="auth=PAP"`,
		"MD5": `eap=MD5`,
	} {
		t.Run(name, func(t *testing.T) {
			conf := filepath.Join(t.TempDir(), "eapol.conf")
			text := "network={\n\tkey_mgmt=WPA-EAP\n\tidentity=\"somebody\"\n\tpassword=\"something\"\n\t" + method + "\n}\n"
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, status := run(t, "", "eapol_test", "-c", conf, "-a", z.Auth.Addr().String(), "-p", fmt.Sprint(z.Auth.Port()), "-s", labSecret, "-t", "60")
			contains(t, out, "code=3 (Access-Reject)", "CTRL-EVENT-EAP-FAILURE", "FAILURE")
			if status == 0 || strings.Contains(out, "timed out") {
				t.Errorf("it ended with status %d:\n%s", status, out)
			}
		})
	}
}
