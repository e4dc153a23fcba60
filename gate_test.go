package zonegate

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestRedeemPutsOnline(t *testing.T) {
	b := newBench(t, quick)
	code := b.sell("hour")
	st := b.redeem(strings.ToLower(strings.ReplaceAll(code, "0", "o")), phone1)
	if !st.Online || st.Grant == nil || st.Grant.TimeLeft != time.Hour {
		t.Fatalf("standing after redeeming: %+v", st)
	}
	o, ok := b.path.order(phone1)
	if !ok || o.Until != b.clock.Now().Mono+time.Hour || o.Allowance != NoCap || o.Rate.MIRDown != 2e6 {
		t.Fatalf("order: %+v", o)
	}
	again := b.redeem(code, phone1)
	if again.Grant.Grant != st.Grant.Grant || len(again.Queue) != 0 {
		t.Fatalf("the same code on the same device gave something else: %+v", again)
	}
}

func TestEveryRefusalHasItsReason(t *testing.T) {
	b := newBench(t, Options{RefusalTime: -1, Guessing: Guessing{PerDevice: 100}})
	used := b.sell("capped")
	b.redeem(used, phone2)
	b.use(phone2, Octets{Down: 10e6})
	if err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour", Expires: noon.Add(-time.Hour)}, []string{"OLD12345"}); err != nil {
		t.Fatal(err)
	}
	if err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour", Site: "elsewhere"}, []string{"FAR12345"}); err != nil {
		t.Fatal(err)
	}
	revoked := b.sell("hour")
	if err := b.gate.RevokeVoucher(t.Context(), revoked); err != nil {
		t.Fatal(err)
	}
	inUse := b.sell("hour")
	b.redeem(inUse, phone3)
	foreign, err := NewCode(strings.NewReader("abcdefg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code string
		want error
	}{
		{"nonsense", ErrWrongCode},
		{foreign, ErrForeignCode},
		{"far-12345", ErrForeignCode},
		{"0ld 12345", ErrExpiredCode},
		{used, ErrUsedCode},
		{revoked, ErrRevokedCode},
		{inUse, ErrOtherDevice},
		{strings.Repeat("A", 65), ErrCodeTooLong},
	} {
		st, err := b.gate.Redeem(t.Context(), Redemption{Code: c.code, Device: phone1})
		if !errors.Is(err, c.want) || st.Online {
			t.Errorf("code %q: %v, want %v", c.code, err, c.want)
		}
	}
}

func TestForeignCodesImportAsTheyAre(t *testing.T) {
	b := newBench(t, quick)
	if err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour"}, []string{"ABC12345"}); err != nil {
		t.Fatal(err)
	}
	if st := b.redeem("abc 12345", phone1); !st.Online {
		t.Error("a foreign code did not redeem")
	}
	if err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour"}, []string{"GOOD1234", "x-1"}); err == nil {
		t.Error("a code of two characters was accepted")
	}
}

func TestImportRefusesLookalikes(t *testing.T) {
	b := newBench(t, quick)
	err := b.gate.AddVouchers(t.Context(), Batch{Plan: "hour"}, []string{"ABCO1234", "QWERTZ12", "ABC01234"})
	if !errors.Is(err, ErrCodeConflict) || !strings.Contains(err.Error(), "code 3 is the same as code 1") {
		t.Errorf("import of look-alikes: %v", err)
	}
	if n := b.gate.Health().Unused; n != 0 {
		t.Errorf("%d vouchers of a refused import are there", n)
	}
}

func TestPurchasesQueue(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("hour"), phone1)
	st := b.redeem(b.sell("capped"), phone1)
	if !st.Online || st.Grant.Plan.ID != "hour" || len(st.Queue) != 1 || st.Queue[0].TimeLeft != 24*time.Hour {
		t.Fatalf("the second purchase does not wait: %+v", st)
	}
	b.pass(50 * time.Minute)
	b.use(phone1, Octets{Down: 1000})
	b.pass(11 * time.Minute)
	st = b.gate.Standing(phone1)
	if !st.Online || st.Grant.Plan.ID != "capped" || st.Grant.OctetsLeft != 10e6 {
		t.Fatalf("the second purchase did not start: %+v", st)
	}
	if o, _ := b.path.order(phone1); o.Allowance != 10e6 {
		t.Errorf("allowance %d", o.Allowance)
	}
}

