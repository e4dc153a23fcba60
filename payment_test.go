package zonegate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func intentID(n int) IntentID { return IntentID{0xa0, byte(n >> 16), byte(n >> 8), byte(n)} }

func wish(n int, d MAC, phone string) IntentRequest {
	return IntentRequest{ID: intentID(n), Device: d, Plan: hubPlan.ID, Channel: "MTN_MOMO", Phone: phone}
}

// newPayBench is a zone with a hub that sells its plan.
func newPayBench(t *testing.T) *bench {
	t.Helper()
	b := newHubBench(t, quick)
	b.push(PlanPushed{Plan: hubPlan})
	return b
}

func (b *bench) open(n int, d MAC, phone string) Intent {
	b.t.Helper()
	in, err := b.gate.OpenIntent(b.t.Context(), wish(n, d, phone))
	if err != nil {
		b.t.Fatal(err)
	}
	return in
}

func (b *bench) told(n int, news News) Intent {
	b.t.Helper()
	if err := b.gate.TellIntent(b.t.Context(), intentID(n), news); err != nil {
		b.t.Fatal(err)
	}
	in, ok := b.gate.Intent(intentID(n))
	if !ok {
		b.t.Fatalf("intent %d is gone", n)
	}
	return in
}

func (b *bench) issued() int {
	b.gate.mu.RLock()
	defer b.gate.mu.RUnlock()
	return int(b.gate.state.meta.LastGrant)
}

func TestIntentIsWrittenDownOnce(t *testing.T) {
	b := newPayBench(t)
	in := b.open(1, phone1, "22997000001")
	if in.State != IntentOpened || in.Plan != hubPlan.Ref() || in.Price != hubPlan.Price || in.Phone != "22997000001" || !in.Made.Equal(noon) {
		t.Errorf("%+v", in)
	}
	code := b.gate.ClaimCode(in.ID)
	if !WellFormedCode(code) || hubKey.VoucherKey(code) != in.Claim {
		t.Errorf("claim code %q", code)
	}
	// What was shown once is good for ever.
	if got := (ZoneKey{1}).claimCode(IntentID{2}); got != "7GJR-EBBV" {
		t.Errorf("claim code %q", got)
	}
	before := b.durable()
	for range 3 {
		if again := b.open(1, phone1, "22997000001"); again != in {
			t.Errorf("again %+v", again)
		}
	}
	if n := b.durable(); n != before {
		t.Errorf("%d records for the same tap", n-before)
	}
	select {
	case <-b.gate.NewIntents():
	default:
		t.Error("nobody is told of the new intent")
	}
	b.kill()
	b.start(quick)
	if got, ok := b.gate.Intent(in.ID); !ok || got != in {
		t.Errorf("after a crash: %+v", got)
	}
	if b.gate.ClaimCode(in.ID) != code {
		t.Error("the claim code changed")
	}
	if list := b.gate.Intents(phone1); len(list) != 1 || list[0].ID != in.ID {
		t.Errorf("%+v", list)
	}
}

