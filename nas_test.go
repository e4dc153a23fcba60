package zonegate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// errandBook notes what NASes were told.
type errandBook struct {
	mu   sync.Mutex
	list []Errand
}

func (e *errandBook) Dispatch(x Errand) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, x)
}

// take returns what came since the last call.
func (e *errandBook) take() []Errand {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// restart runs the gate anew, with errands going to book.
func (b *bench) restart(o Options, book *errandBook) {
	b.t.Helper()
	b.stop()
	b.start(o)
	b.gate.DispatchTo(book)
}

func newNASBench(t *testing.T) (*bench, *errandBook) {
	b := newBench(t, quick)
	book := &errandBook{}
	b.restart(quick, book)
	return b, book
}

func (b *bench) admit(nas, code string, d MAC) Admission {
	b.t.Helper()
	a, err := b.gate.Admit(b.t.Context(), Login{NAS: nas, Device: d, Code: code})
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bench) report(r Report) {
	b.t.Helper()
	if err := b.gate.Report(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
}

func start(a Admission, key string) Report {
	return Report{
		NAS: a.Session.Path, Kind: ReportStart, Grant: a.Session.Grant, Device: a.Session.Device,
		Key: key, Handle: "handle of " + key,
	}
}

func interim(a Admission, key string, lasted time.Duration, up, down uint64) Report {
	r := start(a, key)
	r.Kind, r.Counted, r.Lasted, r.Octets = ReportInterim, true, lasted, Octets{up, down}
	return r
}

func stop(a Admission, key string, lasted time.Duration, up, down uint64) Report {
	r := interim(a, key, lasted, up, down)
	r.Kind = ReportStop
	return r
}

func (b *bench) used(a Admission) uint64 {
	b.t.Helper()
	bal, err := b.gate.Balance(a.Session.Grant)
	if err != nil {
		b.t.Fatal(err)
	}
	return bal.Used.Total()
}

func TestNASSession(t *testing.T) {
	b, book := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	if a.Live || a.OctetsLeft() != 10e6 || a.TimeLeft != 24*time.Hour || a.Plan.ID != "capped" || a.Session.Path != "ap" {
		t.Fatalf("%+v", a)
	}
	if id, ok := b.gate.GrantOf(a.Token); !ok || id != a.Session.Grant {
		t.Errorf("the token names %d, %v", id, ok)
	}
	b.report(start(a, "s1"))
	b.report(interim(a, "s1", 5*time.Minute, 1e6, 3e6))
	if got := b.used(a); got != 4e6 {
		t.Errorf("charged %d", got)
	}
	again := b.admit("ap", "", phone1)
	if !again.Live || again.Session.ID != a.Session.ID || again.OctetsLeft() != 6e6 {
		t.Errorf("asked again: %+v", again)
	}
	b.report(stop(a, "s1", 6*time.Minute, 1e6, 4e6))
	if st := b.gate.Standing(phone1); st.Online || st.Grant.OctetsLeft != 5e6 {
		t.Errorf("%+v", st)
	}
	if a := b.admit("ap", "", phone1); a.Live || a.OctetsLeft() != 5e6 {
		t.Errorf("the next session: %+v", a)
	}
	if e := book.take(); len(e) != 0 {
		t.Errorf("errands %+v", e)
	}
}

func TestNASCapEndsTheSession(t *testing.T) {
	b, book := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	b.report(start(a, "s1"))
	b.report(interim(a, "s1", time.Minute, 0, 11e6))
	e := book.take()
	if len(e) != 1 || !e[0].Stop || e[0].Session.Handle != "handle of s1" || e[0].Counted.Down != 11e6 {
		t.Fatalf("errands %+v", e)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1}); !errors.Is(err, ErrNoGrant) {
		t.Errorf("let in again: %v", err)
	}
	// Until the NAS obeys, each report brings the errand again.
	b.report(interim(a, "s1", 2*time.Minute, 0, 12e6))
	if e := book.take(); len(e) != 1 || !e[0].Stop {
		t.Errorf("errands %+v", e)
	}
	b.report(stop(a, "s1", 2*time.Minute, 0, 12e6))
	b.report(stop(a, "s1", 2*time.Minute, 0, 12e6))
	if e := book.take(); len(e) != 0 {
		t.Errorf("errands %+v", e)
	}
	if got := b.used(a); got != 12e6 {
		t.Errorf("charged %d", got)
	}
}

func TestNASTermsFollowTheGrant(t *testing.T) {
	b, book := newNASBench(t)
	a := b.admit("ap", b.sell("capped"), phone1)
	b.report(start(a, "s1"))
	b.report(interim(a, "s1", time.Minute, 0, 4e6))
	if err := b.gate.TopUp(t.Context(), a.Session.Grant, 5e6, time.Hour); err != nil {
		t.Fatal(err)
	}
	e := book.take()
	if len(e) != 1 || e[0].Stop || e[0].Terms.Limit != 15e6 || e[0].TimeLeft != 25*time.Hour || e[0].Counted.Total() != 4e6 {
		t.Fatalf("errands %+v", e)
	}
	// It comes again with every report until the NAS has it.
	b.report(interim(a, "s1", 2*time.Minute, 0, 5e6))
	if e := book.take(); len(e) != 1 || e[0].Terms.Limit != 15e6 {
		t.Fatalf("errands %+v", e)
	}
	if err := b.gate.Told(t.Context(), a.Session.ID, e[0].Terms); err != nil {
		t.Fatal(err)
	}
	b.restart(quick, book)
	b.report(interim(a, "s1", 3*time.Minute, 0, 6e6))
	if e := book.take(); len(e) != 0 {
		t.Errorf("errands %+v", e)
	}
	plans := slices.Clone(testPlans)
	plans[1].Rate = Rate{MIRUp: 3e6, MIRDown: 3e6}
	if err := b.gate.SetPlans(t.Context(), plans, true); err != nil {
		t.Fatal(err)
	}
	if e := book.take(); len(e) != 1 || e[0].Plan.Rate.MIRDown != 3e6 || e[0].Terms.Plan.Version != 2 {
		t.Errorf("errands %+v", e)
	}
	if err := b.gate.Revoke(t.Context(), a.Session.Grant); err != nil {
		t.Fatal(err)
	}
	if e := book.take(); len(e) != 1 || !e[0].Stop {
		t.Errorf("errands %+v", e)
	}
}

func TestNASTimeEnds(t *testing.T) {
	b, book := newNASBench(t)
	a := b.admit("ap", b.sell("hour"), phone1)
	b.report(start(a, "s1"))
	for range 6 {
		b.pass(10 * time.Minute)
		b.report(interim(a, "s1", 0, 1, 1))
	}
	b.pass(time.Second)
	if e := book.take(); len(e) == 0 || !e[0].Stop {
		t.Errorf("errands %+v", e)
	}
}

// The kernel's sessions and those of NASes share one allowance.
func TestNASSharesWithTheKernel(t *testing.T) {
	b, book := newNASBench(t)
	code := b.sell("family")
	b.redeem(code, phone1)
	b.use(phone1, Octets{Down: 2e6})
	a := b.admit("ap", code, phone2)
	if a.OctetsLeft() != 9e6 {
		t.Errorf("%d octets for the second phone", a.OctetsLeft())
	}
	if o, _ := b.path.order(phone1); o.Allowance != 2e6+9e6 {
		t.Errorf("%d for the kernel, beside %d for the NAS", o.Allowance, a.OctetsLeft())
	}
	b.report(start(a, "s"))
	// The kernel's phone has used its part while the other one does nothing: it
	// gets some of that.
	b.use(phone1, Octets{Down: 9e6})
	o, _ := b.path.order(phone1)
	if err := b.gate.Account(t.Context(), []Usage{{Session: o.Session, Octets: Octets{Down: 11e6}, Spent: true}}); err != nil {
		t.Fatal(err)
	}
	e := book.take()
	if o, _ := b.path.order(phone1); len(e) != 1 || e[0].Terms.Limit != 3e6 || o.Allowance != 11e6+6e6 {
		t.Errorf("%d for the kernel, errands %+v", o.Allowance, e)
	}
	b.report(stop(a, "s", time.Minute, 0, 1e6))
	if o, _ := b.path.order(phone1); o.Allowance != 19e6 {
		t.Errorf("%d for the kernel afterwards", o.Allowance)
	}
}

func TestNASSlices(t *testing.T) {
	b, book := newNASBench(t)
	code := b.sell("family")
	first := b.admit("a", code, phone1)
	if first.OctetsLeft() != 20e6 {
		t.Errorf("alone: %d", first.OctetsLeft())
	}
	b.report(start(first, "1"))
	second := b.admit("b", code, phone2)
	e := book.take()
	if len(e) != 1 || e[0].Terms.Limit != 10e6 || second.OctetsLeft() != 10e6 {
		t.Fatalf("%d for the second, errands %+v", second.OctetsLeft(), e)
	}
	b.report(start(second, "2"))
	b.report(interim(first, "1", time.Minute, 0, 9e6))
	if e := book.take(); len(e) != 0 {
		t.Errorf("nothing is free, but %+v", e)
	}
	b.report(stop(second, "2", time.Minute, 0, 1e6))
	// The rest of the second is free; a place stays for it.
	if e := book.take(); len(e) != 1 || e[0].Session.Device != phone1 || e[0].Terms.Limit != 9e6+5e6 {
		t.Errorf("errands %+v", e)
	}
	third, err := b.gate.Admit(t.Context(), Login{NAS: "b", Device: phone3, Code: code})
	if err != nil {
		t.Fatalf("the second phone is gone, but %v", err)
	}
	if third.Session.Device != phone3 {
		t.Errorf("%+v", third)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "b", Device: phone2, Code: code}); !errors.Is(err, ErrOtherDevice) {
		t.Errorf("three phones: %v", err)
	}
}