func TestQueueWaitsForAnAbsentPhone(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("hour"), phone1)
	b.redeem(b.sell("capped"), phone1)
	b.pass(61 * time.Minute)
	st := b.gate.Standing(phone1)
	if st.Online || st.Grant == nil || st.Grant.State != Banked {
		t.Fatalf("time was started for a phone that had left: %+v", st)
	}
	st, err := b.gate.Authorize(t.Context(), phone1)
	if err != nil || !st.Online {
		t.Fatalf("continuing: %+v, %v", st, err)
	}
}

func TestCapEndsTheGrantAndChargesItsLastOctets(t *testing.T) {
	b := newBench(t, quick)
	st := b.redeem(b.sell("capped"), phone1)
	b.use(phone1, Octets{Up: 1e6, Down: 7e6})
	o, _ := b.path.order(phone1)
	if err := b.gate.Account(t.Context(), []Usage{{Session: o.Session, Octets: Octets{2e6, 8e6 - 50e3}, Spent: true}}); err != nil {
		t.Fatal(err)
	}
	if b.gate.Standing(phone1).Online {
		t.Fatal("still online after the cap")
	}
	b.path.mu.Lock()
	b.path.octets[o.Session] = Octets{2e6, 8e6 - 40e3}
	b.path.mu.Unlock()
	b.finals()
	bal, err := b.gate.Balance(st.Grant.Grant)
	if err != nil || bal.State != Spent || bal.Used != (Octets{2e6, 8e6 - 40e3}) {
		t.Fatalf("balance %+v, %v", bal, err)
	}
}

func TestSpentIsNotBelievedAfterATopUp(t *testing.T) {
	b := newBench(t, quick)
	st := b.redeem(b.sell("capped"), phone1)
	if err := b.gate.TopUp(t.Context(), st.Grant.Grant, 5e6, 0); err != nil {
		t.Fatal(err)
	}
	o, _ := b.path.order(phone1)
	if o.Allowance != 15e6 {
		t.Fatalf("allowance %d", o.Allowance)
	}
	if err := b.gate.Account(t.Context(), []Usage{{Session: o.Session, Octets: Octets{Down: 10e6}, Spent: true}}); err != nil {
		t.Fatal(err)
	}
	if st := b.gate.Standing(phone1); !st.Online || st.Grant.OctetsLeft != 5e6 {
		t.Fatalf("standing %+v", st)
	}
}

func TestTopUpRevivesWhatIsSpent(t *testing.T) {
	b := newBench(t, quick)
	st := b.redeem(b.sell("capped"), phone1)
	b.use(phone1, Octets{Down: 10e6})
	b.finals()
	if err := b.gate.TopUp(t.Context(), st.Grant.Grant, 5e6, time.Hour); err != nil {
		t.Fatal(err)
	}
	st = b.gate.Standing(phone1)
	if !st.Online || st.Grant.OctetsLeft != 5e6 || st.Grant.TimeLeft != 25*time.Hour {
		t.Fatalf("standing %+v", st)
	}
	if o, _ := b.path.order(phone1); o.Allowance != 5e6 {
		t.Errorf("the new session's allowance is %d", o.Allowance)
	}
}

func TestMoveNeedsConfirmationAndTime(t *testing.T) {
	b := newBench(t, quick)
	code := b.sell("hour")
	st := b.redeem(code, phone1)
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone2}); !errors.Is(err, ErrOtherDevice) {
		t.Fatalf("without confirmation: %v", err)
	}
	st2, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone2, Move: true})
	if err != nil || !st2.Online || b.gate.Standing(phone1).Online {
		t.Fatalf("moving: %+v, %v", st2, err)
	}
	var retry *RetryError
	_, err = b.gate.Move(t.Context(), st.Grant.Token, phone3)
	if !errors.As(err, &retry) || !errors.Is(err, ErrMovedRecently) || retry.After != 10*time.Minute {
		t.Fatalf("moving again at once: %v", err)
	}
	b.pass(10 * time.Minute)
	if st, err := b.gate.Move(t.Context(), st.Grant.Token, phone3); err != nil || !st.Online {
		t.Fatalf("moving after the interval: %v", err)
	}
	if _, err := b.gate.Move(t.Context(), st.Grant.Token[:len(st.Grant.Token)-1]+"0", phone1); !errors.Is(err, ErrNoSuchGrant) &&
		b.gate.Standing(phone1).Online {
		t.Errorf("a made-up token: %v", err)
	}
}

