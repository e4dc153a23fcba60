package simros_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3"

	"zonegate/shaper/mikrotik/simros"
)

func TestEveryMenuOfTheTaskIsThere(t *testing.T) {
	for _, v := range []string{"6.49.18", "7.16.1"} {
		_, addr := start(t, simros.Options{Version: v})
		c := dial(t, addr)
		for _, path := range strings.Fields(`/system/resource /system/identity /system/clock /system/package /user /user/group /ip/service
			/ip/hotspot /ip/hotspot/profile /ip/hotspot/user /ip/hotspot/user/profile /ip/hotspot/active /ip/hotspot/host
			/ip/hotspot/ip-binding /ip/hotspot/cookie /ip/hotspot/walled-garden /ip/hotspot/walled-garden/ip
			/queue/simple /queue/tree /queue/type /ip/firewall/filter /ip/firewall/nat /ip/firewall/mangle /ip/firewall/address-list
			/ipv6/firewall/filter /ip/arp /ip/dhcp-server/lease /interface /interface/list /radius /radius/incoming`) {
			run(t, c, path+"/print")
			run(t, c, path+"/getall", "=.proplist=.id")
		}
	}
}

func TestFormatsOfVersions(t *testing.T) {
	wall := time.Date(2026, 9, 3, 4, 5, 6, 0, time.UTC)
	for _, c := range []struct{ version, said, date, build, packages, fq string }{
		{"6.49.18", "6.49.18 (long-term)", "sep/03/2026", "Oct/01/2024 08:00:00", "hotspot", "input does not match any value of kind"},
		{"7.8", "7.8 (stable)", "sep/03/2026", "Oct/01/2024 08:00:00", "routeros", ""},
		{"7.16.1", "7.16.1 (stable)", "2026-09-03", "2024-10-01 08:00:00", "routeros", ""},
	} {
		clock := simros.NewClock()
		r := simros.New(simros.Options{Version: c.version, Wall: wall, Clock: clock})
		clock.Advance(26*time.Hour + 3*time.Second)
		res := one(t, r, "/system/resource")
		if res["version"] != c.said || res["build-time"] != c.build || res["uptime"] != "1d2h3s" {
			t.Errorf("%s: %v", c.version, res)
		}
		clock.Advance(-26*time.Hour - 3*time.Second)
		if now := one(t, r, "/system/clock"); now["date"] != c.date || now["time"] != "04:05:06" {
			t.Errorf("%s: %v", c.version, now)
		}
		r.JumpClock(-24 * time.Hour)
		if now := one(t, r, "/system/clock"); strings.Contains(now["date"], "03") || one(t, r, "/system/resource")["uptime"] != "0s" {
			t.Errorf("%s after a jump: %v", c.version, now)
		}
		if !slices.Contains(names(r.Print("/system/package")), c.packages) {
			t.Errorf("%s packages: %v", c.version, names(r.Print("/system/package")))
		}
		_, err := r.Add("/queue/type", map[string]string{"name": "x", "kind": "fq-codel"})
		if c.fq == "" && err != nil || c.fq != "" && (err == nil || !strings.HasSuffix(err.Error(), c.fq)) {
			t.Errorf("%s: fq-codel: %v", c.version, err)
		}
	}
	if u := one(t, simros.New(simros.Options{YesNo: true}), "/user"); u["disabled"] != "no" {
		t.Errorf("yes and no: %v", u)
	}
}