func TestNASRoaming(t *testing.T) {
	b, book := newNASBench(t)
	code := b.sell("capped")
	b.redeem(code, phone1)
	b.use(phone1, Octets{Down: 1e6})
	a := b.admit("a", "", phone1)
	if _, ok := b.path.order(phone1); ok {
		t.Error("the kernel still lets the phone through")
	}
	b.finals()
	b.report(start(a, "1"))
	c := b.admit("b", "", phone1)
	if e := book.take(); len(e) != 1 || !e[0].Stop || e[0].Session.Path != "a" {
		t.Errorf("errands %+v", e)
	}
	b.report(start(c, "1"))
	b.report(stop(a, "1", time.Minute, 0, 2e6))
	st, err := b.gate.Authorize(t.Context(), phone1)
	if err != nil || !st.Online || st.NAS != "" {
		t.Fatalf("%+v %v", st, err)
	}
	if e := book.take(); len(e) != 1 || !e[0].Stop || e[0].Session.Path != "b" {
		t.Errorf("errands %+v", e)
	}
	b.report(stop(c, "1", time.Minute, 0, 3e6))
	if got := b.used(a); got != 6e6 {
		t.Errorf("charged %d", got)
	}
}

func TestNASReservation(t *testing.T) {
	b, _ := newNASBench(t)
	code := b.sell("hour")
	a := b.admit("ap", code, phone1)
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone2, Code: code}); !errors.Is(err, ErrOtherDevice) {
		t.Fatalf("the place is held, but %v", err)
	}
	b.pass(b.gate.opts.ReserveTime)
	if st := b.gate.Standing(phone1); st.Online {
		t.Errorf("the place is held for ever: %+v", st)
	}
	// The session did begin; only its start was late.
	b.report(interim(a, "s", 3*time.Minute, 5, 5))
	if st := b.gate.Standing(phone1); !st.Online || b.used(a) != 10 {
		t.Errorf("%+v", st)
	}
}

