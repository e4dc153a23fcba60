package lab_test

import (
	"strings"
	"testing"
	"time"

	"zonegate/internal/lab"
)

func TestCapEndsTheSession(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1, Plans: []lab.Plan{
		{ID: "mega", Name: "2 MB", PriceFCFA: 50, DurationHours: 24, DataLimitMB: 2, MIRKbps: 20000, DevicesMax: 1},
	}})
	z.pay("phone1", "mega")
	// Half of it passes whole, the rest does not.
	if a := z.curl("phone1", "-o", "/dev/null", overIPv4+"bytes?n=1000000"); a.exit != 0 {
		t.Errorf("a download below the cap: curl ended with %d", a.exit)
	}
	if a := z.curl("phone1", "-o", "/dev/null", "--max-time", "5", overIPv6+"bytes?n=2000000"); a.exit == 0 {
		t.Error("a download beyond the cap came through")
	}
	z.await("phone1 goes offline", 10*time.Second, func() bool { return z.isOut("phone1") })
	if a := z.curl("phone1", "-4", "http://example.com/"); a.status != 302 {
		t.Errorf("after the cap: got %d, want the way to the portal", a.status)
	}
	z.pay("phone1", "mega")
	if !z.isOnline("phone1") {
		t.Error("a new voucher after a spent cap does not open the internet")
	}
}

func TestMaximumRateHolds(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1, Plans: []lab.Plan{
		{ID: "slow", Name: "slow", PriceFCFA: 50, DurationHours: 24, MIRKbps: 4000, DevicesMax: 1},
	}})
	z.pay("phone1", "slow")
	a := z.curl("phone1", "-o", "/dev/null", overIPv4+"bytes?n=2000000")
	if a.exit != 0 {
		t.Errorf("download: curl ended with %d", a.exit)
	}
	checkPace(t, "download", a.took)
	start := time.Now()
	got := output(t, z.Lab, "phone1", "sh", "-c",
		"head -c 2000000 /dev/zero | curl -s --data-binary @- "+overIPv6+"upload")
	checkPace(t, "upload", time.Since(start))
	if strings.TrimSpace(got) != "2000000" {
		t.Errorf("upload: the internet received %q bytes", got)
	}
}

// checkPace compares with 2,000,000 bytes at 4 Mbit/s: 4 seconds and headers.
// Only too fast is wrong: a busy machine may be slow.
func checkPace(t *testing.T, what string, took time.Duration) {
	t.Helper()
	if took < 3500*time.Millisecond {
		t.Errorf("%s: 2 MB took %s, faster than 4 Mbit/s allows", what, took)
	}
}

func TestTimeEnds(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1, Plans: []lab.Plan{
		{ID: "minute", Name: "1 minute", PriceFCFA: 10, Duration: "1m", MIRKbps: 2000, DevicesMax: 1},
	}})
	paid := time.Now()
	z.pay("phone1", "minute")
	if !z.isOnline("phone1") {
		t.Fatal("not online after paying")
	}
	z.await("time ends", 75*time.Second, func() bool { return z.isOut("phone1") })
	if used := time.Since(paid); used < 58*time.Second {
		t.Errorf("a minute ended after %s", used)
	}
}

// A phone makes itself new IPv6 addresses all the time: they are the same phone.
func TestEveryAddressOfADeviceIsTheCustomer(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	z.pay("phone1", "fast")
	for _, addr := range []string{"2001:db8:77::a:1", "2001:db8:77::a:2"} {
		output(t, z.Lab, "phone1", "ip", "-6", "addr", "add", addr+"/64", "dev", "eth0", "nodad")
		if a := z.curl("phone1", "--interface", addr, overIPv6+"address"); strings.TrimSpace(a.body) != addr {
			t.Errorf("from %s: got %d %q", addr, a.status, a.body)
		}
	}
}

func TestTwoDevicesShareOnePurchase(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1, Phones: 3, Plans: []lab.Plan{
		{ID: "family", Name: "family", PriceFCFA: 200, DurationHours: 24, DataLimitMB: 4, MIRKbps: 20000, DevicesMax: 2},
	}})
	code := z.code("family")
	for _, phone := range []string{"phone1", "phone2"} {
		if a := z.redeem(phone, code); a.status != 200 {
			t.Errorf("%s: got %d %q, want 200", phone, a.status, a.body)
		}
	}
	if a := z.redeem("phone3", code); a.status != 409 {
		t.Errorf("a third device: got %d %q, want 409", a.status, a.body)
	}
	if !z.isOnline("phone1") || !z.isOnline("phone2") || !z.isOut("phone3") {
		t.Error("not exactly the two devices are online")
	}
	// They also share its cap: 3 MB of 4 by one leave less than 2 for the other.
	if a := z.curl("phone1", "-o", "/dev/null", overIPv4+"bytes?n=3000000"); a.exit != 0 {
		t.Errorf("a download below the cap: curl ended with %d", a.exit)
	}
	if a := z.curl("phone2", "-o", "/dev/null", "--max-time", "5", overIPv4+"bytes?n=2000000"); a.exit == 0 {
		t.Error("a download beyond the shared cap came through")
	}
	z.await("both go offline", 10*time.Second, func() bool { return z.isOut("phone1") && z.isOut("phone2") })
}
