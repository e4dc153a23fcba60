package radius

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonegate/radius/nas"
)

// serveZone puts a zone behind real sockets and returns where it listens.
func serveZone(t *testing.T, z *zone) (auth, acct netip.AddrPort) {
	t.Helper()
	book, err := nas.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	err = book.Add(nas.NAS{
		Name: "tower", Prefix: netip.MustParsePrefix("127.0.0.1/32"), Secret: nas.Secret(testSecret), Vendor: nas.MikroTik,
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan struct{})
	local := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	s := &Server{
		Gate: z.gate, Book: book, Tickets: z.tickets, Auth: local, Acct: local, Language: English,
		Listening: func(a, b []netip.AddrPort) {
			auth, acct = a[0], b[0]
			close(listening)
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-listening:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return auth, acct
}

// debian runs a program of Debian's that is a NAS, and returns what it says.
// Its status is not looked at: a refusal is a failure to it.
func debian(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Stdin = strings.NewReader(stdin)
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("install freeradius-utils and eapoltest: %v", err)
	}
	return string(out)
}

// FreeRADIUS's radclient is a client that nobody here has written: what it
// sends is right, and what it does not understand it says. It leaves out empty
// passwords.
func TestRadclient(t *testing.T) {
	z := newZone(t)
	auth, acct := serveZone(t, z)
	code := z.sell("capped")
	grant := func() string { return z.gate.Token(z.gate.Standing(phone1).Grant.Grant) }
	const device = `,Calling-Station-Id="02-00-00-00-00-01",NAS-Identifier="tower"`
	const signed = `,Message-Authenticator=0x00`
	steps := []struct {
		name, kind string
		send       func() string
		wants      []string
	}{
		{"a wrong code", "auth", func() string { return `User-Name="WRONG",User-Password=""` + device + signed },
			[]string{"Access-Reject", "This code is not right."}},
		{"pap", "auth", func() string { return fmt.Sprintf(`User-Name=%q,User-Password=""`, code) + device + signed },
			[]string{"Access-Accept", "Session-Timeout = 86400", "Mikrotik-Total-Limit = 1410065408",
				"Mikrotik-Total-Limit-Gigawords = 2", "Acct-Interim-Interval = 300", "Message-Authenticator"}},
		{"chap", "auth", func() string { return fmt.Sprintf(`User-Name=%q,CHAP-Password=%q`, code, code) + device + signed },
			[]string{"Access-Accept"}},
		{"a device", "auth", func() string {
			return `User-Name="02:00:00:00:00:01",User-Password="02:00:00:00:00:01"` + device + signed
		}, []string{"Access-Accept"}},
		{"a start", "acct", func() string {
			return `Acct-Status-Type=Start,Acct-Session-Id="s1",Class=0x` + fmt.Sprintf("%x", classPrefix+grant()) + device
		}, []string{"Accounting-Response"}},
		{"a stop", "acct", func() string {
			return `Acct-Status-Type=Stop,Acct-Session-Id="s1",Acct-Session-Time=60,Acct-Input-Octets=5,Acct-Input-Gigawords=1,Acct-Output-Octets=6,Acct-Output-Gigawords=1` + device
		}, []string{"Accounting-Response"}},
	}
	for _, step := range steps {
		to := auth
		if step.kind == "acct" {
			to = acct
		}
		out := debian(t, step.send()+"\n", "radclient", "-x", "-r", "3", "-t", "5", to.String(), step.kind, testSecret)
		for _, want := range step.wants {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: radclient does not say %q:\n%s", step.name, want, out)
			}
		}
	}
	if u := z.used(phone1); u.Up != 1<<32+5 || u.Down != 1<<32+6 {
		t.Errorf("charged %+v", u)
	}
}

// wpa_supplicant's eapol_test asks for WPA-Enterprise and must be told no at
// once, in its own protocol.
func TestEapolTest(t *testing.T) {
	auth, _ := serveZone(t, newZone(t))
	conf := filepath.Join(t.TempDir(), "eapol.conf")
	err := os.WriteFile(conf, []byte(`network={
	key_mgmt=WPA-EAP
	eap=TTLS
	identity="somebody"
	password="something"
	phase2="auth=PAP"
}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	out := debian(t, "", "eapol_test", "-c", conf, "-a", "127.0.0.1", "-p", fmt.Sprint(auth.Port()), "-s", testSecret, "-t", "20", "-M", station1)
	for _, want := range []string{"code=3 (Access-Reject)", "CTRL-EVENT-EAP-FAILURE"} {
		if !strings.Contains(out, want) {
			t.Errorf("eapol_test does not say %q:\n%s", want, out)
		}
	}
}