func TestNASRace(t *testing.T) {
	b, _ := newNASBench(t)
	for range 20 {
		code := b.sell("hour")
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				d := MAC{2, 1, 0, 0, 0, byte(i)}
				_, errs[i] = b.gate.Admit(t.Context(), Login{NAS: fmt.Sprint("ap", i%2), Device: d, Code: code})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, ErrOtherDevice) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Fatalf("%d winners", won)
		}
	}
}

func TestNASPasswords(t *testing.T) {
	b, _ := newNASBench(t)
	code := b.sell("hour")
	login := func(password string) error {
		_, err := b.gate.Admit(t.Context(), Login{
			NAS: "ap", Device: phone1, Code: code, Proves: func(p string) bool { return p == password },
		})
		return err
	}
	if err := login("guess"); !errors.Is(err, ErrWrongPassword) {
		t.Error(err)
	}
	for _, p := range []string{"", code, NormalizeCode(code)} {
		if err := login(p); err != nil {
			t.Errorf("password %q: %v", p, err)
		}
	}
	for range 4 {
		login("guess")
	}
	if err := login(""); err != nil {
		t.Errorf("the session is there already: %v", err)
	}
	if err := b.gate.Logout(t.Context(), phone1); err != nil {
		t.Fatal(err)
	}
	var retry *RetryError
	if err := login(""); !errors.As(err, &retry) || !errors.Is(err, ErrTooManyCodes) {
		t.Errorf("after five wrong ones: %v", err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1}); err != nil {
		t.Errorf("without a code there is nothing to guess: %v", err)
	}
}

