package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/hub"
)

var (
	done    = hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true, ProviderRef: "p1"}
	taken   = hub.PayoutObservation{State: hub.PayoutProcessing, ProviderRef: "p1"}
	refused = hub.PayoutObservation{State: hub.PayoutFailed, Definitive: true, ProviderRef: "p1"}
)

// set says what the provider answers next.
func (b *bank) set(answer hub.PayoutObservation, failed error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer, b.failed, b.found, b.unfound, b.calls, b.looks, b.do = answer, failed, answer, failed, nil, 0, nil
}

// bring makes a withdrawal of 1,000 that is in a state.
func (d *desk) bring(s hub.PayoutState) hub.Withdrawal {
	d.Helper()
	now := func(w hub.Withdrawal, err error) hub.Withdrawal { return must(w, err)(d) }
	byHand := d.payouts.Rules[0].Payer == ""
	switch s {
	case hub.PayoutCodeSent:
		return d.request(1000)
	case hub.PayoutCanceled:
		return now(d.CancelWithdrawal(d.ctx, d.kofi, d.request(1000).ID))
	case hub.PayoutExpired:
		w := d.request(1000)
		d.clock.pass(time.Hour)
		d.ok(d.SweepPayouts(d.ctx))
		return w
	case hub.PayoutReversed:
		return now(d.ReverseWithdrawal(d.ctx, d.admin, d.bring(hub.PayoutCompleted).ID, "line"))
	}
	w := d.verified(1000)
	switch s {
	case hub.PayoutFailed:
		return now(d.FailWithdrawal(d.ctx, d.admin, w.ID, "no"))
	case hub.PayoutCompleted:
		d.bank.set(done, nil)
	case hub.PayoutAmbiguous:
		d.bank.set(hub.PayoutObservation{}, hub.ErrAmbiguous)
	case hub.PayoutProcessing:
		d.bank.set(taken, nil)
	default:
		return w
	}
	w = now(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))
	if s == hub.PayoutCompleted && byHand {
		return now(d.CompleteWithdrawal(d.ctx, d.admin, w.ID, "", ""))
	}
	return w
}

