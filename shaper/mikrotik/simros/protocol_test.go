package simros_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3"

	"zonegate/shaper/mikrotik/simros"
)

func TestLoginOfEveryVersion(t *testing.T) {
	for _, v := range []string{"6.42.12", "6.43.2", "6.44.6", "6.49.18", "7.16.1", "7.20"} {
		t.Run(v, func(t *testing.T) {
			_, addr := start(t, simros.Options{Version: v})
			dial(t, addr) // go-routeros speaks both methods
			_, err := routeros.DialTimeout(addr, "zonegate", "wrong", 10*time.Second)
			want := "invalid user name or password (6)"
			if v == "6.42.12" {
				want = "cannot log in"
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a wrong password: %v, want %q", err, want)
			}
		})
	}
}

func TestChallengeEndsWith645(t *testing.T) {
	_, addr := start(t, simros.Options{Version: "6.49.18"})
	c := dialRaw(t, addr)
	c.send("/login")
	c.want("!trap =message=invalid user name or password (6)", "!done")
	_, addr = start(t, simros.Options{Version: "6.44.6"})
	c = dialRaw(t, addr)
	c.send("/login")
	if s := c.read(); !strings.HasPrefix(s, "!done =ret=") || len(s) != len("!done =ret=")+32 {
		t.Errorf("challenge: %q", s)
	}
	c.send("/login", "=name=zonegate", "=response=00"+strings.Repeat("0", 32))
	c.want("!trap =message=invalid user name or password (6)", "!done")
}

func TestFatal(t *testing.T) {
	_, addr := start(t, simros.Options{})
	c := dialRaw(t, addr)
	c.send("/system/identity/print")
	c.want("!fatal not logged in")
	if _, err := c.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after !fatal: %v", err)
	}
	c = dialRaw(t, addr).login()
	c.send("/quit")
	c.want("!fatal session terminated on request")
	if _, err := c.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after !fatal: %v", err)
	}
}

func TestEmptyReplies(t *testing.T) {
	for v, want := range map[string][]string{
		"6.49.18": {"!done .tag=a"},
		"7.17.2":  {"!done .tag=a"},
		"7.18":    {"!empty .tag=a", "!done .tag=a"},
	} {
		_, addr := start(t, simros.Options{Version: v})
		c := dialRaw(t, addr).login()
		c.send("/queue/simple/print", ".tag=a")
		c.want(want...)
		c.send() // an empty sentence is ignored
		c.send("/system/identity/print", "=.proplist=nothing")
		c.want("!re", "!done")
	}
}

func TestTagsCancelAndListen(t *testing.T) {
	r, addr := start(t, simros.Options{})
	c := dialRaw(t, addr).login()
	c.send("/ip/hotspot/user/listen", "=.proplist=.id,name", ".tag=2")
	// A command on the same connection is answered while listen runs, and its
	// change arrives with the listener's tag.
	got := map[string]bool{}
	for len(r.Commands()) < 3 { // login, listen and this print have arrived
		c.send("/system/identity/print", "=.proplist=name", ".tag=3")
		c.want("!re =name=MikroTik .tag=3", "!done .tag=3")
	}
	c.send("/ip/hotspot/user/add", "=name=u", ".tag=4")
	for range 2 {
		got[c.read()] = true
	}
	if !got["!done =ret=*2 .tag=4"] || !got["!re =.id=*2 =name=u .tag=2"] {
		t.Errorf("add while listening: %v", got)
	}
	c.send("/ip/hotspot/user/remove", "=.id=*2", ".tag=5")
	clear(got)
	for range 2 {
		got[c.read()] = true
	}
	if !got["!done .tag=5"] || !got["!re =.id=*2 =.dead=yes .tag=2"] {
		t.Errorf("remove while listening: %v", got)
	}
	c.send("/cancel", "=tag=2", ".tag=6")
	clear(got)
	for range 3 {
		got[c.read()] = true
	}
	for _, want := range []string{"!done .tag=6", "!trap =category=2 =message=interrupted .tag=2", "!done .tag=2"} {
		if !got[want] {
			t.Errorf("cancel: no %q in %v", want, got)
		}
	}
}

