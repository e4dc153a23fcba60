package portal_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// freePort returns a port of 127.0.0.1 that is free now.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// Customers of NASes are served at addresses of their own, with a link or
// without one, and while the link's interface is missing.
func TestRunServesRemote(t *testing.T) {
	for _, device := range []string{"", "zgnolan0"} {
		z := newNASZone(t)
		at := freePort(t)
		z.server.Addrs, z.server.Locator, z.server.Device = nil, nil, device
		if device != "" {
			z.server.Addrs, z.server.Port = []netip.Addr{netip.MustParseAddr("192.0.2.77")}, 2050
		}
		z.server.Remote = []netip.AddrPort{at}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- z.server.Run(ctx) }()
		z.await(at.String(), done)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if status, page := get(t, client, "http://"+at.String()+"/nas/online"); status != 200 || !strings.Contains(page, "Chez Awa") {
			t.Errorf("%d %s", status, page)
		}
		if status, _ := get(t, client, "http://"+at.String()+"/"); status != 404 {
			t.Errorf("the first page: %d", status)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// The link's own address serves both, and a port that is taken is an error.
func TestRunRemoteOnTheLink(t *testing.T) {
	z := newNASZone(t)
	at := freePort(t)
	z.server.Addrs, z.server.Port = []netip.Addr{at.Addr()}, at.Port()
	z.links.known[at.Addr()] = macA
	z.server.Remote = []netip.AddrPort{at}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- z.server.Run(ctx) }()
	z.await(at.String(), done)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/", "/nas/online"} {
		if status, _ := get(t, client, "http://"+at.String()+path); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	other := newNASZone(t)
	other.server.Addrs, other.server.Remote = nil, z.server.Remote
	if err := other.server.Run(t.Context()); err == nil {
		t.Error("two portals on one port")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