// Every state against everything that anybody can do: what becomes of it, or -
// where it is refused and nothing changes.
func TestPayoutTable(t *testing.T) {
	ops := []struct {
		name string
		do   func(d *desk, id string) error
	}{
		{"validate", func(d *desk, id string) error {
			_, err := d.ValidateWithdrawal(d.ctx, d.kofi, id, d.inbox.code())
			return err
		}},
		{"cancel", func(d *desk, id string) error { _, err := d.CancelWithdrawal(d.ctx, d.kofi, id); return err }},
		{"resend", func(d *desk, id string) error { _, err := d.ResendWithdrawalCode(d.ctx, d.kofi, id); return err }},
		{"claim", func(d *desk, id string) error { _, err := d.ClaimWithdrawal(d.ctx, d.admin, id); return err }},
		{"byhand", func(d *desk, id string) error { _, err := d.ClaimByHand(d.ctx, d.admin, id); return err }},
		{"approve", func(d *desk, id string) error { _, err := d.ApproveWithdrawal(d.ctx, d.other, id); return err }},
		{"release", func(d *desk, id string) error { _, err := d.ReleaseWithdrawal(d.ctx, d.admin, id); return err }},
		{"complete", func(d *desk, id string) error {
			_, err := d.CompleteWithdrawal(d.ctx, d.admin, id, "m", "n")
			return err
		}},
		{"fail", func(d *desk, id string) error { _, err := d.FailWithdrawal(d.ctx, d.admin, id, "no"); return err }},
		{"paid", func(d *desk, id string) error {
			_, err := d.ResolveWithdrawal(d.ctx, d.other, id, hub.Resolution{Paid: true, Statement: "line 1"})
			return err
		}},
		{"unpaid", func(d *desk, id string) error {
			_, err := d.ResolveWithdrawal(d.ctx, d.other, id, hub.Resolution{Statement: "line 1"})
			return err
		}},
		{"reverse", func(d *desk, id string) error {
			_, err := d.ReverseWithdrawal(d.ctx, d.admin, id, "line 2")
			return err
		}},
		{"sweep", func(d *desk, id string) error {
			d.clock.pass(time.Hour)
			return d.SweepPayouts(d.ctx)
		}},
	}
	const header = "               validate      cancel   resend    claim      byhand     approve       release       complete  fail   paid      unpaid reverse  sweep"
	tables := map[string]string{
		"bank": `
code_sent      code_verified canceled code_sent -          -          -             -             -         failed -         -      -        expired
code_verified  -             -        -         completed  processing code_verified -             -         failed -         -      -        code_verified
processing     -             -        -         -          -          -             -             -         -      completed failed -        completed
ambiguous      -             -        -         -          -          -             -             -         -      completed failed -        completed
completed      -             -        -         -          -          -             -             -         -      -         -      reversed completed
failed         -             -        -         -          -          -             -             -         -      -         -      -        failed
canceled       -             -        -         -          -          -             -             -         -      -         -      -        canceled
expired        -             -        -         -          -          -             -             -         -      -         -      -        expired
reversed       -             -        -         -          -          -             -             -         -      -         -      -        reversed`,
		"": `
code_sent      code_verified canceled code_sent -          -          -             -             -         failed -         -      -        expired
code_verified  -             -        -         processing processing code_verified -             completed failed -         -      -        code_verified
processing     -             -        -         -          -          -             code_verified completed failed completed failed -        processing
completed      -             -        -         -          -          -             -             -         -      -         -      reversed completed
failed         -             -        -         -          -          -             -             -         -      -         -      -        failed
canceled       -             -        -         -          -          -             -             -         -      -         -      -        canceled
expired        -             -        -         -          -          -             -             -         -      -         -      -        expired
reversed       -             -        -         -          -          -             -             -         -      -         -      -        reversed`,
	}
	for i, name := range strings.Fields(header) {
		if ops[i].name != name {
			t.Fatalf("column %d is %s", i, name)
		}
	}
	plentiful := func(payer string) func(*hub.Payouts) {
		return func(p *hub.Payouts) {
			r := &p.Rules[0]
			r.Payer, r.Count, r.Daily = payer, 1000, map[string]int64{hub.KYCVerified: 1e9}
		}
	}
	for payer, table := range tables {
		t.Run("by "+payer, func(t *testing.T) {
			onDesk(t, plentiful(payer), func(t *testing.T, d *desk) {
				d.fund(10_000_000)
				for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
					cells := strings.Fields(line)
					from := hub.PayoutState(cells[0])
					for i, op := range ops {
						w := d.bring(from)
						if got := d.state(w); got != from {
							t.Fatalf("%s could not be brought about: %s", from, got)
						}
						before, _ := d.balance()
						d.bank.set(done, nil)
						err := op.do(d, w.ID)
						want := hub.PayoutState(cells[i+1])
						if refusal := want == "-"; refusal {
							want = from
							if err == nil {
								t.Errorf("%s in %s was not refused", op.name, from)
							}
							if after, _ := d.balance(); after != before {
								t.Errorf("%s in %s was refused and moved %d", op.name, from, after-before)
							}
						} else if err != nil {
							t.Errorf("%s in %s: %v", op.name, from, err)
						}
						got := d.state(w)
						if got != want {
							t.Errorf("%s in %s leads to %s, want %s", op.name, from, got, want)
						}
						d.sound()
						// The next one must find the way free.
						if got == hub.PayoutProcessing || got == hub.PayoutAmbiguous {
							must(d.ResolveWithdrawal(d.ctx, d.other, w.ID, hub.Resolution{Statement: "end"}))(t)
						}
					}
				}
			})
		})
	}
}