// A ticket has a password of its own, which is kept sealed.
func TestSealedTickets(t *testing.T) {
	b, book := newNASBench(t)
	made, err := b.gate.CreateVouchers(t.Context(), Batch{Plan: "hour", Sealed: true}, 2)
	if err != nil {
		t.Fatal(err)
	}
	code, password, ok := strings.Cut(made[0], ",")
	if !ok || len(password) != codeLength {
		t.Fatalf("made %q", made)
	}
	if text := fmt.Sprintf("%+v", b.records); strings.Contains(text, password) || strings.Contains(text, NormalizeCode(code)) {
		t.Error("code or password stand in the journal")
	}
	login := func(d MAC, given string) error {
		_, err := b.gate.Admit(t.Context(), Login{
			NAS: "ap", Device: d, Code: code, Proves: func(p string) bool { return p == given },
		})
		return err
	}
	for _, wrong := range []string{"", code, "x"} {
		if err := login(phone1, wrong); !errors.Is(err, ErrWrongPassword) {
			t.Errorf("password %q: %v", wrong, err)
		}
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Code: code}); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("without asking: %v", err)
	}
	b.restart(quick, book)
	if err := login(phone1, password); err != nil {
		t.Error(err)
	}
	for _, proves := range []func(string) bool{nil, func(p string) bool { return p == "" }, func(p string) bool { return p == code }} {
		if _, ok := b.gate.Readmit(Login{NAS: "ap", Device: phone1, Code: code, Proves: proves}); ok {
			t.Error("a NAS that asks again got in without the ticket's password")
		}
	}
	// Many devices cannot try many passwords.
	for i := range wrongPasswords {
		login(MAC{2, 9, 0, 0, 0, byte(i)}, "x")
	}
	if err := login(phone3, password); !errors.Is(err, ErrTooManyCodes) {
		t.Errorf("after %d wrong ones: %v", wrongPasswords, err)
	}
	// On the portal the password follows a comma.
	code, password, _ = strings.Cut(made[1], ",")
	for typed, want := range map[string]error{code: ErrWrongPassword, code + ",x": ErrWrongPassword, code + ", " + password: nil} {
		if _, err := b.gate.Redeem(t.Context(), Redemption{Code: typed, Device: phone2}); !errors.Is(err, want) {
			t.Errorf("typed %q: %v", typed, err)
		}
	}
	err = b.gate.AddVouchers(t.Context(), Batch{Plan: "hour", Sealed: true}, []string{"user1,secret", "user2", "user3," + strings.Repeat("x", 33)})
	if err == nil || strings.Contains(err.Error(), "code 1") || !strings.Contains(err.Error(), "code 2") || !strings.Contains(err.Error(), "code 3") {
		t.Errorf("an import: %v", err)
	}
}

// Who tries codes under ever new addresses gets no further, and customers
// notice nothing.
func TestNASGuessing(t *testing.T) {
	b, _ := newNASBench(t)
	b.admit("ap", b.sell("hour"), phone1)
	another := b.sell("hour")
	var err error
	for i := range 1000 {
		d := MAC{2, 8, 0, 0, byte(i >> 8), byte(i)}
		if _, err = b.gate.Admit(t.Context(), Login{NAS: "ap", Device: d, Code: fmt.Sprint("guess", i)}); errors.Is(err, ErrTooManyCodes) {
			break
		}
	}
	if !errors.Is(err, ErrTooManyCodes) {
		t.Fatalf("a thousand guesses, and then %v", err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone2, Code: another}); !errors.Is(err, ErrTooManyCodes) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Code: another}); err != nil {
		t.Errorf("a customer: %v", err)
	}
	b.pass(time.Minute)
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone2, Code: b.sell("hour")}); err != nil {
		t.Errorf("a stranger a minute later: %v", err)
	}
}