func TestTwoPhonesShareOneCap(t *testing.T) {
	b := newBench(t, quick)
	code := b.sell("family")
	b.redeem(code, phone1)
	b.redeem(code, phone2)
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone3}); !errors.Is(err, ErrOtherDevice) {
		t.Fatalf("a third phone: %v", err)
	}
	b.use(phone1, Octets{Down: 12e6})
	o1, _ := b.path.order(phone1)
	o2, _ := b.path.order(phone2)
	if o1.Grant != o2.Grant || o1.Allowance != 20e6 || o2.Allowance != 20e6 || o1.Devices != 2 {
		t.Fatalf("orders %+v and %+v", o1, o2)
	}
	b.use(phone2, Octets{Up: 8e6})
	if b.gate.Standing(phone1).Online || b.gate.Standing(phone2).Online {
		t.Fatal("online above the shared cap")
	}
}

func TestOnlineTimeStandsStillOffline(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("online"), phone1)
	b.pass(10 * time.Minute)
	if err := b.gate.Logout(t.Context(), phone1); err != nil {
		t.Fatal(err)
	}
	b.pass(5 * time.Hour)
	if left := b.gate.Standing(phone1).Grant.TimeLeft; left != 50*time.Minute {
		t.Fatalf("%v left", left)
	}
	if _, err := b.gate.Authorize(t.Context(), phone1); err != nil {
		t.Fatal(err)
	}
	b.pass(15 * time.Minute)
	st := b.gate.Standing(phone1)
	if st.Online || st.Grant.TimeLeft != 35*time.Minute {
		t.Fatalf("an idle session goes on: %+v", st)
	}
}

func TestRevokedGrantStops(t *testing.T) {
	b := newBench(t, quick)
	code := b.sell("hour")
	st := b.redeem(code, phone1)
	if err := b.gate.Revoke(t.Context(), st.Grant.Grant); err != nil {
		t.Fatal(err)
	}
	if _, on := b.path.order(phone1); on || b.gate.Standing(phone1).Grant != nil {
		t.Fatal("a revoked grant passes")
	}
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone1}); !errors.Is(err, ErrRevokedCode) {
		t.Errorf("its code: %v", err)
	}
	if err := b.gate.TopUp(t.Context(), st.Grant.Grant, 1, 1); !errors.Is(err, ErrGrantEnded) {
		t.Errorf("topping it up: %v", err)
	}
}

func TestGuessingStopsTheDeviceAndSlowsStrangers(t *testing.T) {
	b := newBench(t, Options{RefusalTime: -1, Guessing: Guessing{ZoneRate: 4}})
	good := b.sell("hour")
	for i := range 5 {
		if _, err := b.gate.Redeem(t.Context(), Redemption{Code: "WRONG", Device: phone1}); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	var retry *RetryError
	_, err := b.gate.Redeem(t.Context(), Redemption{Code: good, Device: phone1})
	if !errors.As(err, &retry) || !errors.Is(err, ErrTooManyCodes) || retry.After != 10*time.Minute {
		t.Fatalf("the sixth: %v", err)
	}
	delay, err := b.gate.guesses.admit(phone2, b.clock.Now().Mono)
	b.gate.guesses.checked(phone2)
	if err != nil || delay <= 0 || delay > time.Second {
		t.Fatalf("a newcomer waits %v, %v", delay, err)
	}
	b.gate.guesses.wrong(phone3, b.clock.Now().Mono)
	if worse, _ := b.gate.guesses.admit(phone3, b.clock.Now().Mono); worse <= delay || worse > 5*time.Second {
		t.Errorf("a guesser waits %v, a newcomer %v", worse, delay)
	}
	b.gate.guesses.checked(phone3)
	b.pass(10 * time.Minute)
	if delay, _ := b.gate.guesses.admit(phone2, b.clock.Now().Mono); delay != 0 {
		t.Errorf("a stranger still waits %v", delay)
	}
	b.gate.guesses.checked(phone2)
	b.redeem(good, phone1)
}

func TestRefusalsTakeTheSameTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench(t, Options{})
		used := b.sell("capped")
		b.redeem(used, phone2)
		b.use(phone2, Octets{Down: 10e6})
		for _, code := range []string{"WRONG", used} {
			start := time.Now()
			if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone1}); err == nil {
				t.Fatal("accepted")
			}
			if d := time.Since(start); d != 250*time.Millisecond {
				t.Errorf("the refusal of %q took %v", code, d)
			}
		}
		b.stop()
	})
}

