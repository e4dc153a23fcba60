package naszone_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/lab/fakenas"
	"zonegate/internal/lab/naszone"
	"zonegate/radius/nas"
)

const secret = "a secret of the lab"

// roleVar has this test binary be a zone in the directory that it names.
const roleVar = "NASZONE_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(roleVar); dir != "" {
		if err := beZone(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const guests = 200

type ready struct {
	Auth, Acct netip.AddrPort
	Codes      []string
}

func options(dir string) naszone.Options {
	plan := naszone.DayPlan
	plan.DataCap = 0
	return naszone.Options{Dir: dir, Plan: plan, NAS: nas.NAS{Secret: nas.Secret(secret), Strict: true}}
}

// beZone works until somebody kills the process.
func beZone(dir string) error {
	z, err := naszone.Open(options(dir))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	codes, err := z.Sell(ctx, guests)
	if err != nil {
		return errors.Join(err, <-ended)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready{z.Auth, z.Acct, codes}); err != nil {
		return err
	}
	return <-ended
}

// A customer is what a NAS knows of its guest.
type customer struct {
	code, mac string
	class     []byte
	session   int
	step      int
	octets    uint64 // of the session so far
	// Of what was answered: by session, the octets of the last report, and
	// whether it was a stop.
	answered map[int]answered
}

type answered struct {
	octets  uint64
	stopped bool
}

func (c *customer) identity(r *fakenas.Request) {
	r.Text(fakenas.UserName, c.code)
	r.Text(fakenas.NASIdentifier, "nas")
	r.Text(fakenas.CallingStationID, c.mac)
}

const sockets = 64

// turns lets each socket look after customers of its own.
type turns struct {
	customers []*customer
	next      [sockets]int
	serving   [sockets]*customer
}

func (s *turns) turn(socket int) *customer {
	c := s.customers[s.next[socket]*sockets+socket]
	if s.next[socket]++; s.next[socket]*sockets+socket >= len(s.customers) {
		s.next[socket] = 0
	}
	s.serving[socket] = c
	return c
}

// A login script logs everybody in, one after the other.
type logins struct {
	customers []*customer
	serving   [sockets]*customer
}

func (s *logins) Next(socket int, id byte, r *fakenas.Request) byte {
	c := s.customers[0]
	s.customers, s.serving[socket] = s.customers[1:], c
	r.Begin(fakenas.AccessRequest, id, []byte(secret))
	r.Sign()
	c.identity(r)
	r.Password(c.code)
	return fakenas.AccessAccept
}

func (s *logins) Answered(socket int, answer []byte) {
	s.serving[socket].class = fakenas.Attributes(answer, fakenas.Class)[0]
}

// A report script has everybody begin and end sessions for ever.
type reports struct {
	turns
	sent    [sockets]answered
	answers int
	// enough is called with each number of answers.
	enough func(answers int)
}

func (s *reports) Next(socket int, id byte, r *fakenas.Request) byte {
	c := s.turn(socket)
	kind := uint32(fakenas.InterimUpdate)
	switch c.step {
	case 0:
		kind = fakenas.Start
		c.session++
		c.octets = 0
	case 4:
		kind = fakenas.Stop
	}
	r.Begin(fakenas.AccountingRequest, id, []byte(secret))
	r.Uint32(fakenas.AcctStatusType, kind)
	r.Text(fakenas.AcctSessionID, fmt.Sprintf("s%d-%s", c.session, c.code))
	c.identity(r)
	r.Octets(fakenas.Class, c.class)
	if kind != fakenas.Start {
		c.octets += 3e9 // past 32 bits before the end
		r.Uint32(fakenas.AcctSessionTime, uint32(60*c.step))
		r.Uint32(fakenas.AcctInputOctets, 0)
		r.Uint32(fakenas.AcctInputGigawords, 0)
		r.Uint32(fakenas.AcctOutputOctets, uint32(c.octets))
		r.Uint32(fakenas.AcctOutputGigawords, uint32(c.octets>>32))
	}
	s.sent[socket] = answered{c.octets, kind == fakenas.Stop}
	c.step = (c.step + 1) % 5
	return fakenas.AccountingResponse
}

func (s *reports) Answered(socket int, _ []byte) {
	c := s.serving[socket]
	c.answered[c.session] = s.sent[socket]
	s.answers++
	s.enough(s.answers)
}

// load sends requests until so many were answered or the server is gone.
func load(t *testing.T, to netip.AddrPort, requests int, script fakenas.Script) (*fakenas.Result, error) {
	t.Helper()
	from, err := fakenas.Open(to, sockets)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	return fakenas.Load{From: from, Wait: time.Second, Tries: 60, Requests: requests}.Run(t.Context(), script)
}

// TestKilledUnderLoad kills a zone without warning while 64 reports are under
// way: whatever it has answered is there when it is opened again.
func TestKilledUnderLoad(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVar+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill := func() {
		if !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	defer func() {
		kill()
		_ = cmd.Wait() // it was killed
	}()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var up ready
	if err == nil {
		err = json.Unmarshal(line, &up)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	customers := make([]*customer, guests)
	for i := range customers {
		customers[i] = &customer{code: up.Codes[i], mac: fmt.Sprintf("02-5A-47-00-00-%02X", i), answered: map[int]answered{}}
	}
	if r, err := load(t, up.Auth, guests, &logins{customers: customers}); err != nil || r.Answered < guests {
		t.Fatalf("logging in: %+v, %v", r, err)
	}

	const enough = 5000
	script := &reports{turns: turns{customers: customers}, enough: func(n int) {
		if n == enough {
			kill()
		}
	}}
	if _, err := load(t, up.Acct, 100*enough, script); err == nil || script.answers < enough {
		t.Fatalf("%d answers, %v: %s", script.answers, err, &stderr)
	}
	_ = cmd.Wait() // it was killed

	z, err := naszone.Open(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	found := map[string]zonegate.Session{}
	for _, x := range z.Store.State().Whole().Sessions {
		found[x.Key] = x
	}
	starts, stops := 0, 0
	for _, c := range customers {
		for n, a := range c.answered {
			key := fmt.Sprintf("s%d-%s@nas", n, c.code)
			x, ok := found[key]
			starts++
			if a.stopped {
				stops++
			}
			switch {
			case !ok:
				t.Errorf("session %s was answered and is not there", key)
			case a.stopped && !x.Over:
				t.Errorf("session %s had its stop answered and is not over: %+v", key, x)
			case x.Octets.Total() < a.octets:
				t.Errorf("session %s had %d octets answered and has %d", key, a.octets, x.Octets.Total())
			}
		}
	}
	if stops == 0 || starts == stops {
		t.Errorf("%d sessions, %d of them stopped: the test tells nothing", starts, stops)
	}
	t.Logf("%d answers; %d sessions, %d of them stopped", script.answers, starts, stops)
}