// A device that goes on- and offline all the time does not wear the flash.
func TestNASSwitching(t *testing.T) {
	b, _ := newNASBench(t)
	a := b.admit("ap", b.sell("hour"), phone1)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		b.report(stop(a, fmt.Sprint("s", i), time.Second, 1, 1))
		_, err = b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1})
	}
	var retry *RetryError
	if !errors.As(err, &retry) || !errors.Is(err, ErrTooOften) {
		t.Fatalf("a hundred times: %v", err)
	}
	b.pass(retry.After)
	b.admit("ap", "", phone1)
}

// A phone that only comes near does not start what was bought for later.
func TestNASDeviceLogin(t *testing.T) {
	b, _ := newNASBench(t)
	st, err := b.gate.Redeem(t.Context(), Redemption{Code: b.sell("hour"), Device: phone1, NAS: "ap"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1}); !errors.Is(err, ErrNoGrant) {
		t.Errorf("a device with something banked: %v", err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Grant: st.Grant.Grant}); err != nil {
		t.Error(err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1}); err != nil {
		t.Errorf("a device with something active: %v", err)
	}
}

// Reports in any order, each of them twice, charge the same.
func TestNASReportsInAnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t, quick)
		a := b.admit("ap", b.sell("hour"), phone1)
		list := []Report{
			start(a, "s"), interim(a, "s", 3*time.Second, 10, 20), interim(a, "s", 6*time.Second, 30, 50),
			interim(a, "s", 9*time.Second, 60, 90), stop(a, "s", 10*time.Second, 100, 200),
		}
		list = append(list, list...)
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, x := range list {
			b.report(x)
			if r.IntN(4) == 0 {
				b.kill()
				b.start(quick)
			}
		}
		if got := b.used(a); got != 300 {
			t.Errorf("seed %d: charged %d", seed, got)
		}
		if st := b.gate.Standing(phone1); st.Online {
			t.Errorf("seed %d: still online after its stop", seed)
		}
		if t.Failed() {
			return
		}
	}
}