func TestIntentsThatMakeNoSense(t *testing.T) {
	b := newPayBench(t)
	free := version(hubPlan, 1, func(p *Plan) { p.ID, p.Price.Amount, p.Trial = "free", 0, true })
	b.push(PlanPushed{Plan: free})
	for name, c := range map[string]struct {
		change func(*IntentRequest)
		want   error
	}{
		"no id":           {func(r *IntentRequest) { r.ID = IntentID{} }, ErrBadIntent},
		"no device":       {func(r *IntentRequest) { r.Device = MAC{} }, ErrBadIntent},
		"many devices":    {func(r *IntentRequest) { r.Device[0] = 1 }, ErrBadIntent},
		"no channel":      {func(r *IntentRequest) { r.Channel = "" }, ErrBadIntent},
		"words for phone": {func(r *IntentRequest) { r.Phone = "+229" }, ErrBadIntent},
		"long phone":      {func(r *IntentRequest) { r.Phone = strings.Repeat("1", 16) }, ErrBadIntent},
		"unknown plan":    {func(r *IntentRequest) { r.Plan = "x" }, ErrNoSuchPlan},
		"free plan":       {func(r *IntentRequest) { r.Plan = "free" }, ErrNoSuchPlan},
		"the zone's own":  {func(r *IntentRequest) { r.Plan = "hour" }, ErrNoSuchPlan},
	} {
		r := wish(1, phone1, "1")
		c.change(&r)
		if _, err := b.gate.OpenIntent(t.Context(), r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.push(HubGone{})
	if _, err := b.gate.OpenIntent(t.Context(), wish(1, phone1, "1")); !errors.Is(err, ErrNoSuchPlan) {
		t.Errorf("a revoked gateway: %v", err)
	}
}

// One payment is open for a device and for a number.
func TestOnePaymentIsOpen(t *testing.T) {
	b := newPayBench(t)
	b.open(1, phone1, "111")
	refused := func(n int, d MAC, phone string) *OpenPaymentError {
		t.Helper()
		_, err := b.gate.OpenIntent(t.Context(), wish(n, d, phone))
		var open *OpenPaymentError
		if !errors.As(err, &open) || !errors.Is(err, ErrPaymentOpen) {
			t.Fatalf("got %v", err)
		}
		return open
	}
	if open := refused(2, phone1, "222"); open.Intent.ID != intentID(1) || open.After != replaceAfter {
		t.Errorf("of the device: %+v", open)
	}
	if open := refused(2, phone2, "111"); open.Intent != (Intent{}) {
		t.Errorf("another's payment is shown to who types his number: %+v", open.Intent)
	}
	b.open(2, phone2, "222")
	b.told(2, News{State: IntentFailed, Reason: "no money"})
	b.open(3, phone2, "222") // after a definite no at once

	b.told(1, News{State: IntentPending})
	b.pass(replaceAfter - time.Second)
	b.told(1, News{State: IntentPending})
	if open := refused(4, phone1, "444"); open.After != time.Second {
		t.Errorf("too early: %+v", open)
	}
	b.pass(answerFresh)
	if open := refused(4, phone1, "444"); open.After != 0 || b.gate.Replaceable(intentID(1)) {
		t.Errorf("the answer is stale: %+v", open)
	}
	b.told(1, News{State: IntentPending, Transaction: "t", Unsure: true})
	refused(4, phone1, "444") // that is no answer
	b.told(1, News{State: IntentPending})
	if !b.gate.Replaceable(intentID(1)) {
		t.Error("a fresh answer does not allow another attempt")
	}
	b.open(4, phone1, "111")
	ids := []IntentID{}
	for _, in := range b.gate.OpenIntents() {
		ids = append(ids, in.ID)
	}
	if !slices.Contains(ids, intentID(1)) || !slices.Contains(ids, intentID(4)) {
		t.Errorf("followed: %v", ids)
	}
	// A restart forgets how fresh answers are.
	b.pass(replaceAfter)
	b.told(1, News{State: IntentPending})
	b.told(4, News{State: IntentPending})
	b.kill()
	b.start(quick)
	refused(5, phone1, "555")
}

// Where nobody can say what became of it, three minutes are enough.
func TestUnsureIntentIsReplaced(t *testing.T) {
	b := newPayBench(t)
	b.open(1, phone1, "")
	b.told(1, News{Unsure: true})
	b.pass(replaceAfter - time.Second)
	if _, err := b.gate.OpenIntent(t.Context(), wish(2, phone1, "")); !errors.Is(err, ErrPaymentOpen) {
		t.Errorf("too early: %v", err)
	}
	b.pass(time.Second)
	if !b.gate.Replaceable(intentID(1)) {
		t.Error("it can be replaced")
	}
	b.open(2, phone1, "")
	if in, _ := b.gate.Intent(intentID(1)); in.State != IntentOpened || !in.Unsure {
		t.Errorf("the first one: %+v", in)
	}
}

func TestStartsAreLimited(t *testing.T) {
	for name, who := range map[string]func(i int) (MAC, string){
		"device": func(i int) (MAC, string) { return phone1, fmt.Sprint(100 + i) },
		"number": func(i int) (MAC, string) { return MAC{2, 0, 0, 0, 1, byte(i)}, "22997000001" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newPayBench(t)
			for i := range startsPer {
				d, phone := who(i)
				b.open(i, d, phone)
				b.open(i, d, phone) // no start
				b.told(i, News{State: IntentFailed})
				b.pass(time.Minute)
			}
			d, phone := who(9)
			_, err := b.gate.OpenIntent(t.Context(), wish(9, d, phone))
			var later *RetryError
			if !errors.As(err, &later) || !errors.Is(err, ErrManyPayments) || later.After != startWindow-startsPer*time.Minute {
				t.Fatalf("got %v", err)
			}
			if in := b.open(0, phone1, ""); in.State != IntentFailed {
				t.Errorf("what is known must be shown: %+v", in)
			}
			b.pass(later.After)
			b.open(9, d, phone)
		})
	}
}

// However long it leaves them open, a device has three payments.
func TestOpenPaymentsOfADevice(t *testing.T) {
	b := newPayBench(t)
	for n := range maxOpenPer {
		b.open(n, phone1, fmt.Sprint(1000+n))
		for range 4 { // each can be replaced, and no start counts any more
			b.pass(replaceAfter)
			for told := range n + 1 {
				b.told(told, News{State: IntentPending, Transaction: "t", Flow: FlowRedirect})
			}
		}
		if last := n == maxOpenPer-1; b.gate.Replaceable(intentID(n)) == last {
			t.Errorf("after %d: replaceable is %v", n+1, !last)
		}
	}
	_, err := b.gate.OpenIntent(t.Context(), wish(9, phone1, "1009"))
	var open *OpenPaymentError
	if !errors.As(err, &open) || open.Intent.ID != intentID(maxOpenPer-1) {
		t.Fatalf("got %v", err)
	}
	b.open(8, phone2, "1008") // another's is none of it
	b.told(0, News{State: IntentExpired})
	b.open(9, phone1, "1009")
}

// Strangers cannot fill the memory, and what has money in it stays.
func TestIntentsAreBounded(t *testing.T) {
	b := newPayBench(t)
	n := 0
	next := func() (MAC, string) {
		n++
		return MAC{2, 0, 1, byte(n >> 16), byte(n >> 8), byte(n)}, fmt.Sprint(100000 + n)
	}
	stranger := func() Intent { d, phone := next(); return b.open(n, d, phone) }
	paid := stranger()
	b.told(n, News{State: IntentPaid})
	review := stranger()
	b.told(n, News{State: IntentReview})
	first := stranger()
	b.told(n, News{State: IntentFailed})
	full := func(what string) {
		t.Helper()
		d, phone := next()
		if _, err := b.gate.OpenIntent(t.Context(), wish(n, d, phone)); !errors.Is(err, ErrPaymentsFull) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for opened := 0; opened < maxOpenIntents; opened += maxYoungIntents {
		for range maxYoungIntents {
			stranger()
		}
		b.pass(youngIntent - time.Second)
		full("just below 15 minutes")
		b.pass(time.Second)
	}
	full("all that may have been paid are kept")
	if open := len(b.gate.OpenIntents()) - 2; open != maxOpenIntents { // one is in review, one failed
		t.Errorf("%d are open", open)
	}
	for _, in := range b.gate.OpenIntents() {
		b.gate.TellIntent(t.Context(), in.ID, News{State: IntentExpired})
	}
	for range maxIntents {
		stranger()
		b.told(n, News{State: IntentCanceled})
	}
	b.gate.mu.RLock()
	kept := len(b.gate.state.intents)
	b.gate.mu.RUnlock()
	if kept != maxIntents {
		t.Errorf("%d are kept", kept)
	}
	if _, ok := b.gate.Intent(first.ID); ok {
		t.Error("the oldest that is over is still there")
	}
	b.pass(keepIntent + time.Hour)
	last := stranger()
	for _, in := range []Intent{paid, review, last} {
		if _, ok := b.gate.Intent(in.ID); !ok {
			t.Errorf("%v is gone", in.ID)
		}
	}
	b.gate.mu.RLock()
	kept = len(b.gate.state.intents)
	b.gate.mu.RUnlock()
	if kept != 3 {
		t.Errorf("%d are kept after three days", kept)
	}
}

// News lead forward, whatever comes after whatever.
func TestNewsNeverLeadBack(t *testing.T) {
	b := newPayBench(t)
	after := map[IntentState][]IntentState{ // what may follow
		IntentOpened:   {IntentPending, IntentFailed, IntentCanceled, IntentExpired, IntentReview, IntentPaid, IntentRefunded},
		IntentPending:  {IntentFailed, IntentCanceled, IntentExpired, IntentReview, IntentPaid, IntentRefunded},
		IntentExpired:  {IntentFailed, IntentCanceled, IntentReview, IntentPaid, IntentRefunded},
		IntentFailed:   {IntentCanceled, IntentReview, IntentPaid, IntentRefunded},
		IntentCanceled: {IntentFailed, IntentReview, IntentPaid, IntentRefunded},
		IntentReview:   {IntentPaid, IntentRefunded},
		IntentPaid:     {IntentRefunded},
		IntentRefunded: {},
	}
	n := 0
	for from := IntentOpened; from <= IntentRefunded; from++ {
		for to := IntentOpened; to <= IntentRefunded; to++ {
			n++
			b.open(n, MAC{2, 0, 2, 0, 0, byte(n)}, fmt.Sprint(2000+n))
			b.told(n, News{State: from, Transaction: "t", URL: "https://pay.example/x", Flow: FlowRedirect})
			in := b.told(n, News{State: to, Reason: "r\x00\n"})
			want := from
			if slices.Contains(after[from], to) {
				want = to
			}
			if in.State != want {
				t.Errorf("%v after %v is %v", to, from, in.State)
			}
			if in.Transaction != "t" || in.URL != "https://pay.example/x" || in.Flow != FlowRedirect {
				t.Errorf("%v after %v loses what was known: %+v", to, from, in.News)
			}
			if open := in.State.Open(); open != (in.Phone == fmt.Sprint(2000+n)) || !open && in.Phone != "**"+fmt.Sprintf("%02d", n%100) {
				t.Errorf("%v has the phone %q", in.State, in.Phone)
			}
			before := b.durable()
			b.told(n, News{State: to, Reason: "r"})
			if b.durable() != before {
				t.Errorf("%v said again after %v is written again", to, from)
			}
			b.told(n, News{State: IntentRefunded})
		}
	}
	if err := b.gate.TellIntent(t.Context(), intentID(9999), News{}); !errors.Is(err, ErrNoSuchIntent) {
		t.Errorf("got %v", err)
	}
	if err := b.gate.TellIntent(t.Context(), intentID(1), News{State: IntentRefunded + 1}); !errors.Is(err, ErrBadIntent) {
		t.Errorf("got %v", err)
	}
}

func paidPush(n int, in Intent) GrantPushed {
	return GrantPushed{Grant: fmt.Sprint("pay-", n), Plan: hubPlan, Device: in.Device, Key: in.Claim, Intent: in.ID.String()}
}

// Who waits for what he paid is online at once; for who does not, its time has
// not begun.
func TestPaidIntent(t *testing.T) {
	for name, c := range map[string]struct {
		wait func(b *bench)
		nas  string
		want bool
	}{
		"waiting":          {wait: func(b *bench) { b.gate.Waiting(phone1) }, want: true},
		"away":             {wait: func(*bench) {}},
		"has left":         {wait: func(b *bench) { b.gate.Waiting(phone1); b.pass(waitingFresh) }},
		"another waits":    {wait: func(b *bench) { b.gate.Waiting(phone2) }},
		"killed meanwhile": {wait: func(b *bench) { b.kill(); b.start(quick) }, want: true},
		"killed later":     {wait: func(b *bench) { b.pass(replaceAfter); b.kill(); b.start(quick) }},
		"behind a NAS":     {wait: func(b *bench) { b.gate.Waiting(phone1) }, nas: "nas1"},
		"failed before it": {wait: func(b *bench) { b.told(1, News{State: IntentFailed}); b.gate.Waiting(phone1) }, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newPayBench(t)
			r := wish(1, phone1, "111")
			r.NAS = c.nas
			in, err := b.gate.OpenIntent(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			b.told(1, News{State: IntentPending, Transaction: "tx", Flow: FlowPush})
			c.wait(b)
			if _, err := b.gate.Redeem(t.Context(), Redemption{Code: b.gate.ClaimCode(in.ID), Device: phone2}); name != "failed before it" && !errors.Is(err, ErrNotPaidYet) {
				t.Errorf("the code before it is paid: %v", err)
			}
			b.push(paidPush(1, in))
			b.push(paidPush(1, in)) // the hub was restored from a backup
			got, _ := b.gate.Intent(in.ID)
			if got.State != IntentPaid || got.Purchase != "pay-1" || got.Transaction != "tx" || got.Phone != "**11" {
				t.Errorf("%+v", got)
			}
			st := b.gate.Standing(phone1)
			if st.Online != c.want || st.Grant == nil || len(st.Queue) > 0 || b.issued() != 1 {
				t.Fatalf("standing %+v, %d grants", st, b.issued())
			}
			if _, passes := b.path.order(phone1); passes != c.want {
				t.Error("the data path differs")
			}
			if c.want {
				return
			}
			if st.Grant.State != Banked || st.Grant.TimeLeft != 24*time.Hour {
				t.Fatalf("%+v", st.Grant)
			}
			b.pass(48 * time.Hour)
			// A phone with a new address claims it, without being asked.
			if st := b.redeem(b.gate.ClaimCode(in.ID), phone3); !st.Online || st.Grant.TimeLeft != 24*time.Hour {
				t.Errorf("%+v", st)
			}
			if st := b.gate.Standing(phone1); st.Grant != nil {
				t.Errorf("two have it: %+v", st)
			}
			if _, err := b.gate.Redeem(t.Context(), Redemption{Code: b.gate.ClaimCode(in.ID), Device: phone2}); !errors.Is(err, ErrOtherDevice) {
				t.Errorf("in use elsewhere: %v", err)
			}
			if b.issued() != 1 {
				t.Errorf("%d grants", b.issued())
			}
		})
	}
}

func TestPaidIntentOfNobody(t *testing.T) {
	b := newPayBench(t)
	// The gateway was replaced: it knows nothing of the intent.
	b.push(GrantPushed{Grant: "pay-7", Plan: hubPlan, Device: phone1, Key: hubKey.VoucherKey("CLAIM777"), Intent: intentID(7).String()})
	if st := b.gate.Standing(phone1); st.Grant == nil || st.Online {
		t.Errorf("%+v", st)
	}
	if st, err := b.gate.Authorize(t.Context(), phone1); err != nil || !st.Online {
		t.Errorf("%+v %v", st, err)
	}
	// The code is taken by a voucher: what is paid is not lost for it.
	b.push(BatchPushed{Batch: "b", Plan: hubPlan, Keys: hubCodes("CLAIM888")})
	b.push(GrantPushed{Grant: "pay-8", Plan: hubPlan, Device: phone2, Key: hubKey.VoucherKey("CLAIM888"), Intent: "nonsense"})
	if st := b.gate.Standing(phone2); st.Grant == nil {
		t.Errorf("%+v", st)
	}
	if err := b.gate.TakePush(t.Context(), 0, GrantPushed{Grant: "rgz:1", Plan: hubPlan, Device: phone3}); !errors.Is(err, ErrBadPush) {
		t.Errorf("a hub takes the name of our own purchases: %v", err)
	}
	// Paid twice, for two open payments, is two grants.
	in1 := b.open(1, phone3, "1")
	b.told(1, News{State: IntentPending})
	b.pass(replaceAfter)
	b.told(1, News{State: IntentPending})
	in2 := b.open(2, phone3, "1")
	b.push(paidPush(2, in2))
	b.push(paidPush(1, in1))
	if st := b.gate.Standing(phone3); st.Grant == nil || len(st.Queue) != 1 {
		t.Errorf("%+v", st)
	}
	b.push(GrantGone{Grant: "pay-1"})
	if in, _ := b.gate.Intent(in1.ID); in.State != IntentRefunded {
		t.Errorf("%+v", in)
	}
	if st := b.gate.Standing(phone3); st.Grant == nil || len(st.Queue) != 0 {
		t.Errorf("%+v", st)
	}
}

// What nobody answers is given up after a day, and money still revives it.
func TestIntentIsGivenUp(t *testing.T) {
	b := newPayBench(t)
	in := b.open(1, phone1, "111")
	b.pass(watchIntent)
	got, _ := b.gate.Intent(in.ID)
	if got.State != IntentExpired || got.Phone != "**11" || len(b.gate.OpenIntents()) != 0 {
		t.Errorf("%+v", got)
	}
	b.push(paidPush(1, in))
	if got, _ := b.gate.Intent(in.ID); got.State != IntentPaid {
		t.Errorf("%+v", got)
	}
}

func TestSettleIntent(t *testing.T) {
	open := func(t *testing.T) *bench {
		b := newBench(t, quick)
		r := wish(1, phone1, "")
		r.Plan = "hour"
		if _, err := b.gate.OpenIntent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return b
	}
	settle := func(b *bench, n int, transaction string, paid Money) (Intent, error) {
		err := b.gate.SettleIntent(b.t.Context(), intentID(n), transaction, paid)
		in, _ := b.gate.Intent(intentID(n))
		return in, err
	}
	t.Run("enough", func(t *testing.T) {
		b := open(t)
		b.told(1, News{State: IntentPending, Transaction: "tx-1", Flow: FlowRedirect, URL: "https://kkiapay.me/pay/1"})
		b.gate.Waiting(phone1)
		for range 3 {
			in, err := settle(b, 1, "tx-1", Money{150, "XOF"})
			if err != nil || in.State != IntentPaid || in.Purchase != "rgz:tx-1" || in.URL == "" {
				t.Fatalf("%+v %v", in, err)
			}
		}
		st := b.gate.Standing(phone1)
		if !st.Online || b.issued() != 1 || b.gate.state.grants[1].Source != (Source{SourcePayment, "rgz:tx-1"}) {
			t.Errorf("%+v", st)
		}
		if _, err := b.gate.Redeem(t.Context(), Redemption{Code: b.gate.ClaimCode(intentID(1)), Device: phone2, Move: true}); err != nil {
			t.Error(err)
		}
		if b.issued() != 1 {
			t.Errorf("%d grants", b.issued())
		}
		// The same money for another payment.
		r := wish(2, phone3, "")
		r.Plan = "hour"
		if _, err := b.gate.OpenIntent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if in, err := settle(b, 2, "tx-1", Money{100, "XOF"}); err != nil || in.State != IntentReview || b.issued() != 1 {
			t.Errorf("%+v %v", in, err)
		}
	})
	for name, paid := range map[string]Money{"less": {99, "XOF"}, "another currency": {100, "XAF"}, "nothing": {}, "negative": {-100, "XOF"}} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			in, err := settle(b, 1, "tx-1", paid)
			if err != nil || in.State != IntentReview || in.Reason == "" || b.issued() != 0 {
				t.Errorf("%+v %v", in, err)
			}
			before := b.durable()
			if settle(b, 1, "tx-1", paid); b.durable() != before {
				t.Error("a review is written twice")
			}
			if in, err := settle(b, 1, "tx-1", Money{100, "XOF"}); err != nil || in.State != IntentPaid || b.issued() != 1 {
				t.Errorf("the rest came: %+v %v", in, err)
			}
		})
	}
	t.Run("another transaction", func(t *testing.T) {
		b := open(t)
		b.told(1, News{State: IntentPending, Transaction: "tx-1"})
		if in, err := settle(b, 1, "tx-2", Money{100, "XOF"}); !errors.Is(err, ErrBadIntent) || in.State != IntentPending {
			t.Errorf("%+v %v", in, err)
		}
		if _, err := settle(b, 3, "tx-1", Money{100, "XOF"}); !errors.Is(err, ErrNoSuchIntent) {
			t.Errorf("got %v", err)
		}
	})
}