func TestPlansKeepTheirVersions(t *testing.T) {
	b := newBench(t, quick)
	old := b.sell("hour")
	b.redeem(b.sell("hour"), phone1)
	plans := append([]Plan(nil), testPlans...)
	plans[0].Rate.MIRDown = 8e6
	if err := b.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	if o, _ := b.path.order(phone1); o.Rate.MIRDown != 2e6 {
		t.Error("a running grant changed its rate")
	}
	b.redeem(old, phone2)
	if o, _ := b.path.order(phone2); o.Rate.MIRDown != 2e6 {
		t.Error("a voucher sold before gives the new version")
	}
	plans[0].Rate.MIRDown = 4e6
	if err := b.gate.SetPlans(t.Context(), plans, true); err != nil {
		t.Fatal(err)
	}
	if o, _ := b.path.order(phone1); o.Rate.MIRDown != 4e6 {
		t.Error("a running grant was not re-rated")
	}
	plans[0].Rate.CIRDown = 9e6
	if err := b.gate.SetPlans(t.Context(), plans, true); err == nil || !strings.Contains(err.Error(), "committed rate down") {
		t.Errorf("a plan that makes no sense: %v", err)
	}
	if err := b.gate.SetPlans(t.Context(), plans[1:], false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.gate.CreateVouchers(t.Context(), Batch{Plan: "gone"}, 1); !errors.Is(err, ErrNoSuchPlan) {
		t.Errorf("vouchers of no plan: %v", err)
	}
	if n := len(b.gate.Plans()); n != 3 {
		t.Errorf("%d plans on sale", n)
	}
}

func TestSalesStopWhenTheJournalFails(t *testing.T) {
	b := newBench(t, quick)
	code, other := b.sell("hour"), b.sell("capped")
	b.redeem(b.sell("hour"), phone1)
	b.redeem(other, phone2)
	b.setFail(io.ErrShortWrite)
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone3}); !errors.Is(err, ErrNotDurable) {
		t.Fatalf("a sale without a journal: %v", err)
	}
	if b.gate.Standing(phone3).Grant != nil {
		t.Fatal("the refused sale left something behind")
	}
	if _, on := b.path.order(phone3); on {
		t.Fatal("the refused sale passes")
	}
	// Running customers go on, and their limits hold.
	b.use(phone2, Octets{Down: 10e6})
	if b.gate.Standing(phone2).Online || !b.gate.Standing(phone1).Online {
		t.Fatal("limits do not hold without a journal")
	}
	b.pass(2 * time.Hour)
	if b.gate.Standing(phone1).Online {
		t.Fatal("time does not end without a journal")
	}
	b.setFail(nil)
	for b.gate.Health().Journal != nil {
		b.pass(retryAfter)
		time.Sleep(10 * time.Millisecond)
	}
	if st := b.redeem(code, phone3); !st.Online {
		t.Fatal("sales did not open again")
	}
}

