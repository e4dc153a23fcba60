package mikrotik

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3/proto"
	"github.com/google/go-cmp/cmp"

	"zonegate"
)

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1w2d3h4m5s": 9*24*time.Hour + 3*time.Hour + 4*time.Minute + 5*time.Second,
		"4m42s":      282 * time.Second, "1d02:03:04": 26*time.Hour + 3*time.Minute + 4*time.Second,
		"00:25:00": 25 * time.Minute, "500ms": 500 * time.Millisecond, "none": 0, "0s": 0, "3600": time.Hour,
	} {
		if got, ok := parseDuration(s); !ok || got != want {
			t.Errorf("%q is %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "x", "1x", "1:2", "-5s", "1h-3s", "99999999999999999999s"} {
		if got, ok := parseDuration(s); ok {
			t.Errorf("%q is %v", s, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "00:00:01", time.Hour: "01:00:00", 49*time.Hour + 2*time.Second: "2d01:00:02",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
		if back, ok := parseDuration(formatDuration(d)); !ok || back != d && d > time.Second {
			t.Errorf("%v comes back as %v", d, back)
		}
	}
}

func TestVersion(t *testing.T) {
	for s, want := range map[string][2]int{"7.16.1 (stable)": {7, 16}, "6.49.18 (long-term)": {6, 49}, "7.22beta3": {7, 22}, "": {0, 0}} {
		if major, minor := parseVersion(s); [2]int{major, minor} != want {
			t.Errorf("%q is %d.%d", s, major, minor)
		}
	}
}

func TestPace(t *testing.T) {
	for s, want := range map[string]pace{"2M/5M": {2e6, 5e6}, "256k/1000000": {256e3, 1e6}, "0/0": {}, "": {}} {
		if got := parsePace(s); got != want {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestMark(t *testing.T) {
	m := mark{grant: 12, by: siteTag("Zone A"), gone: zonegate.Octets{Up: 1, Down: 1 << 40}, before: zonegate.Octets{Down: 3}, sessions: []marked{
		{7, zonegate.MAC{2, 0, 0, 0, 0, 0xfe}, zonegate.Octets{Up: 5}}, {9, zonegate.MAC{2, 0, 0, 0, 0, 1}, zonegate.Octets{}},
	}}
	got, ok := parseMark(m.String())
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(mark{}, marked{})); !ok || diff != "" {
		t.Errorf("%q (-want +got):\n%s", m, diff)
	}
	if got, ok := parseMark(m.String() + " paid, Mme Koffi s= s1 s2=x gone"); !ok || len(got.sessions) != 2 || got.grant != 12 {
		t.Errorf("with a note behind it: %+v, %v", got, ok)
	}
	for _, s := range []string{"", "zonegate:", "zonegate:grant:", "zonegate:grant:0", "zonegate:link", "vc-12"} {
		if got, ok := parseMark(s); ok {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add("zonegate:grant:12 gone=0/4096 before=0/0 s7=02:00:00:00:00:01+0/0")
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMark(s)
		if !ok {
			return
		}
		if again, ok := parseMark(m.String()); !ok || cmp.Diff(m, again, cmp.AllowUnexported(mark{}, marked{})) != "" {
			t.Errorf("%q is %+v and then %+v", s, m, again)
		}
	})
}

// bytesConn is a connection that says what it is given.
type bytesConn struct {
	net.Conn
	io.Reader
}

func (c bytesConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func sentence(words ...string) []byte {
	var b bytes.Buffer
	w := proto.NewWriter(&b)
	w.BeginSentence()
	for _, x := range words {
		w.WriteWord(x)
	}
	w.EndSentence()
	return b.Bytes()
}

func TestGuard(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 20_000))
	good := append(sentence("!re", "=comment="+long, "=name=a"), sentence("!done")...)
	for name, test := range map[string]struct {
		in []byte
		ok bool
	}{
		"good":           {good, true},
		"web":            {[]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"), true}, // short words; the library refuses
		"gigantic word":  {[]byte{0xF0, 0xff, 0xff, 0xff, 0xff, 1}, false},
		"long word":      {[]byte{0xE0 | 0x0f, 0xff, 0xff, 0xff}, false},
		"control byte":   {[]byte{0xF9}, false},
		"endless words":  {bytes.Repeat([]byte{1, 'x'}, maxWords+1), false},
		"endless answer": {bytes.Repeat(sentence("!re", "=a="+long[:200]), maxReply/200), false},
	} {
		g := &guard{Conn: bytesConn{Reader: bytes.NewReader(test.in)}}
		_, err := io.Copy(io.Discard, struct{ io.Reader }{g})
		if ok := !errors.Is(err, errFraming); ok != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReply feeds the reader of sentences: it ends, with bounded words, and
// what is well-formed comes through.
func FuzzReply(f *testing.F) {
	f.Add(append(sentence("!re", "=name=a", "=.id=*1"), sentence("!done")...))
	f.Add([]byte{0xF0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x80, 0x01, 'x', 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		g := &guard{Conn: bytesConn{Reader: bytes.NewReader(in)}}
		r := proto.NewReader(g)
		defer r.Close()
		for {
			s, err := r.ReadSentence()
			if err != nil {
				return
			}
			for _, p := range s.List {
				if len(p.Key)+len(p.Value) > maxWord {
					t.Fatalf("a word of %d bytes", len(p.Key)+len(p.Value))
				}
			}
		}
	})
}

// TestWhere has somebody copy the MAC of a device and come with another
// address: the device keeps its place.
func TestWhere(t *testing.T) {
	device := zonegate.MAC{2, 0, 0, 0, 0, 1}
	at := func(address, inside string) row {
		return row{"mac-address": formatMAC(device), "address": address, "to-address": inside}
	}
	r := &Router{hosts: map[zonegate.MAC][]host{}}
	r.saw(at("10.5.50.2", "10.5.50.2"), false)
	before, _ := r.where(device, host{})
	clear(r.hosts)
	for _, h := range []row{at("10.5.50.9", "10.5.50.9"), at("10.5.50.2", "10.5.50.2"), at("192.168.1.5", "10.5.50.8")} {
		r.saw(h, false)
	}
	if got, ok := r.where(device, before); !ok || got != before {
		t.Errorf("the device is taken to be at %v, and was at %v", got, before)
	}
	// Known from its session, by the address inside.
	inside := netip.MustParseAddr("10.5.50.8")
	if got, _ := r.where(device, host{inside, inside}); got.address != netip.MustParseAddr("192.168.1.5") {
		t.Errorf("the device is taken to be at %v", got)
	}
	// Nothing known: the one that has asked.
	r.saw(at("192.168.1.5", "10.5.50.8"), true)
	if got, _ := r.where(device, host{}); got.inside != inside {
		t.Errorf("the device is taken to be at %v", got)
	}
}