// What is sold here is told to the hub like any sale.
func TestPaymentsAreTold(t *testing.T) {
	b := newPayBench(t)
	b.push(paidPush(1, b.open(1, phone1, "1")))
	b.open(2, phone2, "2")
	if err := b.gate.SettleIntent(t.Context(), intentID(2), "tx-2", hubPlan.Price); err != nil {
		t.Fatal(err)
	}
	list, err := b.gate.Outbox(0, 100)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	for i, want := range []Source{{SourceHub, "pay-1"}, {SourcePayment, "rgz:tx-2"}} {
		if e := list[i]; e.Kind != EntrySale || e.Source != want || e.Price != hubPlan.Price || e.HubCode {
			t.Errorf("%+v", e)
		}
	}
}

// While the journal cannot be written nothing is promised, and nothing of what
// was refused comes back.
func TestPaymentsNeedTheJournal(t *testing.T) {
	b := newPayBench(t)
	kept := b.open(1, phone1, "111")
	b.setFail(errors.New("disk full"))
	for range 2 {
		if _, err := b.gate.OpenIntent(t.Context(), wish(2, phone2, "222")); !errors.Is(err, ErrNotDurable) {
			t.Fatalf("got %v", err)
		}
	}
	if err := b.gate.TellIntent(t.Context(), kept.ID, News{State: IntentPaid}); !errors.Is(err, ErrNotDurable) {
		t.Errorf("got %v", err)
	}
	if in, ok := b.gate.Intent(kept.ID); !ok || in.State != IntentOpened {
		t.Errorf("%+v", in)
	}
	if _, ok := b.gate.Intent(intentID(2)); ok {
		t.Error("a refused payment is there")
	}
	b.setFail(nil)
	b.kill()
	b.start(quick)
	if _, ok := b.gate.Intent(intentID(2)); ok {
		t.Error("a refused payment came back")
	}
	b.open(2, phone2, "222")
}