func TestFirewallShapes(t *testing.T) {
	r, addr := start(t, simros.Options{})
	c := dial(t, addr)
	add(t, c, "/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related")
	add(t, c, "/ip/firewall/filter/add", "=chain=forward", "=action=drop", "=in-interface=!bridge1", "=disabled=no", "=place-before=0")
	rules := run(t, c, "/ip/firewall/filter/print")
	if len(rules) != 2 || rules[0][".id"] != "*2" || rules[0]["disabled"] != "false" || rules[0]["in-interface"] != "!bridge1" {
		t.Errorf("rules: %v", rules)
	}
	if _, ok := rules[1]["disabled"]; ok || rules[1]["bytes"] != "0" || rules[1]["log"] != "" {
		t.Errorf("a rule without settings: %v", rules[1])
	}
	refused(t, c, "input does not match any value of interface", "/ip/firewall/filter/add", "=chain=forward", "=out-interface=nosuch")
	refused(t, c, "input does not match any value of action", "/ipv6/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection")
	add(t, c, "/ip/firewall/address-list/add", "=list=l", "=address=10.0.0.1/32")
	refused(t, c, "failure: already have such entry", "/ip/firewall/address-list/add", "=list=l", "=address=10.0.0.1")
	add(t, c, "/ip/firewall/address-list/add", "=list=l", "=address=10.0.0.1", "=disabled=yes")
	add(t, c, "/ip/dhcp-server/lease/add", "=address=10.5.50.9", "=mac-address=aa:00:00:00:00:01", "=server=all")
	if l := run(t, c, "/ip/dhcp-server/lease/print")[0]; l["server"] != "" || l["mac-address"] != "AA:00:00:00:00:01" || l["status"] != "waiting" {
		t.Errorf("lease: %v", l)
	}
	refused(t, c, "failure: already have static lease with this IP address", "/ip/dhcp-server/lease/add", "=address=10.5.50.9", "=mac-address=AA:00:00:00:00:02")
	if s := r.Print("/ip/service")[0]; s[".id"] != "*0" || s["name"] != "telnet" {
		t.Errorf("the first service: %v", s)
	}
	add(t, c, "/radius/add", "=address=10.0.0.2", "=secret=x", "=service=hotspot", "=timeout=1s500ms")
	if got := run(t, c, "/radius/print")[0]; got["timeout"] != "1s500ms" || got["authentication-port"] != "1812" {
		t.Errorf("radius: %v", got)
	}
	run(t, c, "/radius/incoming/set", "=accept=yes")
	if got := run(t, c, "/radius/incoming/print")[0]; got["accept"] != "true" || got["port"] != "3799" {
		t.Errorf("radius incoming: %v", got)
	}
}

func TestVerbs(t *testing.T) {
	r, addr := start(t, simros.Options{})
	c := dial(t, addr)
	for _, n := range []string{"a", "b", "c"} {
		add(t, c, "/queue/simple/add", "=name="+n, "=target=10.0.0.1")
	}
	run(t, c, "/queue/simple/move", "=numbers=c,b", "=destination=a")
	if got := order(r, "/queue/simple"); got != "c b a" {
		t.Errorf("moved: %s", got)
	}
	run(t, c, "/queue/simple/move", "=.id=c")
	if got := order(r, "/queue/simple"); got != "b a c" {
		t.Errorf("moved to the end: %s", got)
	}
	run(t, c, "/queue/simple/disable", "=numbers=a,b")
	if got := add(t, c, "/queue/simple/print", "=count-only=", "?disabled=true"); got != "2" {
		t.Errorf("disabled: %s", got)
	}
	run(t, c, "/queue/simple/enable", "=.id=a")
	run(t, c, "/queue/simple/comment", "=.id=a", "=comment=mine")
	if got := add(t, c, "/queue/simple/get", "=.id=a", "=value-name=comment"); got != "mine" {
		t.Errorf("get: %s", got)
	}
	run(t, c, "/queue/simple/unset", "=.id=a", "=value-name=comment")
	if got := add(t, c, "/queue/simple/find", "?comment"); got != "" {
		t.Errorf("find: %s", got)
	}
	add(t, c, "/queue/simple/add", "=copy-from=a", "=name=d", "=max-limit=3M")
	if q := item(t, r, "/queue/simple", "d"); q["target"] != "10.0.0.1/32" || q["max-limit"] != "3000000/3000000" {
		t.Errorf("copy: %v", q)
	}
	add(t, c, "/queue/simple/add", "=target=10.0.0.2")
	item(t, r, "/queue/simple", "queue1")
	run(t, c, "/queue/simple/remove", "=.id=a,b,c,d,queue1")
	none(t, r, "/queue/simple")
	r.AllowDuplicates("/ip/hotspot/user", true)
	add(t, c, "/ip/hotspot/user/add", "=name=twin")
	add(t, c, "/ip/hotspot/user/add", "=name=twin")
	if got := add(t, c, "/ip/hotspot/user/print", "=count-only=", "?name=twin"); got != "2" {
		t.Errorf("twins: %s", got)
	}
	run(t, c, "/system/identity/set", "=name=Cadjehoun")
	if got := run(t, c, "/system/identity/print")[0]["name"]; got != "Cadjehoun" {
		t.Errorf("identity: %s", got)
	}
}

