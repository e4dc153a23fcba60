package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"zonegate/hub"
	"zonegate/sync/api"
)

// childVariable makes this test program a server on pushes in memory. Its
// memory is then its own.
const childVariable = "HUB_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if stopDatabase != nil {
		if err := stopDatabase(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func child() error {
	raiseFiles()
	debug.SetGCPercent(40) // as zonehub has it
	cert, _ := testCertificate()
	feed := newFakeFeed()
	s := New(Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	s.fanout.feed, s.authenticate = feed, feed.authenticate
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return s.Run(ctx, l) })
	for !s.fanout.isReady() && ctx.Err() == nil { // before that a stream is answered 503
		time.Sleep(time.Millisecond)
	}
	fmt.Printf("%s\n%s", l.Addr(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
	fmt.Println("end")
	g.Go(func() error {
		// Each line asks for something.
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			switch in.Text() {
			case "push":
				feed.message(hub.Everybody)
			case "memory":
				debug.FreeOSMemory()
				fmt.Println("done")
			case "streams":
				fmt.Println(s.Streams())
			}
		}
		return nil
	})
	return g.Wait()
}

func raiseFiles() {
	const wanted = 1 << 17
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: wanted, Max: wanted})
}

// TestManyStreams opens 1,000 streams over TLS (HUB_STREAMS says another
// number), each beside a kept connection for calls, as a gateway has them. It
// prints what that costs, and holds that a push comes to all.
func TestManyStreams(t *testing.T) {
	streams := 1000
	config := &tls.Config{InsecureSkipVerify: true, CurvePreferences: quickCurves}
	if v := os.Getenv("HUB_STREAMS"); v != "" {
		var err error
		if streams, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
		raiseFiles()
		config.CurvePreferences = nil // as gateways have it; the server keeps their longer greeting
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1")
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
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}()
	answers := bufio.NewReader(stdout)
	line := func() string {
		s, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(s)
	}
	address := line()
	for line() != "end" {
	}
	ask := func(what string) string {
		fmt.Fprintln(stdin, what)
		return line()
	}
	before := resident(t, cmd.Process.Pid)

	conns, calls := make([]*tls.Conn, streams), make([]*tls.Conn, streams)
	begun := time.Now()
	var g errgroup.Group
	g.SetLimit(16)
	for n := range streams {
		g.Go(func() (err error) {
			if conns[n], err = tls.Dial("tcp", address, config); err != nil {
				return err
			}
			_, err = fmt.Fprintf(conns[n], "GET %s%s HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer gw-%d\r\n\r\n", Base, api.PathEvents, n)
			if err != nil {
				return err
			}
			if calls[n], err = tls.Dial("tcp", address, config); err != nil {
				return err
			}
			return callOnce(calls[n])
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	opened := time.Since(begun)
	waitFor(t, "all streams", func() bool { return ask("streams") == strconv.Itoa(streams) })
	after := resident(t, cmd.Process.Pid)
	t.Logf("%d streams, each with a connection for calls: %.1f s to open, %.1f KB each of %.1f MB", streams, opened.Seconds(),
		float64(after-before)/1024/float64(streams), float64(after)/(1<<20))

	if v := os.Getenv("HUB_IDLE"); v != "" {
		// How much of a core goes with comments and calls alone.
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		cpu := used(t, cmd.Process.Pid)
		begun := time.Now()
		every := time.NewTicker(api.HeartbeatEvery / time.Duration(streams))
		defer every.Stop()
		for n := 0; time.Since(begun) < d; n++ {
			<-every.C
			if err := callOnce(calls[n%streams]); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("idle for %s: %.1f %% of a core, %.1f KB each", d, 100*(used(t, cmd.Process.Pid)-cpu).Seconds()/time.Since(begun).Seconds(),
			float64(resident(t, cmd.Process.Pid)-before)/1024/float64(streams))
	}

	begun = time.Now()
	fmt.Fprintln(stdin, "push")
	g.SetLimit(64)
	for n := range streams {
		g.Go(func() error {
			conns[n].SetReadDeadline(time.Now().Add(patience))
			for r := bufio.NewReader(conns[n]); ; {
				s, err := r.ReadString('\n')
				if err != nil {
					return fmt.Errorf("stream %d: %w", n, err)
				}
				if strings.HasPrefix(s, "id: 1") {
					return nil
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("a push came to all within %.2f s", time.Since(begun).Seconds())
	for n := range streams {
		conns[n].Close()
		calls[n].Close()
	}
}

// callOnce does a call on a kept connection. It is refused, which costs the
// connection the same.
func callOnce(c *tls.Conn) error {
	body := `{"instance":"` + strings.Repeat("0", 32) + `","nonce":"AAAAAAAAAAAAAAAAAAAAAA==","uptime":1}`
	if _, err := fmt.Fprintf(c, "POST %s%s HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n%s",
		Base, api.PathHeartbeat, len(body), body); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(patience))
	var b [2048]byte
	n, err := c.Read(b[:])
	if err != nil && err != io.EOF {
		return err
	}
	if !strings.HasPrefix(string(b[:n]), "HTTP/1.1 401 ") {
		return fmt.Errorf("a call was answered with %.80q", b[:n])
	}
	return nil
}

// resident is the memory of a process that is in RAM.
func resident(t *testing.T, pid int) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseUint(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// used is the processor time of a process.
func used(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks are 100 Hz
}
