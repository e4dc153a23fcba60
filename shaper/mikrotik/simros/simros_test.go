package simros_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3"

	"zonegate/shaper/mikrotik/simros"
)

const (
	phone             = "02:00:00:00:00:0A"
	phone2            = "02:00:00:00:00:0B"
	phoneIP, phone2IP = "10.5.50.10", "10.5.50.11"
)

// start serves a router on loopback until the test ends.
func start(t *testing.T, o simros.Options) (*simros.Router, string) {
	t.Helper()
	if o.User == "" {
		o.User, o.Password = "zonegate", "s3cret"
	}
	r := simros.New(o)
	return r, serve(t, r)
}

func serve(t *testing.T, r *simros.Router) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return l.Addr().String()
}

// dial logs in with go-routeros.
func dial(t *testing.T, addr string) *routeros.Client {
	t.Helper()
	c, err := routeros.DialTimeout(addr, "zonegate", "s3cret", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t *testing.T, c *routeros.Client, words ...string) []map[string]string {
	t.Helper()
	reply, err := c.RunArgs(words)
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	var out []map[string]string
	for _, re := range reply.Re {
		out = append(out, re.Map)
	}
	return out
}

func add(t *testing.T, c *routeros.Client, words ...string) string {
	t.Helper()
	reply, err := c.RunArgs(words)
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return reply.Done.Map["ret"]
}

// refused runs a command that must end in that message.
func refused(t *testing.T, c *routeros.Client, message string, words ...string) {
	t.Helper()
	_, err := c.RunArgs(words)
	if err == nil || err.Error() != "from RouterOS device: "+message {
		t.Errorf("%v: got %v, want %q", words, err, message)
	}
}

// raw is a client that shows the words as they come.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &raw{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (c *raw) send(words ...string) {
	c.t.Helper()
	var b []byte
	for _, w := range words {
		if len(w) >= 0x80 {
			b = append(b, byte(len(w)>>8)|0x80)
		}
		b = append(append(b, byte(len(w))), w...)
	}
	if _, err := c.conn.Write(append(b, 0)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns one sentence, words joined by spaces.
func (c *raw) read() string {
	c.t.Helper()
	s, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *raw) next() (string, error) {
	var words []string
	for {
		n, err := c.in.ReadByte()
		if err != nil {
			return "", err
		}
		size := int(n)
		if n >= 0x80 {
			low, err := c.in.ReadByte()
			if err != nil {
				return "", err
			}
			size = int(n&0x3F)<<8 | int(low)
		}
		if size == 0 {
			return strings.Join(words, " "), nil
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(c.in, b); err != nil {
			return "", err
		}
		words = append(words, string(b))
	}
}

func (c *raw) want(sentences ...string) {
	c.t.Helper()
	for _, want := range sentences {
		if got := c.read(); got != want {
			c.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func (c *raw) login() *raw {
	c.t.Helper()
	c.send("/login", "=name=zonegate", "=password=s3cret")
	c.want("!done")
	return c
}

func TestASaleOnTheRouter(t *testing.T) {
	clock := simros.NewClock()
	r, addr := start(t, simros.Options{Clock: clock})
	c := dial(t, addr)
	add(t, c, "/ip/hotspot/user/profile/add", "=name=p1", "=rate-limit=512k/2M 0/0 0/0 0/0 8 128k/512k", "=shared-users=1")
	id := add(t, c, "/ip/hotspot/user/add", "=name=g7", "=password=x", "=profile=p1", "=limit-bytes-total=1000000", "=limit-uptime=1h")
	if !strings.HasPrefix(id, "*") {
		t.Fatalf("id %q", id)
	}
	if err := r.Appear(phone, phoneIP); err != nil {
		t.Fatal(err)
	}
	if up, down := r.Traffic(phone, 1000, 1000); up != 0 || down != 0 {
		t.Fatalf("a stranger passed %d/%d", up, down)
	}
	refused(t, c, "failure: invalid username or password", "/ip/hotspot/active/login", "=user=g7", "=password=y", "=ip="+phoneIP)
	run(t, c, "/ip/hotspot/active/login", "=user=g7", "=password=x", "=ip="+phoneIP, "=mac-address="+phone)
	if up, down := r.Traffic(phone, 1000, 2000); up != 1000 || down != 2000 {
		t.Fatalf("a customer passed %d/%d", up, down)
	}
	clock.Advance(90 * time.Second)
	r.Traffic(phone, 1, 1)
	active := run(t, c, "/ip/hotspot/active/print", "=.proplist=.id,user,bytes-in,bytes-out,uptime,session-time-left,limit-bytes-total")
	want := map[string]string{".id": "*A05320A", "user": "g7", "bytes-in": "1001", "bytes-out": "2001", "uptime": "1m30s", "session-time-left": "58m30s", "limit-bytes-total": "1000000"}
	if len(active) != 1 || !equal(active[0], want) {
		t.Fatalf("active: %v, want %v", active, want)
	}
	queue := run(t, c, "/queue/simple/print", "?dynamic=true")
	if len(queue) != 1 || queue[0]["max-limit"] != "512000/2000000" || queue[0]["limit-at"] != "128000/512000" ||
		queue[0]["bytes"] != "1001/2001" || queue[0]["name"] != "<hotspot-g7>" || queue[0]["target"] != phoneIP+"/32" {
		t.Fatalf("queue: %v", queue)
	}
	// The cap: what was under way passes, then the session and its cookie end.
	if up, down := r.Traffic(phone, 0, 1_000_000); up != 0 || down != 1_000_000 {
		t.Fatalf("the last packets: %d/%d", up, down)
	}
	for _, path := range []string{"/ip/hotspot/active", "/ip/hotspot/cookie", "/queue/simple"} {
		if items := r.Print(path); len(items) != 0 {
			t.Errorf("%s after the cap: %v", path, items)
		}
	}
	user := run(t, c, "/ip/hotspot/user/print", "?name=g7")
	if len(user) != 1 || user[0]["bytes-in"] != "1001" || user[0]["bytes-out"] != "1002001" || user[0]["uptime"] != "1m30s" {
		t.Fatalf("user: %v", user)
	}
	refused(t, c, "failure: user g7 has reached traffic limit", "/ip/hotspot/active/login", "=user=g7", "=password=x", "=ip="+phoneIP)
	if n := r.Commands()["/ip/hotspot/user/add"]; n != 1 {
		t.Errorf("%d commands to add a user counted", n)
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

func names(items []map[string]string) []string {
	var out []string
	for _, it := range items {
		out = append(out, it["name"])
	}
	slices.Sort(out)
	return out
}