// What a provider's answers make of a payout, and that it is never called
// again for what it may have done.
func TestPayoutAnswers(t *testing.T) {
	other := hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true, ProviderRef: "p1", Amount: zonegate.Money{Amount: 7, Currency: "XAF"}}
	dollars := other
	dollars.Amount = zonegate.Money{Amount: 900, Currency: "USD"}
	same := other
	same.Amount = zonegate.Money{Amount: 900, Currency: "XAF"}
	notYet := done
	notYet.Definitive = false
	back := hub.PayoutObservation{State: hub.PayoutReversed, Definitive: true}
	stranger := hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true, ProviderRef: "p2"}
	lost := fmt.Errorf("reading: %w", context.DeadlineExceeded)
	calls := []struct {
		what   string
		obs    hub.PayoutObservation
		err    error
		want   hub.PayoutState
		repeat bool // may be called again
	}{
		{"done", done, nil, hub.PayoutCompleted, false},
		{"done, with the amount", same, nil, hub.PayoutCompleted, false},
		{"done, perhaps", notYet, nil, hub.PayoutProcessing, false},
		{"taken", taken, nil, hub.PayoutProcessing, false},
		{"refused", refused, nil, hub.PayoutFailed, false},
		{"another amount", other, nil, hub.PayoutAmbiguous, false},
		{"another currency", dollars, nil, hub.PayoutAmbiguous, false},
		{"not sent", hub.PayoutObservation{}, fmt.Errorf("dialling: %w", hub.ErrNotSent), hub.PayoutVerified, true},
		{"a no", hub.PayoutObservation{}, &hub.RejectedError{Reason: "no such number"}, hub.PayoutFailed, false},
		{"ambiguous", hub.PayoutObservation{}, hub.ErrAmbiguous, hub.PayoutAmbiguous, false},
		{"a time-out", hub.PayoutObservation{}, lost, hub.PayoutAmbiguous, false},
		{"some error", hub.PayoutObservation{}, errors.New("500"), hub.PayoutAmbiguous, false},
		{"lost with its id", hub.PayoutObservation{}, &hub.AmbiguousError{ProviderRef: "p1", Err: lost}, hub.PayoutAmbiguous, false},
	}
	looks := []struct {
		what string
		obs  hub.PayoutObservation
		err  error
		want hub.PayoutState // "" is where it was
	}{
		{"done", done, nil, hub.PayoutCompleted},
		{"refused", refused, nil, hub.PayoutFailed},
		{"taken", taken, nil, ""},
		{"gone back", back, nil, hub.PayoutReversed},
		{"perhaps done", notYet, nil, ""},
		{"nothing", hub.PayoutObservation{}, nil, ""},
		{"another amount", other, nil, hub.PayoutAmbiguous},
		{"another payout", stranger, nil, "stranger"},
		{"an error", hub.PayoutObservation{}, errors.New("500"), ""},
		{"not found", hub.PayoutObservation{}, hub.ErrNotFound, ""},
		{"cannot", hub.PayoutObservation{}, hub.ErrUnsupported, hub.PayoutAmbiguous},
	}
	roomy := func(p *hub.Payouts) {
		byBank(p)
		p.Rules[0].Count, p.Rules[0].Daily = 1000, map[string]int64{hub.KYCVerified: 1e9}
	}
	onDesk(t, roomy, func(t *testing.T, d *desk) {
		d.fund(10_000_000)
		for _, c := range calls {
			w := d.verified(1000)
			d.bank.set(c.obs, c.err)
			w = must(d.ClaimWithdrawal(d.ctx, d.admin, w.ID))(t)
			if w.State != c.want {
				t.Errorf("%s: %s, want %s", c.what, w.State, c.want)
			}
			d.sound()
			open := w.State == hub.PayoutProcessing || w.State == hub.PayoutAmbiguous
			for _, l := range looks {
				if !open {
					break
				}
				if s := d.state(w); s != hub.PayoutProcessing && s != hub.PayoutAmbiguous { // it is settled: the next one
					d.bank.set(c.obs, c.err)
					n := d.verified(1000)
					w = must(d.ClaimWithdrawal(d.ctx, d.admin, n.ID))(t)
				}
				before := must(d.Withdrawal(d.ctx, d.admin, w.ID))(t)
				calls := d.bank.count()
				d.bank.mu.Lock()
				d.bank.found, d.bank.unfound = l.obs, l.err
				d.bank.mu.Unlock()
				want := l.want
				switch {
				case want == "":
					want = before.State
				case want == "stranger" && before.ProviderRef != "":
					want = hub.PayoutAmbiguous
				case want == "stranger":
					want = hub.PayoutCompleted
				}
				d.clock.pass(2 * time.Hour)
				d.ok(d.SweepPayouts(d.ctx))
				got := d.state(w)
				if got != want {
					t.Errorf("%s, then the lookup shows %s: %s, want %s", c.what, l.what, got, want)
				}
				if d.bank.count() != calls {
					t.Errorf("%s, then the lookup shows %s: it was paid again", c.what, l.what)
				}
				d.sound()
			}
			if open {
				for range 20 {
					d.clock.pass(2 * time.Hour)
					d.ok(d.SweepPayouts(d.ctx))
				}
				if d.bank.count() != 1 {
					t.Errorf("%s: it was paid %d times", c.what, d.bank.count())
				}
				if s := d.state(w); s == hub.PayoutProcessing || s == hub.PayoutAmbiguous {
					next := d.verified(1000)
					_, err := d.ClaimWithdrawal(d.ctx, d.admin, next.ID)
					wantErr(t, c.what+": the next one", err, hub.ErrPayoutOpen)
					must(d.ResolveWithdrawal(d.ctx, d.other, w.ID, hub.Resolution{Statement: "end"}))(t)
					must(d.FailWithdrawal(d.ctx, d.admin, next.ID, "end"))(t)
				}
			}
			if c.repeat {
				d.bank.set(done, nil)
				w = must(d.ClaimWithdrawal(d.ctx, d.other, w.ID))(t)
				if w.State != hub.PayoutCompleted || !strings.HasSuffix(d.bank.calls[0].Reference, "r2") {
					t.Errorf("%s, tried again: %s, as %s", c.what, w.State, d.bank.calls[0].Reference)
				}
			}
		}
	})
}