// TestPaymentWithACrashAtEveryWrite pays while the power goes before and after
// each record, in turn; everybody repeats what was not answered.
func TestPaymentWithACrashAtEveryWrite(t *testing.T) {
	type step func(b *bench) error
	hubbed := []step{
		func(b *bench) error {
			_, err := b.gate.OpenIntent(b.t.Context(), wish(1, phone1, "111"))
			return err
		},
		func(b *bench) error {
			return b.gate.TellIntent(b.t.Context(), intentID(1), News{State: IntentPending, Transaction: "tx"})
		},
		func(b *bench) error {
			b.gate.Waiting(phone1)
			in, _ := b.gate.Intent(intentID(1))
			return b.gate.TakePush(b.t.Context(), 2, paidPush(1, in))
		},
		func(b *bench) error {
			return b.gate.TellIntent(b.t.Context(), intentID(1), News{State: IntentPaid})
		},
	}
	direct := []step{
		hubbed[0],
		func(b *bench) error { return b.gate.TellIntent(b.t.Context(), intentID(1), News{Unsure: true}) },
		hubbed[1],
		func(b *bench) error { return b.gate.SettleIntent(b.t.Context(), intentID(1), "tx", hubPlan.Price) },
	}
	for name, steps := range map[string][]step{"hub": hubbed, "direct": direct} {
		for at := range steps {
			for _, written := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%v", name, at, written), func(t *testing.T) {
					b := newPayBench(t)
					for i, do := range steps {
						if i == at {
							if !written {
								b.setFail(errors.New("power"))
							}
							err := do(b)
							// The last news of the hub are none any more.
							if known := name == "hub" && i == 3; written == (err != nil) && !known {
								t.Fatalf("step %d: %v", i, err)
							}
							b.setFail(nil)
							b.kill()
							b.start(quick)
						}
						if err := do(b); err != nil {
							t.Fatalf("step %d: %v", i, err)
						}
					}
					in, _ := b.gate.Intent(intentID(1))
					if in.State != IntentPaid || in.Purchase == "" || b.issued() != 1 {
						t.Errorf("%+v, %d grants", in, b.issued())
					}
					st := b.gate.Standing(phone1)
					if st.Grant == nil {
						t.Fatal("what was paid for is lost")
					}
					if _, err := b.gate.Authorize(t.Context(), phone1); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestRandomLivesOfPayments runs random payments with crashes, failing writes,
// lost and repeated news: what was paid is one grant, and nothing else is any.
func TestRandomLivesOfPayments(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			livePayments(t, rand.New(rand.NewPCG(seed, 11)))
		})
	}
}