func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("capped"), phone1)
	b.use(phone1, Octets{Down: 4e6})
	if err := b.gate.do(t.Context(), true, (*tx).checkpoint); err != nil {
		t.Fatal(err)
	}
	b.use(phone1, Octets{Down: 1e6})
	b.kill()
	b.path.reboot()
	b.clock.set(func(i *Instant) { *i = Instant{Boot: "second", Mono: 30 * time.Second, Wall: time.Unix(0, 0)} })
	b.start(quick)
	st := b.gate.Standing(phone1)
	if !st.Online || st.Grant.OctetsLeft != 6e6 {
		t.Fatalf("after the cut: %+v", st)
	}
	o, _ := b.path.order(phone1)
	if o.Allowance != 6e6 {
		t.Errorf("allowance %d", o.Allowance)
	}
	b.use(phone1, Octets{Down: 2e6})
	if left := b.gate.Standing(phone1).Grant.OctetsLeft; left != 4e6 {
		t.Errorf("%d left", left)
	}
}

func TestCrashOfTheDaemonAloneLosesNothing(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("capped"), phone1)
	b.use(phone1, Octets{Down: 4e6})
	before, _ := b.path.order(phone1)
	b.kill()
	// The kernel counts on.
	b.path.octets[before.Session] = Octets{Down: 7e6}
	b.clock.set(func(i *Instant) { i.Mono += time.Hour })
	b.start(quick)
	after, _ := b.path.order(phone1)
	st := b.gate.Standing(phone1)
	if after.Session != before.Session || st.Grant.OctetsLeft != 3e6 || st.Grant.TimeLeft != 23*time.Hour {
		t.Fatalf("after the crash: %+v, order %+v", st.Grant, after)
	}
	if after.Allowance != 10e6 {
		t.Errorf("allowance %d", after.Allowance)
	}
}

func TestLateReportsChargeNothing(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("capped"), phone1)
	o, _ := b.path.order(phone1)
	for _, down := range []uint64{4e6, 1e6, 4e6} {
		if err := b.gate.Account(t.Context(), []Usage{{Session: o.Session, Octets: Octets{Down: down}}}); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.gate.Standing(phone1).Grant.OctetsLeft; left != 6e6 {
		t.Errorf("%d left", left)
	}
}

func TestCountersThatBeganAgainCostNobody(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("capped"), phone1)
	b.use(phone1, Octets{Down: 4e6})
	if err := b.gate.do(t.Context(), true, (*tx).checkpoint); err != nil {
		t.Fatal(err)
	}
	o, _ := b.path.order(phone1)
	b.kill()
	b.path.octets[o.Session] = Octets{Down: 1e6}
	b.start(quick)
	after, _ := b.path.order(phone1)
	left := b.gate.Standing(phone1).Grant.OctetsLeft
	if left != 5e6 || after.Allowance != 6e6 {
		t.Errorf("%d left, allowance %d", left, after.Allowance)
	}
}

func TestTimeSwitchedOffIsChargedBetweenTrustedTimesOnly(t *testing.T) {
	for _, c := range []struct {
		name           string
		trusted, later bool
		want           time.Duration
	}{
		{"never trusted", false, false, 23*time.Hour + 30*time.Minute},
		{"trusted at once", true, false, 13*time.Hour + 30*time.Minute},
		{"trusted later", false, true, 13*time.Hour + 20*time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, quick)
			b.redeem(b.sell("capped"), phone1)
			b.pass(30 * time.Minute)
			b.stop()
			b.path.reboot()
			wall := noon.Add(10*time.Hour + 30*time.Minute)
			b.clock.set(func(i *Instant) { *i = Instant{Boot: "second", Mono: 0, Wall: time.Unix(0, 0)} })
			if c.trusted {
				b.clock.set(func(i *Instant) { i.Wall, i.Trusted = wall, true })
			}
			b.start(quick)
			if c.later {
				b.pass(10 * time.Minute)
				b.clock.set(func(i *Instant) { i.Wall, i.Trusted = wall.Add(10*time.Minute), true })
				b.pass(0)
			}
			// A step of the wall clock ends or extends nothing.
			b.clock.set(func(i *Instant) { i.Wall = i.Wall.Add(1000 * time.Hour) })
			b.pass(0)
			if left := b.gate.Standing(phone1).Grant.TimeLeft; left != c.want {
				t.Errorf("%v left, want %v", left, c.want)
			}
		})
	}
}

