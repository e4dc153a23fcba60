package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An edit replaces one piece of a file; the old text is there exactly once.
type edit struct{ file, old, new string }

// A mutation is a rule switched off.
type mutation struct {
	rule  string
	edits []edit
	seeds int // the most that it may take until somebody notices; 0 is 500
}

var mutations = []mutation{
	{rule: "a repeated intent is answered, and not started again", edits: []edit{
		{"hub/pay_start.go", "if p = n.payment; n.added && p.State == PaymentSubmitting {", "if p = n.payment; p.State == PaymentSubmitting {"}}, seeds: 1500},
	{rule: "a callback is looked up and not believed", edits: []edit{
		{"hub/pay_look.go", "	_, err := h.ask(ctx, x.payment, event{candidate: x.candidate, aside: x.candidate != \"\"}, said...)\n",
			"	_, err := h.happen(ctx, x.payment.ID, event{what: evSeen, at: h.at(), seen: Observation{Found: true, State: PaymentSucceeded, Amount: x.payment.Price}}, said...)\n"}}},
	{rule: "a number that a callback names is kept before it is answered", edits: []edit{
		{"hub/pay_look.go", "	x.kept, err = h.keepNamed(ctx, x.said)\n", ""}}},
	{rule: "the amount is compared", edits: []edit{
		{"hub/pay_move.go", "case o.Amount.Amount < p.Price.Amount:", "case o.Amount.Amount < 0:"}}},
	{rule: "the currency is compared", edits: []edit{
		{"hub/pay_move.go", "case o.Amount.Currency != p.Price.Currency:", "case o.Amount.Currency == \"\":"}}},
	{rule: "the reference that the provider shows is compared", edits: []edit{
		{"hub/pay_move.go", "return o.Found && o.Reference == p.Reference }", "return o.Found }"},
		{"hub/pay_move.go", "case o.Reference != \"\" && o.Reference != p.Reference:", "case false:"}}},
	{rule: "a provider's number is of one payment", edits: []edit{
		{"hub/pay_move.go", "return o.Found && o.Reference == p.Reference }", "return o.Found }"},
		{"hub/pay_move.go", "case o.Reference != \"\" && o.Reference != p.Reference:", "case false:"},
		{"hub/store/migrations/0002.sql", "CREATE UNIQUE INDEX payments_provider ON", "CREATE INDEX payments_provider ON"}}},
	{rule: "money that comes after a no is taken", edits: []edit{
		{"hub/pay_move.go", "	PaymentFailed:     {PaymentSucceeded, PaymentReview, PaymentRefunded},\n", "	PaymentFailed:     {},\n"}}},
	{rule: "money that comes after the waiting is taken", edits: []edit{
		{"hub/pay_move.go", "	PaymentExpired:    {PaymentSucceeded, PaymentFailed, PaymentCanceled, PaymentReview, PaymentRefunded},\n", "	PaymentExpired:    {PaymentFailed, PaymentCanceled},\n"}}},
	{rule: "a success stays one", edits: []edit{
		{"hub/pay_move.go", "	PaymentSucceeded:  {PaymentRefunding, PaymentRefunded},\n", "	PaymentSucceeded:  {PaymentRefunding, PaymentRefunded, PaymentFailed},\n"}}, seeds: 1500},
	{rule: "the success and its grant are one transaction", edits: []edit{
		{"hub/pay_book.go", "		err := h.store.Write(ctx, func(tx Tx) error { return h.applyChanges(tx, cs) })\n",
			"		var later []Grant\n		err := h.store.Write(ctx, func(tx Tx) error { return h.applyChanges(split{tx, &later}, cs) })\n" +
				"		if err == nil {\n			err = h.store.Write(ctx, func(tx Tx) error { return tx.AddGrants(later) })\n		}\n"},
		{"hub/pay_book.go", "// maxStale is how often", "type split struct {\n	Tx\n	later *[]Grant\n}\n\nfunc (s split) AddGrants(g []Grant) error { *s.later = append(*s.later, g...); return nil }\n\n// maxStale is how often"}}},
	{rule: "a start whose answer was lost is not repeated", edits: []edit{
		{"hub/pay_start.go", "case errors.Is(err, ErrNotSent) && p.Attempt < maxAttempts:", "case p.Attempt < maxAttempts:"}}},
	{rule: "a payout whose answer was lost is not repeated", edits: []edit{
		{"hub/withdraw_pay.go", "		case errors.Is(failed, ErrNotSent):\n			w.State, w.Reason, w.Claimed", "		case !errors.As(failed, &no):\n			w.State, w.Reason, w.Claimed"}}},
	{rule: "a payout that ended with the process is not repeated", edits: []edit{
		{"hub/withdraw_pay.go", "			h.doubt(w, \"the hub stopped before the provider's answer came\")\n",
			"			w.State, w.Called, w.NextLook = PayoutVerified, time.Time{}, h.at()\n			return nil\n"}}},
	{rule: "a reseller has one payout on its way", edits: []edit{
		{"hub/withdraw_pay.go", "		if err == nil && o.ID != w.ID {\n", "		if err == nil && o.ID == \"\" {\n"},
		{"hub/store/migrations/0003.sql", "CREATE UNIQUE INDEX withdrawals_open ON", "CREATE INDEX withdrawals_open ON"}}},
	{rule: "no more is paid out than there is", edits: []edit{
		{"hub/withdraw_user.go", "	if q.Amount > e.Available {\n", "	if false {\n"}}},
	{rule: "a refund whose answer was lost is not repeated", edits: []edit{
		{"hub/refund_step.go", "		case errors.Is(failed, ErrNotSent):\n			away", "		case !errors.As(failed, &no):\n			away"}}},
	{rule: "the grant is gone before the money goes back", edits: []edit{
		{"hub/refund_send.go", "	if r.Push != 0 {\n		r.State = RefundRevoking\n", "	if r.Push != 0 {\n		r.State = RefundReady\n"}}},
	{rule: "an intent is on the disk before it is sent", edits: []edit{
		{"internal/journal/journal.go", "	if err := j.active.Sync(); err != nil {\n", "	if err := error(nil); err != nil {\n"}}},
	{rule: "a grant is one at its gateway, however often it is pushed", edits: []edit{
		{"hub.go", "	key := t.meta.Key.purchaseKey(c.Grant)\n", "	key := t.meta.Key.purchaseKey(fmt.Sprint(c.Grant, t.meta.Seq))\n"}}},
	{rule: "each line is in the ledger", edits: []edit{
		{"hub/pay_book.go", "	lines := []Posting{{from, cur, p.Paid.Amount}, {AccountFee + p.Provider, cur, -fee}}\n", "	lines := []Posting{{from, cur, p.Paid.Amount - fee}}\n"}}},
}

// TestMutations switches rules off, one after the other: a machine without one
// must be found out.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs("../..")
	check(t, err)
	slots := make(chan struct{}, 2)
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.rule, " ", "_"), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			if m.seeds == 0 {
				m.seeds = 500
			}
			program := mutant(t, root, m)
			cmd := exec.Command(program, "-test.run=^TestTorture$", "-hurry", "-seeds", fmt.Sprint(m.seeds))
			out, err := cmd.CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("nobody notices within %d seeds that this is not so any more: %s", m.seeds, m.rule)
			case !bytes.Contains(out, []byte("replay: make")):
				t.Errorf("it broke in another way than by a wrong account:\n%s", out)
			default:
				for line := range strings.Lines(string(out)) {
					if strings.Contains(line, "WRONG: ") {
						t.Log(strings.TrimSpace(line))
						break
					}
				}
			}
		})
	}
}

// mutant builds this test with a mutation.
func mutant(t *testing.T, root string, m mutation) (program string) {
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(root, e.file))
			check(t, err)
			text = string(raw)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has this text %d times, not once: %q", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		check(t, os.WriteFile(to, []byte(text), 0o600))
		replace[filepath.Join(root, file)] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program = filepath.Join(dir, "mutant")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return program
}
