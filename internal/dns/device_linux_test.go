package dns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
)

// helperVar makes the test binary run a server on lan0 of the namespace that
// it is started in, until its standard input ends.
const helperVar = "ZONEGATE_DNS_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVar) != "" {
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, "helper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func helper() error {
	up, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := up.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			r := &request{raw: buf[:n]}
			if r.msg.Unpack(r.raw) == nil {
				_, _ = up.WriteToUDPAddrPort(good(r)[0], from)
			}
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	s := &Server{
		Device: "lan0", Port: 2053, Name: "portail.awa.example",
		Upstreams: []netip.AddrPort{netip.MustParseAddrPort(up.LocalAddr().String())},
		Rate:      1_000_000, Burst: 1_000_000,
		Log: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	}
	return s.Run(ctx)
}

// run runs a command of the test's set-up.
func run(t *testing.T, line string) {
	t.Helper()
	f := strings.Fields(line)
	if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// inside runs f on a thread in a network namespace. The thread ends with it.
func inside(t *testing.T, ns string, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		h, err := netns.GetFromName(ns)
		if err == nil {
			defer h.Close()
			err = netns.Set(h)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// try asks one question from a namespace and returns the answer, over a
// connected socket: an answer from another address than the one asked does not
// arrive.
func try(t *testing.T, ns, network, to string, msg []byte) (m dnsmessage.Message, err error) {
	t.Helper()
	inside(t, ns, func() {
		// The net package remembers the index of a zone's name for a minute,
		// and the test makes the interface anew.
		if strings.Contains(to, "%lan0") {
			dev, derr := net.InterfaceByName("lan0")
			if derr != nil {
				err = derr
				return
			}
			to = strings.Replace(to, "%lan0", fmt.Sprintf("%%%d", dev.Index), 1)
		}
		var conn net.Conn
		if conn, err = net.DialTimeout(network, to, 2*time.Second); err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
		buf := make([]byte, 1500)
		if network == "tcp" {
			if _, err = conn.Write(frame(msg)); err != nil {
				return
			}
			buf, err = readFrame(conn)
		} else {
			if _, err = conn.Write(msg); err != nil {
				return
			}
			var n int
			n, err = conn.Read(buf)
			buf = buf[:n]
		}
		if err == nil {
			err = m.Unpack(buf)
		}
	})
	return m, err
}

// eventually tries until there is an answer.
func eventually(t *testing.T, ns, network, to string, msg []byte) dnsmessage.Message {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		m, err := try(t, ns, network, to, msg)
		if err == nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("asking %s over %s: %v", to, network, err)
		}
	}
}

// TestDevice runs the server in a namespace with a LAN and a WAN, and asks from
// one on each: as customers do, whose questions to any server are redirected.
func TestDevice(t *testing.T) {
	id := os.Getpid()
	gw, phone, net2 := fmt.Sprintf("zgdns%d-gw", id), fmt.Sprintf("zgdns%d-phone", id), fmt.Sprintf("zgdns%d-wan", id)
	for _, ns := range []string{gw, phone, net2} {
		run(t, "ip netns add "+ns)
		t.Cleanup(func() { run(t, "ip netns del "+ns) })
		run(t, "ip -n "+ns+" link set lo up")
	}
	run(t, fmt.Sprintf("ip -n %s link add wan0 type veth peer name wan0 netns %s", gw, net2))
	run(t, "ip -n "+gw+" addr add 198.51.100.1/24 dev wan0")
	run(t, "ip -n "+gw+" link set wan0 up")
	run(t, "ip -n "+net2+" addr add 198.51.100.2/24 dev wan0")
	run(t, "ip -n "+net2+" link set wan0 up")
	run(t, "ip -n "+net2+" route add 192.168.77.0/24 via 198.51.100.1")

	// The server is started before there is a LAN, as at boot.
	cmd := exec.Command("ip", "netns", "exec", gw, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), helperVar+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		for range lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	if line := <-lines; !strings.Contains(line, "waiting for the interface") {
		t.Fatalf("the server says %q", line)
	}

	lan := func() {
		run(t, fmt.Sprintf("ip -n %s link add lan0 type veth peer name lan0 netns %s", gw, phone))
		run(t, "ip -n "+gw+" addr add 192.168.77.1/24 dev lan0")
		run(t, "ip -n "+gw+" addr add 192.168.77.250/24 dev lan0")
		run(t, "ip -n "+gw+" addr add fd00:77::1/64 dev lan0 nodad")
		run(t, "ip -n "+gw+" addr add fe80::77/64 dev lan0 nodad")
		run(t, "ip -n "+gw+" link set lan0 up")
		run(t, "ip -n "+phone+" addr add 192.168.77.9/24 dev lan0")
		run(t, "ip -n "+phone+" addr add fd00:77::9/64 dev lan0 nodad")
		run(t, "ip -n "+phone+" addr add fe80::9/64 dev lan0 nodad")
		run(t, "ip -n "+phone+" link set lan0 up")
		run(t, "ip -n "+phone+" route add default via 192.168.77.1")
	}
	lan()
	run(t, "ip netns exec "+gw+" nft add table ip t")
	run(t, "ip netns exec "+gw+" nft add chain ip t pre { type nat hook prerouting priority -100 ; }")
	run(t, "ip netns exec "+gw+" nft add rule ip t pre iifname lan0 udp dport 53 redirect to :2053")
	run(t, "ip netns exec "+gw+" nft add rule ip t pre iifname lan0 tcp dport 53 redirect to :2053")

	q := question("www.example.org.", dnsmessage.TypeA)
	check := func() {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			for _, to := range []string{
				"192.168.77.1:2053", "192.168.77.250:2053", "[fd00:77::1]:2053", "[fe80::77%lan0]:2053",
				"8.8.8.8:53", // redirected
			} {
				wantAddress(t, eventually(t, phone, network, to, q))
			}
		}
	}
	check()
	if m := eventually(t, phone, "udp", "8.8.8.8:53", question("portail.awa.example.", dnsmessage.TypeAAAA)); len(m.Answers) != 1 {
		t.Errorf("the portal has %d IPv6 addresses, want the one that is not link-local", len(m.Answers))
	}

	// From the internet, nothing answers: neither at the WAN address, nor at
	// the LAN address, which the kernel would take from any interface.
	for _, network := range []string{"udp", "tcp"} {
		for _, to := range []string{"198.51.100.1:2053", "192.168.77.1:2053"} {
			if _, err := try(t, net2, network, to, q); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s over %s from the internet: got %v, want it refused", to, network, err)
			}
		}
	}

	// The bridge is made anew, under the same name, as on a reload of the
	// network.
	run(t, "ip -n "+gw+" link del lan0")
	lan()
	check()
}