// Automatic payouts of one that cannot be reached are tried again, ever more
// seldom, each time with another reference.
func TestPayoutAutomatic(t *testing.T) {
	onDesk(t, automatic, func(t *testing.T, d *desk) {
		d.bank.set(hub.PayoutObservation{}, hub.ErrNotSent)
		w := d.verified(1000)
		for range 300 {
			d.ok(d.SweepPayouts(d.ctx))
			d.clock.pass(time.Minute)
		}
		if n := d.bank.count(); n < 8 || n > 14 {
			t.Errorf("in five hours it was tried %d times", n)
		}
		seen := map[string]bool{}
		for _, o := range d.bank.calls {
			if seen[o.Reference] || len(o.Reference) > 25 || o.Amount.Amount != 900 || o.Phone != "237612345678" {
				t.Errorf("the order %+v", o)
			}
			seen[o.Reference] = true
		}
		d.bank.set(taken, nil)
		d.clock.pass(2 * time.Hour)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutProcessing {
			t.Errorf("it is %s", d.state(w))
		}
		// A second one waits for the first.
		second := d.verified(1000)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(second) != hub.PayoutVerified || d.bank.count() != 1 {
			t.Errorf("the second is %s", d.state(second))
		}
		// A callback is a hint: the provider is asked at once.
		found, err := d.PayoutHint(d.ctx, "bank", hub.Hint{Reference: d.bank.calls[0].Reference, Raw: "paid"})
		d.ok(err)
		if !found || d.state(w) != hub.PayoutProcessing {
			t.Errorf("a callback: found %v, now %s", found, d.state(w))
		}
		if found, _ := d.PayoutHint(d.ctx, "bank", hub.Hint{Reference: "WTH0", ProviderRef: ""}); found {
			t.Error("a callback about nothing was taken")
		}
		d.bank.mu.Lock()
		d.bank.found = done
		d.bank.answer = hub.PayoutObservation{State: hub.PayoutCompleted, Definitive: true, ProviderRef: "p9"}
		d.bank.mu.Unlock()
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(w) != hub.PayoutCompleted {
			t.Errorf("after the callback it is %s", d.state(w))
		}
		d.clock.pass(time.Minute)
		d.ok(d.SweepPayouts(d.ctx))
		if d.state(second) != hub.PayoutCompleted || d.bank.count() != 2 {
			t.Errorf("the second is %s after %d calls", d.state(second), d.bank.count())
		}
		d.wantBalance("at the end", 98_000, 0)
	})
}