func TestNASCounters(t *testing.T) {
	t.Run("stop without counters", func(t *testing.T) {
		b, _ := newNASBench(t)
		a := b.admit("ap", b.sell("hour"), phone1)
		b.report(interim(a, "s", time.Minute, 10, 20))
		end := start(a, "s")
		end.Kind = ReportStop
		b.report(end)
		if got := b.used(a); got != 30 {
			t.Errorf("charged %d", got)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		b, _ := newNASBench(t)
		a := b.admit("ap", b.sell("capped"), phone1)
		b.report(interim(a, "s", time.Minute, 10, 20))
		b.report(interim(a, "s", 2*time.Minute, 1<<64-1, 1<<64-1))
		if got := b.used(a); got != 30 || !b.gate.Standing(phone1).Online {
			t.Errorf("charged %d", got)
		}
	})
	t.Run("32 bits wrap", func(t *testing.T) {
		b, _ := newNASBench(t)
		a := b.admit("ap", b.sell("hour"), phone1)
		for i, low := range []uint64{4e9, 3e9, 2e9, 2e9} {
			r := interim(a, "s", time.Duration(min(i, 2)+1)*time.Minute, 0, low)
			r.Wraps = true
			b.report(r)
			b.pass(time.Minute)
		}
		late := interim(a, "s", 2*time.Minute, 0, 3e9)
		late.Wraps = true
		b.report(late)
		if got, want := b.used(a), uint64(2<<32+2e9); got != want {
			t.Errorf("charged %d, want %d", got, want)
		}
	})
	t.Run("stop and start under one name", func(t *testing.T) {
		b, book := newNASBench(t)
		a := b.admit("ap", b.sell("hour"), phone1)
		for i := range 5 {
			first := start(a, "s")
			first.Grant, first.Renews = 0, true
			b.report(first)
			b.pass(time.Minute)
			end := stop(a, "s", time.Minute, 1, 2)
			end.Grant, end.Renews = 0, true
			b.report(end)
			b.report(end) // its answer was lost
			if got := b.used(a); got != uint64(i+1)*3 {
				t.Fatalf("after %d rounds %d are charged", i+1, got)
			}
		}
		if e := book.take(); len(e) != 0 {
			t.Errorf("errands %+v", e)
		}
	})
	t.Run("restart of the NAS under one name", func(t *testing.T) {
		b, _ := newNASBench(t)
		a := b.admit("ap", b.sell("hour"), phone1)
		b.report(interim(a, "s", 10*time.Minute, 1000, 1000))
		b.pass(5 * time.Minute)
		b.report(interim(a, "s", 4*time.Minute, 10, 10))
		if got := b.used(a); got != 2020 {
			t.Errorf("charged %d", got)
		}
		b.report(stop(a, "s", 6*time.Minute, 20, 20))
		if got := b.used(a); got != 2040 || b.gate.Standing(phone1).Online {
			t.Errorf("charged %d", got)
		}
	})
	t.Run("near the end", func(t *testing.T) {
		b, _ := newNASBench(t)
		a := b.admit("ap", b.sell("capped"), phone1)
		b.report(start(a, "s"))
		records := len(b.records)
		b.report(interim(a, "s", time.Minute, 0, 5e6))
		if len(b.records) != records {
			t.Error("an interim far from the end was written down")
		}
		b.report(interim(a, "s", 2*time.Minute, 0, 9.8e6))
		if len(b.records) != records+1 {
			t.Error("an interim near the end was not written down")
		}
		r := interim(a, "s", 3*time.Minute, 0, 9.81e6)
		r.Durable = true
		b.report(r)
		if len(b.records) != records+2 {
			t.Error("an interim that must be durable was not written down")
		}
	})
}

// A NAS that is cut off for hours goes on with its session, and is charged
// once, however often the gateway restarts meanwhile.
func TestNASLostAndFound(t *testing.T) {
	b, book := newNASBench(t)
	a := b.admit("ap", b.sell("online"), phone1)
	b.report(start(a, "s"))
	b.report(interim(a, "s", time.Minute, 100, 100))
	b.pass(16 * time.Minute)
	if st := b.gate.Standing(phone1); st.Online || st.Grant.TimeLeft != 44*time.Minute {
		t.Fatalf("its time goes on: %+v", st.Grant)
	}
	b.restart(quick, book)
	b.pass(3 * time.Hour)
	b.report(interim(a, "s", 4*time.Hour, 300, 300))
	if st := b.gate.Standing(phone1); !st.Online || b.used(a) != 600 {
		t.Errorf("%+v, charged %d", st, b.used(a))
	}
	// Its time stood still meanwhile, so it ends later.
	if e := book.take(); len(e) != 1 || e[0].Stop || e[0].TimeLeft != 44*time.Minute {
		t.Errorf("errands %+v", e)
	}
	if err := b.gate.Revoke(t.Context(), a.Session.Grant); err != nil {
		t.Fatal(err)
	}
	book.take()
	b.pass(16 * time.Minute)
	b.report(interim(a, "s", 5*time.Hour, 400, 400))
	if e := book.take(); len(e) != 1 || !e[0].Stop || e[0].Session.Handle == "" {
		t.Errorf("a session without a right: %+v", e)
	}
}

func TestNASRestarted(t *testing.T) {
	b, _ := newNASBench(t)
	old := b.admit("ap", b.sell("hour"), phone1)
	b.report(interim(old, "1", time.Minute, 5, 5))
	other := b.admit("elsewhere", b.sell("hour"), phone3)
	b.report(start(other, "1"))
	b.pass(10 * time.Second)
	fresh := b.admit("ap", b.sell("hour"), phone2)
	b.report(start(fresh, "2"))
	// It restarted five seconds ago and only now gets through.
	if err := b.gate.Restarted(t.Context(), "ap", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[MAC]bool{phone1: false, phone2: true, phone3: true} {
		if st := b.gate.Standing(d); st.Online != want {
			t.Errorf("phone %v online: %v", d, st.Online)
		}
	}
	if b.used(old) != 10 {
		t.Errorf("charged %d", b.used(old))
	}
}

func TestNASWithoutAJournal(t *testing.T) {
	b, _ := newNASBench(t)
	code, later := b.sell("hour"), b.sell("hour")
	a := b.admit("ap", code, phone1)
	b.setFail(errors.New("disk full"))
	if err := b.gate.Report(t.Context(), start(a, "s")); !errors.Is(err, ErrNotDurable) {
		t.Errorf("a start was answered: %v", err)
	}
	if err := b.gate.Report(t.Context(), start(a, "s")); !errors.Is(err, ErrNotDurable) {
		t.Errorf("a start that came again was answered: %v", err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone2, Code: later}); !errors.Is(err, ErrNotDurable) {
		t.Errorf("a sale: %v", err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Code: code}); err != nil {
		t.Errorf("who has paid is kept out: %v", err)
	}
	b.report(interim(a, "s", time.Minute, 1, 2))
	b.setFail(nil)
	b.pass(10 * time.Second)
	b.gate.recover()
	b.report(stop(a, "s", time.Minute, 3, 4))
	if got := b.used(a); got != 7 {
		t.Errorf("charged %d", got)
	}
}

func TestRedeemForANAS(t *testing.T) {
	b, _ := newNASBench(t)
	st, err := b.gate.Redeem(t.Context(), Redemption{Code: b.sell("hour"), Device: phone1, NAS: "ap"})
	if err != nil || st.Online || st.Grant == nil || st.Grant.State != Banked {
		t.Fatalf("%+v %v", st, err)
	}
	a, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Grant: st.Grant.Grant})
	if err != nil || a.Session.Grant != st.Grant.Grant {
		t.Fatalf("%+v %v", a, err)
	}
	if _, err := b.gate.Admit(t.Context(), Login{NAS: "ap", Device: phone1, Grant: 99}); !errors.Is(err, ErrNoGrant) {
		t.Errorf("with another grant: %v", err)
	}
	// Whoever claims to be a phone cannot lock it out.
	for range 20 {
		b.gate.Redeem(t.Context(), Redemption{Code: "WRONG123", Device: phone2, NAS: "ap"})
	}
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: b.sell("hour"), Device: phone2, NAS: "ap"}); err != nil {
		t.Errorf("after another one's wrong codes: %v", err)
	}
}

