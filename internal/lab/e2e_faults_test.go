package lab_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

func TestKilledDaemonKeepsCustomersOnline(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	code := z.code("fast")
	if a := z.redeem("phone1", code); a.status != 200 {
		t.Fatalf("redeeming: %d %q", a.status, a.body)
	}
	got4, stop4 := z.stream("phone1", "198.51.100.10:80")
	got6, stop6 := z.stream("phone1", "[2001:db8:ffff::10]:80")
	grows := func(what string) {
		t.Helper()
		from4, from6 := got4(), got6()
		z.await(what, 10*time.Second, func() bool { return got4() > from4 && got6() > from6 })
	}
	grows("downloads begin")
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	grows("downloads go on without the daemon")
	if !z.isOut("phone2") {
		t.Error("a stranger is online while the daemon is dead")
	}
	// New connections of a customer pass too.
	for _, to := range []string{overIPv4, overIPv6} {
		if a := z.curl("phone1", to); !strings.Contains(a.body, "This is the internet") {
			t.Errorf("%s while the daemon is dead: got %d %q", to, a.status, a.body)
		}
	}
	before := z.classes()
	if err := z.StartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	grows("downloads go on after the restart")
	if after := z.classes(); after != before {
		t.Errorf("the restart changed the classes:\n%s\nbefore:\n%s", after, before)
	}
	stop4()
	stop6()
	if n := len(z.sessions()); n != 1 {
		t.Errorf("%d sessions after the restart, want 1", n)
	}
	if a := z.redeem("phone2", code); a.status != http.StatusConflict {
		t.Errorf("the code of phone1 on phone2 after the restart: got %d %q, want 409", a.status, a.body)
	}
	z.pay("phone2", "fast")
	if !z.isOnline("phone2") || !z.isOnline("phone1") {
		t.Error("not everybody who paid is online after the restart")
	}
}

// classes lists the shaping classes of the gateway without their counters.
func (z zone) classes() string {
	z.Helper()
	return output(z.T, z.Lab, "gateway", "sh", "-c", "tc class show dev br-lan | sort; tc class show dev wan0 | sort")
}

func TestStoppedDaemonKeepsCustomersOnline(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	z.pay("phone1", "fast")
	got, stop := z.stream("phone1", "[2001:db8:ffff::10]:80")
	if err := z.RestartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := got()
	z.await("the download goes on", 10*time.Second, func() bool { return got() > from })
	stop()
	if !z.isOnline("phone1") || !z.isOut("phone2") {
		t.Error("the restart changed who is online")
	}
}

func TestDeletedTablesComeBackAndNobodySlipsThrough(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	z.pay("phone1", "fast")
	leak, err := z.ListenPacket("internet", "udp", ":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	for _, addr := range []string{"198.51.100.10:7000", "[2001:db8:ffff::10]:7000"} {
		conn, err := z.Dial(t.Context(), "phone2", "udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				_, _ = conn.Write([]byte("let me in"))
				select {
				case <-tick.C:
				case <-stop:
					conn.Close()
					return
				}
			}
		}()
		defer func() { close(stop); <-done }()
	}
	for range 3 {
		output(t, z.Lab, "gateway", "sh", "-c", "nft list tables | while read -r t; do nft delete $t 2>/dev/null || true; done")
		// IPv6 needs no address translation, which went with the tables.
		z.await("phone1 is back", 5*time.Second, func() bool {
			return strings.Contains(z.curl("phone1", "--max-time", "1", overIPv6).body, "This is the internet")
		})
	}
	if err := z.RestoreNAT(); err != nil {
		t.Fatal(err)
	}
	if !z.isOnline("phone1") || !z.isOut("phone2") {
		t.Error("the tables did not come back as they were")
	}
	if err := leak.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, from, err := leak.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes of a stranger came through from %s", n, from)
	}
}

// Where the kernel guards the tables of a living process, those of a dead one
// can still be deleted.
func TestTablesDeletedWhileTheDaemonIsDead(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	z.pay("phone1", "fast")
	if err := z.KillGateway(); err != nil {
		t.Fatal(err)
	}
	output(t, z.Lab, "gateway", "sh", "-c", "nft list tables | while read -r t; do nft delete $t; done")
	if err := z.RestoreNAT(); err != nil {
		t.Fatal(err)
	}
	if !z.isOut("phone2") || !z.isOut("phone1") {
		t.Error("somebody is forwarded without the tables")
	}
	if err := z.StartGateway(t.Context()); err != nil {
		t.Fatal(err)
	}
	z.await("phone1 is back", 5*time.Second, func() bool { return z.isOnline("phone1") })
	if !z.isOut("phone2") {
		t.Error("a stranger is online after the restart")
	}
}

func TestStoppedDaemonKeepsStrangersOut(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	if err := z.StopGateway(); err != nil {
		t.Fatal(err)
	}
	if !z.isOut("phone1") {
		t.Error("a stopped daemon opens the zone to strangers")
	}
}
