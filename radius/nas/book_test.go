package nas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const good = "k3mv-82qa-zp5t-w7"

func entry(name, prefix string) NAS {
	return NAS{Name: name, Prefix: netip.MustParsePrefix(prefix), Secret: Secret(good), Vendor: MikroTik}
}

func open(t *testing.T, dir string) *Book {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func add(t *testing.T, b *Book, n NAS) {
	t.Helper()
	if err := b.Add(n, false); err != nil {
		t.Fatal(err)
	}
}

func TestBookKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if len(b.List()) != 0 {
		t.Fatal("a new book is not empty")
	}
	full := entry("aps", "10.5.0.0/24")
	full.Vendor, full.RequireMA, full.NoCoA, full.CoAPort = CoovaChilli, RequireNo, true, 3990
	full.Interim, full.Strict, full.Login, full.UAMSecret = 2*time.Minute, true, []string{"Login.Zone:3990", "10.5.0.1"}, Secret(`u"<&>é`)
	full.Secret = Secret(`quotes "<&>' and é 99`)
	add(t, b, full)
	add(t, b, entry("roof", "10.6.0.2/32"))
	if err := b.MarkSigned("roof"); err != nil {
		t.Fatal(err)
	}

	fi, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || fi.Mode() != 0o600 {
		t.Fatalf("the file: %v, %v", fi.Mode(), err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	again := open(t, dir).List()
	if len(again) != 2 {
		t.Fatalf("read %d entries", len(again))
	}
	full.Login[0] = "login.zone:3990"
	for i, want := range []NAS{full, {Name: "roof", Prefix: netip.MustParsePrefix("10.6.0.2/32"), Secret: Secret(good),
		Vendor: MikroTik, RequireMA: RequireAuto, Signed: true}} {
		if got, want := fmt.Sprintf("%+v %q %q", again[i], string(again[i].Secret), string(again[i].UAMSecret)),
			fmt.Sprintf("%+v %q %q", want, string(want.Secret), string(want.UAMSecret)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	if !again[1].MustSign() || again[0].MustSign() {
		t.Error("who must sign is not kept")
	}
	if err := b.Remove("roof"); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("roof"); !errors.Is(err, ErrNoSuchNAS) {
		t.Errorf("removing twice: %v", err)
	}
	if got := open(t, dir).List(); len(got) != 1 || got[0].Name != "aps" {
		t.Errorf("after removing: %v", got)
	}
}

func TestFind(t *testing.T) {
	b := open(t, t.TempDir())
	add(t, b, entry("all", "10.0.0.0/8"))
	add(t, b, entry("site", "10.5.0.0/16"))
	add(t, b, entry("one", "10.5.0.9/32"))
	add(t, b, entry("mapped", "::ffff:192.168.7.0/120"))
	add(t, b, entry("six", "2001:db8::/32"))
	for addr, want := range map[string]string{
		"10.1.2.3": "all", "10.5.1.1": "site", "10.5.0.9": "one", "::ffff:10.5.0.9": "one", "::ffff:10.5.0.8": "site",
		"192.168.7.4": "mapped", "::ffff:192.168.7.4": "mapped", "192.168.8.4": "", "2001:db8::5": "six", "2001:db9::5": "", "fe80::1%eth0": "",
	} {
		n, ok := b.Find(netip.MustParseAddr(addr))
		if n.Name != want || ok != (want != "") {
			t.Errorf("%s: found %q %v, want %q", addr, n.Name, ok, want)
		}
	}
	if _, ok := b.Find(netip.Addr{}); ok {
		t.Error("nobody is somebody")
	}
}

func TestPaths(t *testing.T) {
	b := open(t, t.TempDir())
	add(t, b, entry("aps", "10.5.0.0/24"))
	add(t, b, entry("one", "10.6.0.9/32"))
	for _, addr := range []string{"10.5.0.77", "10.6.0.9", "::ffff:10.5.0.77"} {
		a := netip.MustParseAddr(addr)
		n, _ := b.Find(a)
		found, at, ok := b.ByPath(n.Path(a))
		if !ok || found.Name != n.Name || at != a.Unmap() {
			t.Errorf("%s: path %q gave %q %v %v", addr, n.Path(a), found.Name, at, ok)
		}
	}
	for _, path := range []string{"", "aps", "aps@", "aps@10.9.0.1", "aps@x", "one@10.6.0.9", "two", "@10.5.0.1"} {
		if n, at, ok := b.ByPath(path); ok {
			t.Errorf("%q gave %q at %v", path, n.Name, at)
		}
	}
}

func TestByLogin(t *testing.T) {
	b := open(t, t.TempDir())
	n := entry("aps", "10.5.0.0/24")
	n.Login = []string{"Hotspot.Zone", "10.1.0.1:3990", "[2001:db8::1]:80"}
	add(t, b, n)
	for host, want := range map[string]bool{"hotspot.zone": true, "HOTSPOT.zone.": true, "10.1.0.1:3990": true, "10.1.0.1": false,
		"[2001:DB8::1]:80": true, "hotspot.zone.evil.example": false, "": false} {
		if _, ok := b.ByLogin(host); ok != want {
			t.Errorf("%q: %v", host, ok)
		}
	}
	other := entry("other", "10.6.0.0/24")
	other.Login = []string{"10.1.0.1:3990"}
	if err := b.Add(other, false); !errors.Is(err, ErrLoginTaken) {
		t.Errorf("the same login host: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	add(t, b, entry("one", "10.5.0.9/32"))
	before, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*NAS){
		"no name":          func(n *NAS) { n.Name = "" },
		"long name":        func(n *NAS) { n.Name = strings.Repeat("a", 33) },
		"capital":          func(n *NAS) { n.Name = "Roof" },
		"at":               func(n *NAS) { n.Name = "a@b" },
		"taken":            func(n *NAS) { n.Name = "one" },
		"no address":       func(n *NAS) { n.Prefix = netip.Prefix{} },
		"everybody":        func(n *NAS) { n.Prefix = netip.MustParsePrefix("0.0.0.0/0") },
		"everybody in v6":  func(n *NAS) { n.Prefix = netip.MustParsePrefix("::ffff:0.0.0.0/96") },
		"multicast":        func(n *NAS) { n.Prefix = netip.MustParsePrefix("224.0.0.1/32") },
		"same address":     func(n *NAS) { n.Prefix = netip.MustParsePrefix("::ffff:10.5.0.9/128") },
		"no secret":        func(n *NAS) { n.Secret = nil },
		"long secret":      func(n *NAS) { n.Secret = Secret(strings.Repeat("ab3", 43)) },
		"no text":          func(n *NAS) { n.Secret = Secret("\xff\xfe3-82qa-zp5t-w7x") },
		"untypable":        func(n *NAS) { n.Secret = Secret("k3mv-82qa\tzp5t-w7") },
		"trailing space":   func(n *NAS) { n.Secret = Secret(good + " ") },
		"vendor":           func(n *NAS) { n.Vendor = "mikrotek" },
		"no vendor":        func(n *NAS) { n.Vendor = "" },
		"require":          func(n *NAS) { n.RequireMA = "maybe" },
		"short interim":    func(n *NAS) { n.Interim = 59 * time.Second },
		"long interim":     func(n *NAS) { n.Interim = 25 * time.Hour },
		"part of a second": func(n *NAS) { n.Interim = 61500 * time.Millisecond },
		"uam secret":       func(n *NAS) { n.UAMSecret = Secret("x") },
		"login with path":  func(n *NAS) { n.Login = []string{"http://x"} },
		"login with port":  func(n *NAS) { n.Login = []string{"x:99999"} },
		"login of nobody":  func(n *NAS) { n.Login = []string{"@x"} },
		"empty login":      func(n *NAS) { n.Login = []string{""} },
	}
	for name, change := range tests {
		n := entry("two", "10.5.0.10/32")
		change(&n)
		if err := b.Add(n, true); err == nil {
			t.Errorf("%s: added", name)
		} else if strings.Contains(err.Error(), good) {
			t.Errorf("%s: the message has the secret: %v", name, err)
		}
	}
	if after, err := os.ReadFile(filepath.Join(dir, FileName)); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file changed: %v", err)
	}
	if len(b.List()) != 1 {
		t.Errorf("the book has %v", b.List())
	}
}

func TestWeakSecrets(t *testing.T) {
	b := open(t, t.TempDir())
	for i, weak := range []string{"x", "fifteen-octets1", "aaaaaaaaaaaaaaaaaaaa", "abababababababababab", "testing123testing123",
		"TESTING123-password", "1234567890123456", "abcdefghijklmnopqrst", "zonegate-mikrotik-2026", "aaaaaaaabbbbbbbbcccccccc"} {
		n := entry(fmt.Sprintf("n%d", i), fmt.Sprintf("10.0.0.%d/32", i+1))
		n.Secret = Secret(weak)
		if err := b.Add(n, false); !errors.Is(err, ErrWeakSecret) {
			t.Errorf("%q: %v", weak, err)
		}
		if err := b.Add(n, true); err != nil {
			t.Errorf("%q forced: %v", weak, err)
		}
	}
	if got := len(open(t, b.dir).List()); got != 10 {
		t.Errorf("a forced secret is not read again: %d", got)
	}
	for _, fine := range []string{good, "Kfz-Brief 77 im Schrank", "ce3f4b0e1d9a8c77"} {
		if err := Secret(fine).Weak(); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
}

func TestNewSecret(t *testing.T) {
	source := make([]byte, 32)
	for i := range source {
		source[i] = byte(i * 7)
	}
	s, err := NewSecret(bytes.NewReader(source))
	if err != nil || len(s) != 32 || s.validate() != nil || s.Weak() != nil {
		t.Fatalf("%q: %v %v %v", string(s), err, s.validate(), s.Weak())
	}
	if _, err := NewSecret(bytes.NewReader(source[:31])); err == nil {
		t.Error("drawn from too little")
	}
}

func TestSecretStaysHidden(t *testing.T) {
	n := entry("one", "10.5.0.9/32")
	n.UAMSecret = n.Secret
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "nas", n, "secret", n.Secret)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "nas", n, "secret", n.Secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, n.Secret, n, &n)
	}
	if err := json.NewEncoder(&out).Encode(n); err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{good, fmt.Sprintf("%x", good), fmt.Sprintf("%X", good), fmt.Sprintf("%d", []byte(good)), "azNtdi04Mn"} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("shown as %q in %s", shown, out.String())
		}
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	line := `{"name":"one","prefix":"10.5.0.9","secret":"k3mv-82qa-zp5t-w7","vendor":"mikrotik"}`
	tests := map[string]struct{ content, says string }{
		"empty":          {"", "EOF"},
		"torn":           {`{"version":1,"nas":[{"name":"on`, "repair"},
		"zeros":          {string(make([]byte, 400)), "repair"},
		"after the end":  {`{"version":1,"nas":[]}x`, "after its end"},
		"null":           {`null`, "version is 0"},
		"newer":          {`{"version":2,"nas":[]}`, "version is 2"},
		"unknown field":  {`{"version":1,"nas":[],"secretz":1}`, "secretz"},
		"wrong type":     {`{"version":1,"nas":[{"coa_port":70000}]}`, "coa_port"},
		"wrong entry":    {`{"version":1,"nas":[` + line + `,{"name":"two","prefix":"10.5.0.10","secret":"x","vendor":"y"}]}`, `entry 2 ("two")`},
		"same name":      {`{"version":1,"nas":[` + line + `,` + line + `]}`, `entry 2 ("one")`},
		"wrong prefix":   {`{"version":1,"nas":[{"name":"a","prefix":"10.5.0.900","secret":"x","vendor":"y"}]}`, `"10.5.0.900"`},
		"too many bits":  {`{"version":1,"nas":[{"name":"a","prefix":"10.5.0.0/33","secret":"x","vendor":"y"}]}`, "10.5.0.0/33"},
		"interim of 30s": {`{"version":1,"nas":[{"name":"a","prefix":"10.5.0.1","secret":"x","vendor":"unifi","interim_s":30}]}`, "interim"},
	}
	for name, tt := range tests {
		dir := t.TempDir()
		file := filepath.Join(dir, FileName)
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q and the file's name", name, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), good) {
			t.Errorf("%s: the message has the secret", name)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a folder is a book")
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(`{"version":1,"nas":[`+line+`]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, ok := open(t, dir).Find(netip.MustParseAddr("10.5.0.9")); !ok || n.InterimOrDefault() != DefaultInterim {
		t.Errorf("a hand-written entry: %+v %v", n, ok)
	}
	if fi, err := os.Stat(filepath.Join(dir, FileName)); err != nil || fi.Mode() != 0o600 {
		t.Errorf("a hand-written file keeps %v, %v", fi.Mode(), err)
	}
}

// What a crash left of a write is not in the way, and a write that fails
// changes nothing.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName+".new"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir)
	add(t, b, entry("one", "10.5.0.9/32"))
	if fi, err := os.Stat(filepath.Join(dir, FileName)); err != nil || fi.Mode() != 0o600 {
		t.Errorf("the file: %v %v", fi.Mode(), err)
	}
	// A folder that is not empty cannot be replaced or removed, not even by
	// root.
	if err := os.MkdirAll(filepath.Join(dir, FileName+".new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(entry("two", "10.5.0.10/32"), false); err == nil {
		t.Error("added without a file")
	}
	if err := b.Remove("one"); err == nil {
		t.Error("removed without a file")
	}
	if _, ok := b.ByName("two"); ok || len(b.List()) != 1 {
		t.Errorf("the book has %v", b.List())
	}
	// A signature counts all the same: it only makes things stricter.
	if err := b.MarkSigned("one"); err == nil {
		t.Error("marked without a file")
	}
	if n, _ := b.ByName("one"); !n.MustSign() {
		t.Error("a signature was forgotten")
	}
	if err := os.RemoveAll(filepath.Join(dir, FileName+".new")); err != nil {
		t.Fatal(err)
	}
	add(t, b, entry("two", "10.5.0.10/32"))
	if n, _ := open(t, dir).ByName("one"); !n.Signed {
		t.Error("the signature was not written later")
	}
}

func TestMarkSigned(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	add(t, b, entry("one", "10.5.0.9/32"))
	add(t, b, entry("aps", "10.6.0.0/24"))
	never := entry("never", "10.5.0.8/32")
	never.RequireMA = RequireNo
	add(t, b, never)
	for _, name := range []string{"one", "aps", "never", "one"} {
		if err := b.MarkSigned(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.MarkSigned("gone"); !errors.Is(err, ErrNoSuchNAS) {
		t.Errorf("an unknown name: %v", err)
	}
	for name, want := range map[string]bool{"one": true, "aps": false, "never": false} {
		if n, _ := open(t, dir).ByName(name); n.MustSign() != want {
			t.Errorf("%s must sign: %v", name, !want)
		}
	}
}

func TestBookConcurrently(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	add(t, b, entry("fixed", "10.0.0.1/32"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5 {
				name := fmt.Sprintf("n%d-%d", w, i)
				if err := b.Add(entry(name, fmt.Sprintf("10.%d.%d.0/24", w+1, i)), false); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := b.Remove(name); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for range 2000 {
				if n, ok := b.Find(netip.MustParseAddr("10.0.0.1")); !ok || n.Name != "fixed" {
					t.Errorf("lost: %v", n.Name)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := len(open(t, dir).List()); got != 1+4*2 {
		t.Errorf("%d entries", got)
	}
}

func BenchmarkFind(b *testing.B) {
	book := &Book{}
	var list []NAS
	for i := range 200 {
		list = append(list, entry(fmt.Sprintf("n%d", i), fmt.Sprintf("10.0.%d.1/32", i)))
	}
	for i := range 8 {
		list = append(list, entry(fmt.Sprintf("r%d", i), fmt.Sprintf("10.%d.0.0/16", i+1)))
	}
	book.page.Store(newPage(list))
	addr := netip.MustParseAddr("10.0.77.1")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := book.Find(addr); !ok {
			b.Fatal("lost")
		}
	}
}
