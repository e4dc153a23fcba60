package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestResolvConf(t *testing.T) {
	dir := t.TempDir()
	auto, conf := filepath.Join(dir, "auto"), filepath.Join(dir, "resolv.conf")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(0, 0)
	r := &resolvConf{paths: []string{auto, conf}, now: func() time.Time { return now }}
	want := func(addrs ...string) {
		t.Helper()
		var got []string
		for _, a := range r.servers() {
			got = append(got, a.String())
		}
		if !slices.Equal(got, addrs) {
			t.Errorf("got %q, want %q", got, addrs)
		}
	}
	want()
	write(conf, "search lan\nnameserver 127.0.0.1\n")
	want() // not looked at yet
	now = now.Add(resolvAge)
	want("127.0.0.1")
	write(auto, `# Interface wan
; old comment
nameserver 41.74.0.1
	nameserver  2001:4860:4860::8888   # trailing
nameserver fe80::1%eth0
nameserver 41.74.0.1
nameserver 0.0.0.0
nameserver example.org
nameserver
#nameserver 6.6.6.6
options ndots:1 nameserver 7.7.7.7
nameserver ::ffff:41.74.0.2
`)
	now = now.Add(resolvAge)
	want("41.74.0.1", "2001:4860:4860::8888", "fe80::1%eth0", "41.74.0.2", "127.0.0.1")
	write(auto, strings.Repeat("nameserver 41.74.0.3\n", 100))
	now = now.Add(-time.Hour) // the clock of a router
	r.looked = now.Add(-resolvAge)
	want("41.74.0.3", "127.0.0.1")
	if err := os.Remove(auto); err != nil {
		t.Fatal(err)
	}
	now = now.Add(resolvAge)
	want("127.0.0.1")
}

// TestResolvers checks which of the resolvers of the system are asked.
func TestResolvers(t *testing.T) {
	for _, tt := range []struct {
		conf string
		port uint16
		want []string
	}{
		{"nameserver 9.9.9.9\nnameserver 127.0.0.1\nnameserver 192.168.77.1\n", 2053, []string{"9.9.9.9:53"}},
		{"nameserver 127.0.0.53\n", 2053, []string{"127.0.0.53:53"}},
		{"nameserver 127.0.0.1\nnameserver 192.168.77.1\n", 53, nil},
		{"nameserver 192.168.77.2\n", 53, []string{"192.168.77.2:53"}},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(tt.conf), 0o644); err != nil {
			t.Fatal(err)
		}
		s := &Server{Device: "lan0", Port: tt.port, ResolvConf: []string{path}, LAN: func() []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix("192.168.77.1/24")}
		}}
		if err := s.prepare(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range s.resolvers() {
			got = append(got, r.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q at port %d: got %q, want %q", tt.conf, tt.port, got, tt.want)
		}
	}
}