func TestNASMemoryIsBounded(t *testing.T) {
	b, _ := newNASBench(t)
	a := b.admit("ap", b.sell("hour"), phone1)
	for i := range maxRemembered + 100 {
		b.report(stop(a, fmt.Sprint("s", i), time.Second, 1, 0))
	}
	b.pass(time.Second)
	b.gate.mu.RLock()
	n := len(b.gate.state.sessions)
	b.gate.mu.RUnlock()
	if n > maxRemembered+1 {
		t.Errorf("%d sessions are remembered", n)
	}
	b.pass(25 * time.Hour)
	b.gate.mu.RLock()
	n = len(b.gate.state.sessions)
	b.gate.mu.RUnlock()
	if n != 0 {
		t.Errorf("%d sessions are remembered after a day", n)
	}
}

// A simNAS keeps true counters of its sessions; what it sends gets lost, comes
// twice and late.
type simNAS struct {
	name string
	on   map[MAC]*simSession
	seq  int
}

type simSession struct {
	a      Admission
	key    string
	began  time.Duration
	octets Octets
}

// TestRandomNASes runs zones with NASes through crashes, losses and delays. At
// the end, when every stop has come through, exactly what the NASes delivered
// is charged, and the hub of every other zone is told so when the grants end.
func TestRandomNASes(t *testing.T) {
	for i := range 60 {
		seed := uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			liveWithNASes(t, rand.New(rand.NewPCG(seed, 11)), i%2 == 1)
		})
	}
}