func TestSavedStateLeavesTheMemory(t *testing.T) {
	b := newBench(t, Options{RefusalTime: -1, SaveAfter: time.Millisecond})
	code := b.sell("capped")
	b.redeem(code, phone1)
	b.use(phone1, Octets{Down: 10e6})
	b.finals()
	gone := func() bool {
		b.gate.mu.RLock()
		defer b.gate.mu.RUnlock()
		return len(b.gate.state.grants) == 0 && len(b.gate.state.vouchers) == 0
	}
	for !gone() {
		b.pass(time.Second)
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: phone2}); !errors.Is(err, ErrUsedCode) {
		t.Errorf("a used code that left the memory: %v", err)
	}
}

func TestDataPathIsTriedAgain(t *testing.T) {
	b := newBench(t, quick)
	b.path.mu.Lock()
	b.path.fail = errors.New("no such device")
	b.path.mu.Unlock()
	st := b.redeem(b.sell("hour"), phone1)
	if !st.Pending {
		t.Fatalf("standing %+v", st)
	}
	b.path.mu.Lock()
	b.path.fail = nil
	b.path.mu.Unlock()
	for {
		if _, ok := b.path.order(phone1); ok {
			break
		}
		b.pass(retryAfter)
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSilentDataPathCutsNobody(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("capped"), phone1)
	before, _ := b.path.order(phone1)
	b.kill()
	b.path.mu.Lock()
	b.path.mute = errors.New("no buffer space")
	b.path.mu.Unlock()
	var log strings.Builder
	logged := quick
	logged.Logger = slog.New(slog.NewTextHandler(&log, nil))
	b.start(logged)
	if now, ok := b.path.order(phone1); !ok || now.Session != before.Session {
		t.Fatalf("a failed read replaced the session: %+v", now)
	}
	// Nobody knows whether it passes, and that is said once.
	for range 3 {
		b.pass(retryAfter)
	}
	if st := b.gate.Standing(phone1); !st.Online || !st.Pending {
		t.Errorf("while the data path is silent: %+v", st)
	}
	if h := b.gate.Health(); h.DataPath == nil {
		t.Error("a silent data path is healthy")
	}
	defer func() {
		b.stop() // nobody writes to the log any more
		if n := strings.Count(log.String(), "no buffer space"); n != 1 {
			t.Errorf("it was said %d times:\n%s", n, log.String())
		}
		if st := b.gate.Standing(phone1); st.Pending {
			t.Errorf("when it speaks again: %+v", st)
		}
	}()
	b.path.mu.Lock()
	b.path.mute = nil
	b.path.octets[before.Session] = Octets{Down: 3e6}
	b.path.mu.Unlock()
	for b.gate.Standing(phone1).Grant.OctetsLeft != 7e6 {
		b.pass(retryAfter)
		time.Sleep(10 * time.Millisecond)
	}
}

func TestGuessesAtTheSameTimeAllCount(t *testing.T) {
	l := newGuessLimiter(Guessing{})
	for i := range 5 {
		if _, err := l.admit(phone1, time.Hour); err != nil {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, err := l.admit(phone1, time.Hour); !errors.Is(err, ErrTooManyCodes) {
		t.Errorf("the sixth at the same time: %v", err)
	}
	l.checked(phone1)
	if _, err := l.admit(phone1, time.Hour); err != nil {
		t.Errorf("after one was right: %v", err)
	}
}

func TestGoingOnAndOffIsPaced(t *testing.T) {
	b := newBench(t, quick)
	b.redeem(b.sell("hour"), phone1)
	n := 0
	var err error
	for ; err == nil && n < 100; n++ {
		if err = b.gate.Logout(t.Context(), phone1); err == nil {
			_, err = b.gate.Authorize(t.Context(), phone1)
		}
	}
	var retry *RetryError
	if !errors.As(err, &retry) || !errors.Is(err, ErrTooOften) || n != 4 {
		t.Fatalf("after %d rounds: %v", n, err)
	}
	b.pass(retry.After)
	if err := b.gate.Logout(t.Context(), phone1); err != nil {
		t.Errorf("after the time: %v", err)
	}
}
