package wire

import (
	"strings"
	"testing"

	"zonegate"
)

func TestParseMAC(t *testing.T) {
	want := zonegate.MAC{0x00, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e}
	for _, s := range []string{
		"00:1A:2B:3C:4D:5E", "00-1A-2B-3C-4D-5E", "00 1A 2B 3C 4D 5E", // MikroTik, CoovaChilli, RFC 3580
		"001A:2B3C:4D5E", "001A2B:3C4D5E", "001A2B-3C4D5E", // MikroTik
		"001A2B3C4D5E",                     // MikroTik, hostapd in lower case
		"001A.2B3C.4D5E", "001A-2B3C-4D5E", // Cisco, H3C
	} {
		for _, form := range []string{s, strings.ToLower(s), strings.Replace(s, "A", "a", 1)} {
			if m, ok := ParseMAC(form); !ok || m != want {
				t.Errorf("%q: %v, %v", form, m, ok)
			}
			for _, ssid := range []string{"", ":zone", ":", ":a:b", ":00-11-22-33-44-55"} {
				m, name, ok := ParseStation(form + ssid)
				if !ok || m != want || name != strings.TrimPrefix(ssid, ":") {
					t.Errorf("station %q: %v, %q, %v", form+ssid, m, name, ok)
				}
			}
			for _, bad := range []string{form + "0", form + " ", " " + form, form[1:], form[:len(form)-1], "g" + form[1:]} {
				if m, ok := ParseMAC(bad); ok {
					t.Errorf("%q: %v", bad, m)
				}
			}
		}
	}
	// A randomised address is a station's as any other.
	if _, ok := ParseMAC("02:00:00:00:00:01"); !ok {
		t.Error("a locally administered address is refused")
	}
	for _, s := range []string{
		"", "0", "1234567890123", "00:1A-2B:3C:4D:5E", "00:1A:2B:3C:4D-5E", "00.1A.2B.3C.4D.5E", "001A 2B3C 4D5E", "001A2B.3C4D5E",
		"00:1A:2B:3C:4D:5", "0:1A:2B:3C:4D:5E0", "001A:2B3C-4D5E", "00::1A2B3C4D5E", "+01A2B3C4D5E", "001A2B3C4D5É",
		"00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "0x1A2B3C4D5E",
	} {
		if m, ok := ParseMAC(s); ok {
			t.Errorf("%q: %v", s, m)
		}
		if m, ssid, ok := ParseStation(s); ok {
			t.Errorf("station %q: %v %q", s, m, ssid)
		}
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"00:1A:2B:3C:4D:5E", "001A.2B3C.4D5E", "001A2B-3C4D5E", "001a2b3c4d5e", "00:1A:2B:3C:4D:5E:ssid", "é", "00:1A:2B:3C:4D"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := ParseMAC(s)
		station, ssid, stationOK := ParseStation(s)
		if !ok {
			if m != (zonegate.MAC{}) {
				t.Fatalf("%q: refused, and yet %v", s, m)
			}
			if stationOK && ssid == "" && !strings.HasSuffix(s, ":") {
				t.Fatalf("%q is a station and no address", s)
			}
			return
		}
		if !stationOK || station != m || ssid != "" {
			t.Fatalf("%q is an address and no station", s)
		}
		// Nothing of the address is lost or made up.
		digits := strings.NewReplacer(":", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(s))
		if strings.ReplaceAll(m.String(), ":", "") != digits {
			t.Fatalf("%q became %v", s, m)
		}
	})
}
