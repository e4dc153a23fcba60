package nas

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/radius/wire"
)

// show writes attributes as words, from the octets that go out.
func show(t *testing.T, attributes []wire.Attribute) string {
	t.Helper()
	raw, err := wire.Request{Code: wire.CoARequest, Attributes: attributes, Unsigned: true}.Encode([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	p, reason := wire.Parse(raw)
	if reason != wire.Valid {
		t.Fatal(reason)
	}
	names := map[wire.Type]string{
		wire.SessionTimeout: "time", wire.IdleTimeout: "idle", wire.AcctInterimInterval: "interim", wire.PortLimit: "ports",
	}
	vendors := map[wire.VendorID]string{wire.MikroTik: "ros", wire.WISPr: "wispr", wire.ChilliSpot: "chilli", wire.PfSense: "pf"}
	var words []string
	number := func(v []byte) uint32 {
		if len(v) != 4 {
			t.Fatalf("%x is no number", v)
		}
		return binary.BigEndian.Uint32(v)
	}
	for a := range p.Attributes() {
		switch {
		case a.Type == wire.Class:
			words = append(words, "class="+string(a.Value))
		case a.Type == wire.VendorSpecific:
			vendor := vendors[wire.VendorID(binary.BigEndian.Uint32(a.Value))]
			kind, length, value := a.Value[4], a.Value[5], a.Value[6:]
			if int(length) != len(value)+2 || vendor == "" {
				t.Fatalf("wrong vendor attribute %x", a.Value)
			}
			if vendor == "ros" && kind == 8 {
				words = append(words, fmt.Sprintf("%s8=%q", vendor, value))
			} else {
				words = append(words, fmt.Sprintf("%s%d=%d", vendor, kind, number(value)))
			}
		default:
			words = append(words, fmt.Sprintf("%s=%d", names[a.Type], number(a.Value)))
		}
	}
	return strings.Join(words, " ")
}

// admission allows some octets and some time at 512 kbit/s up and 2 Mbit/s
// down, half and a quarter of it committed.
func admission(octets uint64, left time.Duration) zonegate.Admission {
	return zonegate.Admission{
		Session: zonegate.Session{Terms: zonegate.Terms{Limit: octets}},
		Plan: zonegate.Plan{
			Rate:       zonegate.Rate{CIRUp: 256_000, CIRDown: 500_000, MIRUp: 512_000, MIRDown: 2_000_000},
			DevicesMax: 3,
		},
		TimeLeft: left,
	}
}

var settings = Settings{Interim: 5 * time.Minute, Idle: 10 * time.Minute, Class: "zg1:x"}

const (
	gib4    = uint64(1) << 32            // 4,294,967,296
	forever = 100 * 365 * 24 * time.Hour // more seconds than 31 bits
)

func TestAccept(t *testing.T) {
	// Rates of each vendor for the admission above, worked out by hand.
	const (
		common = " idle=600 interim=300 class=zg1:x"
		ros    = ` ports=3 ros8="512k/2000k 0/0 0/0 0/0 8 256k/500k"`
		wispr  = " wispr7=512000 wispr8=2000000"
		chilli = wispr + " chilli4=512 chilli5=2000"
		both   = wispr + " wispr5=256000 wispr6=500000"
	)
	tests := []struct {
		vendor Vendor
		octets uint64
		left   time.Duration
		want   string
	}{
		{MikroTik, zonegate.NoCap, time.Hour, "time=3600" + common + ros},
		{MikroTik, 1, time.Second, "time=1" + common + ros + " ros17=1 ros18=0"},
		{MikroTik, gib4 - 1, time.Millisecond, "time=1" + common + ros + " ros17=4294967295 ros18=0"},
		{MikroTik, gib4, 1500 * time.Millisecond, "time=2" + common + ros + " ros17=0 ros18=1"},
		{MikroTik, gib4 + 1, 21474720 * time.Second, "time=21474720" + common + ros + " ros17=1 ros18=1"},
		{MikroTik, 3*gib4 + 7, 21474721 * time.Second, "time=21474720" + common + ros + " ros17=7 ros18=3"},
		{MikroTik, 0, 0, "time=1" + common + ros + " ros17=1 ros18=0"},
		{CoovaChilli, zonegate.NoCap, time.Hour, "time=3600" + common + chilli},
		{CoovaChilli, 500_000_000, time.Hour, "time=3600" + common + chilli + " chilli3=500000000 chilli23=0"},
		{CoovaChilli, gib4 - 1, time.Hour, "time=3600" + common + chilli + " chilli3=4294967295 chilli23=0"},
		{CoovaChilli, gib4, time.Hour, "time=3600" + common + chilli + " chilli3=0 chilli23=1"},
		{CoovaChilli, gib4 + 1, 21474721 * time.Second, "time=21474721" + common + chilli + " chilli3=1 chilli23=1"},
		{CoovaChilli, 0, forever, "time=2147483647" + common + chilli + " chilli3=1 chilli23=0"},
		{Uspot, zonegate.NoCap, time.Hour, "time=3600" + common + wispr},
		{Uspot, gib4 - 1, time.Hour, "time=3600" + common + wispr + " chilli3=4294967295"},
		{Uspot, gib4, time.Hour, "time=3600" + common + wispr + " chilli3=4294967295"},
		{Uspot, gib4 + 1, time.Hour, "time=3600" + common + wispr + " chilli3=4294967295"},
		{Uspot, 0, time.Second, "time=1" + common + wispr + " chilli3=1"},
		{PfSense, zonegate.NoCap, time.Hour, "time=3600" + common + wispr},
		{PfSense, gib4 - 1, time.Hour, "time=3600" + common + wispr + " pf3=4294967295"},
		{PfSense, gib4, time.Hour, "time=3600" + common + wispr + " pf3=4294967295"},
		{PfSense, 5 * gib4, time.Hour, "time=3600" + common + wispr + " pf3=4294967295"},
		{Hostapd, 1000, time.Hour, "time=3600" + common + wispr},
		{UniFi, 1000, time.Hour, "time=3600" + common + both},
		{Generic, 1000, time.Hour, "time=3600" + common + both},
		{Vendor("another"), 1000, time.Hour, "time=3600" + common + both},
	}
	for _, tt := range tests {
		if got := show(t, tt.vendor.Accept(admission(tt.octets, tt.left), settings)); got != tt.want {
			t.Errorf("%s, %d octets and %v:\n got %s\nwant %s", tt.vendor, tt.octets, tt.left, got, tt.want)
		}
	}
}

func TestAcceptRates(t *testing.T) {
	tests := []struct {
		vendor Vendor
		rate   zonegate.Rate
		want   string
	}{
		// No committed rate: zero in so many words, or MikroTik reserves the maximum.
		{MikroTik, zonegate.Rate{MIRUp: 512_000, MIRDown: 1_000_000}, `ros8="512k/1000k 0/0 0/0 0/0 8 0/0"`},
		{MikroTik, zonegate.Rate{MIRUp: 512_001, MIRDown: 999, CIRDown: 500}, `ros8="512001/999 0/0 0/0 0/0 8 0/500"`},
		{MikroTik, zonegate.Rate{MIRDown: 2_000_000}, `ros8="4000000k/2000k 0/0 0/0 0/0 8 0/0"`},
		{MikroTik, zonegate.Rate{CIRUp: 64_000, CIRDown: 64_000}, `ros8="4000000k/4000000k 0/0 0/0 0/0 8 64k/64k"`},
		{MikroTik, zonegate.Rate{MIRUp: 1 << 40, MIRDown: 1 << 40, CIRUp: 1 << 39}, `ros8="4294967295/4294967295 0/0 0/0 0/0 8 4294967295/0"`},
		{MikroTik, zonegate.Rate{}, ""},
		{CoovaChilli, zonegate.Rate{}, ""},
		{CoovaChilli, zonegate.Rate{MIRUp: 1, MIRDown: 1999}, "wispr7=1 wispr8=1999 chilli4=1 chilli5=1"},
		{CoovaChilli, zonegate.Rate{MIRUp: 1 << 32, MIRDown: 5_000_000_000}, "wispr7=4294967295 wispr8=4294967295 chilli4=4294967 chilli5=4294967"},
		{CoovaChilli, zonegate.Rate{MIRDown: 64_000, CIRDown: 64_000}, "wispr8=64000 chilli5=64"},
		{Uspot, zonegate.Rate{MIRUp: 1<<32 - 1, MIRDown: 1 << 32}, "wispr7=4294967295 wispr8=4294967295"},
		{PfSense, zonegate.Rate{MIRUp: 1, MIRDown: 1500}, "wispr7=1000 wispr8=1500"},
		{PfSense, zonegate.Rate{}, ""},
		{Hostapd, zonegate.Rate{MIRDown: 1_000_000}, "wispr8=1000000"},
		{Generic, zonegate.Rate{CIRUp: 5_000_000_000, CIRDown: 1, MIRUp: 6_000_000_000}, "wispr7=4294967295 wispr5=4294967295 wispr6=1"},
		{Generic, zonegate.Rate{}, ""},
	}
	for _, tt := range tests {
		a := admission(zonegate.NoCap, time.Hour)
		a.Plan.Rate = tt.rate
		want := "time=3600 interim=60"
		if tt.vendor == MikroTik {
			want += " ports=3"
		}
		if tt.want != "" {
			want += " " + tt.want
		}
		if got := show(t, tt.vendor.Accept(a, Settings{Interim: time.Second})); got != want {
			t.Errorf("%s, %+v:\n got %s\nwant %s", tt.vendor, tt.rate, got, want)
		}
	}
}

// No limit of any kind is ever zero, whatever the plan says.
func TestAcceptHasNoZeroLimit(t *testing.T) {
	for _, vendor := range Vendors {
		for _, octets := range []uint64{0, 1, gib4 - 1, gib4, 1<<63 + 5, zonegate.NoCap - 1} {
			for _, left := range []time.Duration{-time.Hour, 0, 1, time.Second, forever} {
				a := admission(octets, left)
				a.Counted = zonegate.Octets{Up: 5, Down: 9} // more than some of the limits
				a.Plan.Rate = zonegate.Rate{MIRUp: 1, MIRDown: 1}
				a.Plan.DevicesMax = 0
				words := " " + show(t, vendor.Accept(a, Settings{})) + " "
				for _, zero := range []string{" time=0 ", " ports=0 ", " idle=0 ", " interim=0 ", " wispr7=0 ", " wispr8=0 ",
					" chilli4=0 ", " chilli5=0 ", " chilli3=0 chilli23=0 ", " ros17=0 ros18=0 ", " pf3=0 "} {
					if strings.Contains(words, zero) {
						t.Errorf("%s, %d octets, %v: %s", vendor, octets, left, words)
					}
				}
			}
		}
	}
}

// What is left counts, except at a NAS that asks again for a live session,
// whose counters go on.
func TestAcceptLive(t *testing.T) {
	a := admission(1000, 20*time.Minute)
	a.Counted = zonegate.Octets{Up: 100, Down: 300}
	a.Live = true
	a.Plan.Rate = zonegate.Rate{}
	a.Session.Opened, a.Session.Terms.Ends = 5*time.Hour, 6*time.Hour
	for vendor, want := range map[Vendor]string{
		MikroTik:    "time=1200 interim=60 ports=3 ros17=600 ros18=0",
		CoovaChilli: "time=1200 interim=60 chilli3=600 chilli23=0",
		PfSense:     "time=3600 interim=60 pf3=1000",
	} {
		if got := show(t, vendor.Accept(a, Settings{})); got != want {
			t.Errorf("%s:\n got %s\nwant %s", vendor, got, want)
		}
	}
	// The end of an online grant is on another time than its beginning.
	a.Plan.Time = zonegate.Online
	if got, want := show(t, PfSense.Accept(a, Settings{})), "interim=60 pf3=1000"; got != want {
		t.Errorf("online: got %s, want %s", got, want)
	}
}

func TestChange(t *testing.T) {
	e := zonegate.Errand{
		Terms:    zonegate.Terms{Limit: gib4 + 2},
		Plan:     zonegate.Plan{Rate: zonegate.Rate{MIRUp: 1_000_000, MIRDown: 3_000_000}},
		TimeLeft: 30 * time.Minute,
	}
	tests := []struct {
		vendor Vendor
		what   Change
		rate   bool
		want   string
	}{
		// What is left out is "no limit" for CoovaChilli, so all of it is said.
		{CoovaChilli, ChangeRate, true, "time=2400 idle=600 interim=300 wispr7=1000000 wispr8=3000000 chilli4=1000 chilli5=3000 chilli3=2 chilli23=1"},
		{CoovaChilli, ChangeOctets, false, "time=2400 idle=600 interim=300 chilli3=2 chilli23=1"},
		{MikroTik, ChangeRate, true, `ros8="1000k/3000k 0/0 0/0 0/0 8 0/0"`},
		{MikroTik, ChangeRate | ChangeTime, true, `time=2400 ros8="1000k/3000k 0/0 0/0 0/0 8 0/0"`},
		// The earlier rate stays in force unless another is said.
		{MikroTik, ChangeRate, false, `ros8="4000000k/4000000k 0/0 0/0 0/0 8 0/0"`},
		{Uspot, ChangeTime, true, "time=2400"},
	}
	for _, tt := range tests {
		e := e
		if !tt.rate {
			e.Plan.Rate = zonegate.Rate{}
		}
		if got := show(t, tt.vendor.Change(e, tt.what, 10*time.Minute, settings)); got != tt.want {
			t.Errorf("%s %b:\n got %s\nwant %s", tt.vendor, tt.what, got, tt.want)
		}
	}
}