func liveWithNASes(t *testing.T, r *rand.Rand, joined bool) {
	o := Options{RefusalTime: -1, SaveAfter: time.Second, LostAfter: 15 * time.Minute,
		Guessing: Guessing{PerDevice: 1 << 20, ZoneRate: 1 << 20}}
	b := newBench(t, o)
	long := []Plan{{ID: "long", Name: "long", Price: Money{1, "XOF"}, Duration: 10000 * time.Hour, DevicesMax: 2, DataCap: 1 << 60}}
	if err := b.gate.SetPlans(t.Context(), long, false); err != nil {
		t.Fatal(err)
	}
	hub := &tableHub{grants: map[string]bool{}, revoked: map[string]bool{}}
	if joined {
		b.join(hubLink, 1)
	}
	book := &errandBook{}
	b.restart(o, book)
	nases := []*simNAS{{name: "a", on: map[MAC]*simSession{}}, {name: "b", on: map[MAC]*simSession{}}}
	devices := []MAC{phone1, phone2, phone3, {2, 0, 0, 0, 0, 4}}
	var late []Report // in the order in which they were sent
	var sent []time.Duration
	var delivered uint64
	var first []Admission
	for _, d := range devices {
		first = append(first, b.admit("a", b.sell("long"), d))
	}
	send := func(r Report) {
		if err := b.gate.Report(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	// lossy sends a report now, later, twice or never; a stop always arrives.
	lossy := func(x Report) {
		switch r.IntN(5) {
		case 0:
			late, sent = append(late, x), append(sent, b.clock.Now().Mono)
		case 1:
			send(x)
			late, sent = append(late, x), append(sent, b.clock.Now().Mono)
		case 2:
			if x.Kind == ReportStop {
				late, sent = append(late, x), append(sent, b.clock.Now().Mono)
			}
		default:
			send(x)
		}
	}
	says := func(n *simNAS, s *simSession, kind ReportKind) Report {
		x := interim(s.a, s.key, b.clock.Now().Mono-s.began, s.octets.Up, s.octets.Down)
		x.Kind = kind
		if kind == ReportStart {
			x.Counted, x.Lasted, x.Octets = false, 0, Octets{}
		}
		return x
	}
	off := func(n *simNAS, d MAC) {
		if s := n.on[d]; s != nil {
			lossy(says(n, s, ReportStop))
			delete(n.on, d)
		}
	}
	for range 300 {
		n, d := nases[r.IntN(2)], devices[r.IntN(len(devices))]
		switch k := r.IntN(12); {
		case k < 2: // walk here
			for _, other := range nases {
				off(other, d)
			}
			a, err := b.gate.Admit(t.Context(), Login{NAS: n.name, Device: d})
			if err != nil {
				t.Fatal(err)
			}
			n.seq++
			n.on[d] = &simSession{a: a, key: fmt.Sprint(n.name, n.seq), began: b.clock.Now().Mono}
			lossy(says(n, n.on[d], ReportStart))
		case k < 6:
			if s := n.on[d]; s != nil {
				u := Octets{uint64(r.IntN(1e6)), uint64(r.IntN(1e9))}
				s.octets.Up += u.Up
				s.octets.Down += u.Down
				delivered += u.Total()
				lossy(says(n, s, ReportInterim))
			}
		case k < 10:
			// A NAS tries for less than a minute.
			for end := b.clock.Now().Mono + time.Duration(60+r.IntN(400))*time.Second; b.clock.Now().Mono < end; {
				b.pass(time.Duration(1+r.IntN(30)) * time.Second)
				for len(late) > 0 && (r.IntN(3) > 0 || b.clock.Now().Mono-sent[0] > 30*time.Second) {
					i := r.IntN(len(late))
					if r.IntN(2) == 0 {
						late[i].Ago = b.clock.Now().Mono - sent[i]
					}
					send(late[i])
					late, sent = slices.Delete(late, i, i+1), slices.Delete(sent, i, i+1)
				}
			}
		case k == 10:
			off(n, d)
		case k == 11:
			b.kill()
			b.start(o)
			b.gate.DispatchTo(book)
		}
	}
	for _, n := range nases {
		for _, d := range devices {
			off(n, d)
		}
	}
	for _, x := range late {
		send(x)
	}
	var charged uint64
	for _, a := range first {
		charged += b.used(a)
	}
	if charged != delivered {
		t.Errorf("charged %d, delivered %d", charged, delivered)
	}
	b.pass(time.Hour)
	for _, d := range devices {
		if b.gate.Standing(d).Online {
			t.Errorf("%v is online although all is over", d)
		}
	}
	if !joined {
		return
	}
	for _, a := range first {
		if err := b.gate.Revoke(t.Context(), a.Session.Grant); err != nil {
			t.Fatal(err)
		}
	}
	b.pass(time.Hour)
	hub.settle(t, b)
	var told uint64
	for _, e := range hub.held {
		if e.Kind == EntryEnded {
			told += e.Used.Total()
		}
	}
	if told != delivered {
		t.Errorf("the hub was told of %d octets, delivered %d", told, delivered)
	}
}