func livePayments(t *testing.T, r *rand.Rand) {
	b := newHubBench(t, Options{RefusalTime: -1, SaveAfter: time.Second})
	b.push(PlanPushed{Plan: hubPlan})
	devices := []MAC{phone1, phone2, phone3}
	opened := map[int]Intent{} // acknowledged
	paid := map[int]bool{}     // the provider has the money
	granted := map[int]bool{}  // acknowledged
	boot := 0
	pay := func(n int) bool {
		in := opened[n]
		var err error
		if n%3 == 0 {
			err = b.gate.SettleIntent(t.Context(), in.ID, fmt.Sprint("tx-", n), hubPlan.Price)
			if errors.Is(err, ErrNoSuchIntent) {
				t.Fatalf("a payment is gone that was paid: %+v", in)
			}
		} else {
			l, _ := b.gate.Hub()
			err = b.gate.TakePush(t.Context(), l.Applied+1, paidPush(n, in))
		}
		if err != nil && !errors.Is(err, ErrNotDurable) {
			t.Fatal(err)
		}
		return err == nil
	}
	some := func() int {
		for n := range opened {
			return n
		}
		return 0
	}
	for i := range 200 {
		d := devices[r.IntN(len(devices))]
		n := some()
		switch k := r.IntN(16); {
		case k < 4:
			in, err := b.gate.OpenIntent(t.Context(), wish(i+1, d, fmt.Sprint(900+r.IntN(3))))
			if err == nil {
				opened[i+1] = in
			} else if !errors.Is(err, ErrPaymentOpen) && !errors.Is(err, ErrManyPayments) && !errors.Is(err, ErrNotDurable) {
				t.Fatal(err)
			}
		case k < 7 && n != 0:
			state := IntentState(r.IntN(int(IntentExpired) + 1))
			err := b.gate.TellIntent(t.Context(), opened[n].ID, News{State: state, Unsure: r.IntN(4) == 0})
			if err != nil && !errors.Is(err, ErrNotDurable) && !errors.Is(err, ErrNoSuchIntent) {
				t.Fatal(err)
			}
		case k < 9 && n != 0:
			paid[n] = true
			granted[n] = pay(n) || granted[n]
		case k == 9:
			b.gate.Waiting(d)
		case k < 12:
			b.pass(time.Duration(r.Int64N(int64(10 * time.Minute))))
		case k == 12:
			b.setFail(errors.New("disk full"))
		case k == 13:
			b.setFail(nil)
		case k == 14 && n != 0:
			b.gate.Redeem(t.Context(), Redemption{Code: b.gate.ClaimCode(opened[n].ID), Device: d, Move: r.IntN(2) == 0})
		case k == 15:
			b.kill()
			if r.IntN(2) == 0 {
				boot++
				b.path.reboot()
				b.clock.set(func(i *Instant) {
					i.Boot, i.Mono, i.Trusted = fmt.Sprint("boot", boot), time.Minute, r.IntN(2) == 0
				})
			}
			b.mu.Lock()
			b.fail, b.failed = nil, false
			b.mu.Unlock()
			b.start(b.gate.opts)
		}
		for n := range granted {
			if in, ok := b.gate.Intent(opened[n].ID); granted[n] && (!ok || in.State != IntentPaid || in.Purchase == "") {
				t.Fatalf("what was granted is %+v", in)
			}
		}
		if len(opened) > 0 && b.issued() > len(paid) {
			t.Fatalf("%d grants for %d payments", b.issued(), len(paid))
		}
	}
	// Everything heals.
	b.setFail(nil)
	b.kill()
	b.start(b.gate.opts)
	for n := range paid {
		if !pay(n) {
			t.Fatal("not taken")
		}
	}
	if b.issued() != len(paid) {
		t.Errorf("%d grants for %d payments", b.issued(), len(paid))
	}
	for n, in := range opened {
		if got, ok := b.gate.Intent(in.ID); !ok || (got.Purchase != "") != paid[n] {
			t.Errorf("payment %d, paid %v: %+v", n, paid[n], got)
		}
	}
}