// go-routeros's own listen, its cancel and its reading of .dead.
func TestListenWithGoRouterOS(t *testing.T) {
	r, addr := start(t, simros.Options{})
	c := dial(t, addr)
	other := dial(t, addr) // the asynchronous client may lose an answer that comes at once
	listen, err := c.Listen("/ip/hotspot/active/listen", "=.proplist=.id,user")
	if err != nil {
		t.Fatal(err)
	}
	for r.Commands()["/ip/hotspot/active/listen"] == 0 {
		run(t, other, "/system/identity/print")
	}
	must(t, err2(r.Add("/ip/hotspot/user", map[string]string{"name": "g", "password": "p"})))
	must(t, r.Appear(phone, phoneIP))
	must(t, r.Login(phone, "g", "p"))
	if re := <-listen.Chan(); re.Map["user"] != "g" || re.Map[".id"] != "*A05320A" {
		t.Errorf("login: %v", re)
	}
	r.Logout(phone)
	if re := <-listen.Chan(); re.Map[".dead"] != "yes" || re.Map[".id"] != "*A05320A" {
		t.Errorf("logout: %v", re)
	}
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		listen.Cancel() // its own answer may be lost, so only its effect is looked at
	}()
	for range listen.Chan() {
	}
	if err := listen.Err(); err != nil || listen.Done.Map["category"] != "2" {
		t.Errorf("after cancel: %v, %v", err, listen.Done)
	}
	c.Close()
	<-cancelled
}

func TestOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	r := simros.New(simros.Options{User: "zonegate", Password: "s3cret"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, l) }()
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	c, err := routeros.DialTLSTimeout(l.Addr().String(), "zonegate", "s3cret", &tls.Config{RootCAs: pool}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "/system/resource/print")
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serving: %v", err)
	}
}

func TestLoginPage(t *testing.T) {
	r, _ := zone(t, simros.Options{Portal: "http://portal.zone/?z=1"}, nil, nil)
	page := r.LoginPage()
	get := func(target, from string) *http.Response {
		q := httptest.NewRequest(http.MethodGet, target, nil)
		q.RemoteAddr = from + ":40000"
		w := httptest.NewRecorder()
		page.ServeHTTP(w, q)
		return w.Result()
	}
	to, err := get("http://example.org/a?b=c", phoneIP).Location()
	if err != nil || to.Host != "10.5.50.1" || to.Query().Get("dst") != "http://example.org/a?b=c" {
		t.Fatalf("a captured request: %v, %v", to, err)
	}
	to, err = get(to.String(), phoneIP).Location()
	if err != nil || to.Host != "portal.zone" {
		t.Fatalf("the login page: %v, %v", to, err)
	}
	for name, want := range map[string]string{"z": "1", "mac": phone, "ip": phoneIP, "link-orig": "http://example.org/a?b=c", "link-login-only": "http://10.5.50.1/login", "error": ""} {
		if got := to.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	login := "http://10.5.50.1/login?" + url.Values{"username": {"g"}, "password": {"p"}, "dst": {"http://example.org/"}}.Encode()
	to, err = get(strings.Replace(login, "password=p", "password=x", 1), phoneIP).Location()
	if err != nil || to.Query().Get("error") != "invalid username or password" {
		t.Errorf("a wrong password: %v, %v", to, err)
	}
	to, err = get(login, phoneIP).Location()
	if err != nil || to.String() != "http://example.org/" {
		t.Errorf("a login: %v, %v", to, err)
	}
	if a := one(t, r, "/ip/hotspot/active"); a["user"] != "g" || a["login-by"] != "http-pap" {
		t.Errorf("active: %v", a)
	}
	get("http://10.5.50.1/logout", phoneIP)
	none(t, r, "/ip/hotspot/active")
	must(t, r.Set("/ip/hotspot/profile", "hsprof1", map[string]string{"login-by": "http-chap"}))
	to, err = get(login, phoneIP).Location()
	if err != nil || !strings.HasPrefix(to.Query().Get("error"), "web browser did not send challenge response") {
		t.Errorf("in clear where CHAP is asked for: %v, %v", to, err)
	}
}