func TestParallelCommands(t *testing.T) {
	r, addr := start(t, simros.Options{})
	r.Stall("/system/resource/print", true)
	c := dialRaw(t, addr).login()
	c.send("/system/resource/print", ".tag=slow")
	c.send("/system/identity/print", ".tag=quick")
	c.want("!re =name=MikroTik .tag=quick", "!done .tag=quick")
	for r.Commands()["/system/resource/print"] == 0 { // counted when it comes in, answered or not
		c.send("/system/identity/print", ".tag=quick")
		c.want("!re =name=MikroTik .tag=quick", "!done .tag=quick")
	}
	c.send("/cancel")
	got := map[string]bool{}
	for range 3 {
		got[c.read()] = true
	}
	if !got["!trap =category=2 =message=interrupted .tag=slow"] || !got["!done .tag=slow"] || !got["!done"] {
		t.Errorf("cancel of everything: %v", got)
	}
}

func TestQueries(t *testing.T) {
	_, addr := start(t, simros.Options{})
	c := dial(t, addr)
	for _, w := range [][]string{
		{"=name=a", "=comment=zg:1", "=limit-bytes-total=5"},
		{"=name=b", "=limit-bytes-total=40"},
		{"=name=c", "=comment=", "=disabled=yes"},
	} {
		add(t, c, append([]string{"/ip/hotspot/user/add"}, w...)...)
	}
	for _, q := range []struct{ query, want string }{
		{"?name=a", "a"},
		{"?=name=a", "a"},
		{"?disabled=true", "c"},
		{"?limit-bytes-total", "a b"},
		{"?-limit-bytes-total", "c default-trial"},
		{"?>comment=", "a default-trial"},
		{"?>limit-bytes-total=5", "b"},
		{"?<limit-bytes-total=40", "a"},
		{"?name=a ?name=b", ""},
		{"?name=a ?name=b ?#|", "a b"},
		{"?name=a ?name=b ?#|!", "c default-trial"},
		{"?name=a ?#!", "b c default-trial"},
		{"?name=a ?name=b ?name=c ?#||", "a b c"},
		{"?limit-bytes-total ?name=a ?#!&", "b"},
		{"?name=a ?name=b ?#1", "a"},   // one index at the end replaces everything
		{"?name=a ?name=b ?#1.|", "a"}, // a copy of a's answer, or'ed with b's: a's own stays below
		{"?name=a ?#.&", "a"},
		{"?nothing", ""},
		{"?-nothing", "a b c default-trial"},
	} {
		got := names(run(t, c, append([]string{"/ip/hotspot/user/print"}, strings.Fields(q.query)...)...))
		if s := strings.Join(got, " "); s != q.want {
			t.Errorf("%s: %q, want %q", q.query, s, q.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	r, addr := start(t, simros.Options{Version: "7.16.1"})
	c := dial(t, addr)
	id := add(t, c, "/ip/hotspot/user/add", "=name=u", "=password=p")
	add(t, c, "/ip/hotspot/user/profile/add", "=name=zg-1")
	add(t, c, "/ip/hotspot/user/profile/add", "=name=zg-2")
	refused(t, c, "unknown parameter colour", "/ip/hotspot/user/add", "=name=v", "=colour=red")
	refused(t, c, "unknown parameter bytes-in", "/ip/hotspot/user/set", "=.id="+id, "=bytes-in=0")
	refused(t, c, "failure: already have user with this name for this server", "/ip/hotspot/user/add", "=name=u")
	add(t, c, "/queue/simple/add", "=name=q", "=target=10.0.0.1", "=max-limit=1M")
	refused(t, c, "failure: already have such name", "/queue/simple/add", "=name=q", "=target=10.0.0.1", "=max-limit=1M")
	refused(t, c, "input does not match any value of profile", "/ip/hotspot/user/add", "=name=v", "=profile=none")
	refused(t, c, "ambiguous value of profile, more than one possible value matches input", "/ip/hotspot/user/add", "=name=v", "=profile=zg")
	refused(t, c, "input does not match any value of disabled", "/ip/hotspot/user/add", "=name=v", "=disabled=maybe")
	refused(t, c, "invalid value for argument limit-bytes-total", "/ip/hotspot/user/add", "=name=v", "=limit-bytes-total=-1")
	refused(t, c, "invalid value for argument rate-limit", "/ip/hotspot/user/profile/add", "=name=v", "=rate-limit=1M/1M 0/0 0/0 0/0 9")
	refused(t, c, "missing =name=", "/ip/hotspot/user/add", "=password=x")
	refused(t, c, "missing =.id=", "/ip/hotspot/user/remove")
	refused(t, c, "value of shared-users out of range (1..2147483647)", "/ip/hotspot/user/profile/add", "=name=v", "=shared-users=0")
	refused(t, c, "failure: group has some users", "/user/group/remove", "=.id=full")
	refused(t, c, "failure: can not move object before itself", "/queue/simple/move", "=numbers=q", "=destination=q")
	refused(t, c, "no such item", "/ip/hotspot/user/remove", "=.id=nobody")
	refused(t, c, "no such item (4)", "/ip/hotspot/user/remove", "=.id=*77")
	refused(t, c, "no such command", "/ip/hotspot/active/add", "=user=u")
	refused(t, c, "no such command prefix", "/ip/hotspots/print")
	refused(t, c, "expected end of command", "/ip/hotspot/user/print", "name=u")
	r.Deny("/ip/hotspot/user/add", true)
	refused(t, c, "not enough permissions (9)", "/ip/hotspot/user/add", "=name=w")
	r.Deny("/ip/hotspot/user/add", false)
	r.Refuse("/ip/hotspot/user/add", &simros.Trap{Category: 4, Message: "failure: out of flash"})
	refused(t, c, "failure: out of flash", "/ip/hotspot/user/add", "=name=w")
	add(t, c, "/ip/hotspot/user/add", "=name=w")

	raw := dialRaw(t, addr).login()
	raw.send("/ip/hotspot/user/set", "=.id=*2", "=profile=q")
	raw.want("!trap =category=1 =message=input does not match any value of profile", "!done")
	raw.send("/ip/hotspots/print", ".tag=9")
	raw.want("!trap =category=0 =message=no such command or directory (hotspots) .tag=9",
		"!trap =category=0 =message=no such command prefix .tag=9", "!done .tag=9")

	_, addr = start(t, simros.Options{Version: "6.49.18"})
	refused(t, dial(t, addr), "unknown parameter", "/ip/hotspot/user/add", "=name=v", "=colour=red")
}

func TestGroupsOfUsers(t *testing.T) {
	r, addr := start(t, simros.Options{})
	for name, policy := range map[string]string{"look": "read,api", "noapi": "read,write,winbox", "rw": "read,write,api"} {
		if _, err := r.Add("/user/group", map[string]string{"name": name, "policy": policy}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Add("/user", map[string]string{"name": name, "group": name, "password": "p"}); err != nil {
			t.Fatal(err)
		}
	}
	as := func(name string) *routeros.Client {
		c, err := routeros.DialTimeout(addr, name, "p", 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	if _, err := routeros.DialTimeout(addr, "noapi", "p", 10*time.Second); err == nil {
		t.Error("a group without policy api logged in")
	}
	look := as("look")
	run(t, look, "/ip/hotspot/user/print")
	refused(t, look, "not enough permissions (9)", "/ip/hotspot/user/add", "=name=x")
	rw := as("rw")
	add(t, rw, "/ip/hotspot/user/add", "=name=x", "=password=hidden")
	refused(t, rw, "not enough permissions (9)", "/user/add", "=name=x", "=group=full")
	if got := run(t, rw, "/ip/hotspot/user/print", "?name=x")[0]["password"]; got != "" {
		t.Errorf("a user without policy sensitive reads %q", got)
	}
}

func TestFaultsOfTheConnection(t *testing.T) {
	r, addr := start(t, simros.Options{})
	c := dialRaw(t, addr).login()
	r.DropAfter(9)
	c.send("/system/identity/print")
	if _, err := c.next(); err == nil || errors.Is(err, io.EOF) && c.in.Buffered() > 0 {
		t.Errorf("a connection dropped in a sentence: %v", err)
	}
	c = dialRaw(t, addr).login()
	r.LoseReply("/ip/hotspot/user/add", 1)
	c.send("/ip/hotspot/user/add", "=name=lost")
	if s, err := c.next(); err == nil {
		t.Errorf("a lost reply came: %q", s)
	}
	if got := names(r.Print("/ip/hotspot/user")); len(got) != 2 {
		t.Errorf("the command whose reply was lost did nothing: %v", got)
	}
	c = dialRaw(t, addr).login()
	r.PowerOff()
	if s, err := c.next(); err == nil {
		t.Errorf("a router without power said %q", s)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a router without power answers")
		}
		conn.Close()
	}
	r.PowerOn()
	dialRaw(t, addr).login()
}
