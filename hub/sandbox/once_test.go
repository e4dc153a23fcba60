package sandbox_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"zonegate/hub/sandbox"
	"zonegate/sync/api"
)

// Whatever happens, money moves once for each request that was accepted, and
// goes back at most once; what is open or failed has not moved.
func TestMoneyMovesOnce(t *testing.T) {
	for seed := range uint64(12) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { moneyMovesOnce(t, seed+1) }) {
			return
		}
	}
}

func moneyMovesOnce(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	b := newBank(t, sandbox.Options{Seed: seed, Delay: time.Duration(random.IntN(3)-1) * time.Second, Quirks: sandbox.Quirks{Automatic: true},
		MyPayGa: sandbox.MyPayGaOptions{CallbackURL: "https://hub.test/m"}, KKiaPay: sandbox.KKiaPayOptions{WebhookURL: "https://hub.test/k"}})
	as := b.nelAs("reseller@example.com")
	phone := func(prefix string) string {
		return prefix + fmt.Sprintf("%04d", random.IntN(14))
	}
	var ids []string
	kinds := []string{sandbox.FaultLost, sandbox.FaultDouble, sandbox.FaultLate, sandbox.FaultReorder, sandbox.FaultForged, sandbox.FaultAmount, sandbox.FaultCurrency}
	for range 300 {
		for _, c := range b.Charges(nil)[len(ids):] {
			ids = append(ids, c.ID)
		}
		any := "none"
		if len(ids) > 0 {
			any = ids[random.IntN(len(ids))]
		}
		b.answers = 200 + 300*random.IntN(2)
		switch random.IntN(12) {
		case 0, 1:
			b.do("POST", flexBase+"/paymentService", flexAuth, flexBody(phone("24381555"), fmt.Sprint("R", random.IntN(50)), "100", "CDF"))
		case 2:
			b.do("POST", flexBase+"/merchantPayOutService", flexAuth, flexBody(phone("24381555"), fmt.Sprint("P", random.IntN(50)), "1.5", "USD"))
		case 3, 4:
			token := b.gaToken(sprod, fmt.Sprint("u", random.IntN(50)), "200")
			for range 1 + random.IntN(2) {
				b.gaRequest(sprod, token, phone("07415"), "200")
			}
		case 5:
			b.gaPost("/mpayment/sendClientTransfert", "amount", "100", "receiver_phone", phone("07465"), "country", "GA", "type_clt", "client", "apikey", sprod)
		case 6:
			var out struct{ RefundID string }
			b.decode(b.gaPost("/refund/create", "apikey", sprod, "payment_token", any, "amount", fmt.Sprint(50+random.IntN(200)), "description", "d"), &out)
			for range 1 + random.IntN(2) {
				b.gaPost("/refund/send", "apikey", sprod, "refund_id", out.RefundID)
			}
		case 7:
			b.Pay(host+widget(`"partnerId":"k"`), phone("019700"))
			b.do("POST", "/kkiapay/api/v1/transactions/revert", kkKeys, `{"transactionId":"`+any+`"}`)
		case 8:
			to := phone("+23761234")
			if status, _, _, _ := b.do("POST", nelBase+"/withdrawals/request", as, `{"amount":500,"phone_number":"`+to+`","operator":"mtn_money"}`); status == 201 {
				b.do("POST", nelBase+fmt.Sprintf("/withdrawals/%d/validate", 1+random.IntN(3)), as, `{"code":"`+b.nelCode(to)+`"}`)
			}
		case 9:
			b.Approve(any)
			b.Refuse(any, "")
			b.Forge(any)
		case 10:
			b.Break(sandbox.Fault{Kind: kinds[random.IntN(len(kinds))], Times: 1})
		case 11:
			b.pass(time.Duration(random.IntN(120)) * time.Second)
		}
	}
	b.pass(24 * time.Hour)

	moved := map[string]map[string][]api.Money{}
	back := map[string]int64{}
	for _, m := range b.Movements(nil) {
		if moved[m.ID] == nil {
			moved[m.ID] = map[string][]api.Money{}
		}
		moved[m.ID][m.Kind] = append(moved[m.ID][m.Kind], m.Money)
	}
	charges := b.Charges(nil)
	for _, c := range charges {
		is := moved[c.ID]
		gone := c.State == sandbox.StatePaid || c.State == sandbox.StateRefunding || c.State == sandbox.StateRefunded
		switch {
		case len(is[c.Kind]) > 1 || len(is[sandbox.KindRefund]) > 1:
			t.Errorf("moved twice: %+v, %v", c, is)
		case gone != (len(is[c.Kind]) == 1):
			t.Errorf("%+v, and moved %v", c, is)
		case gone && is[c.Kind][0] != c.Moved:
			t.Errorf("%+v, and moved %v", c, is)
		case c.Kind == sandbox.KindCharge && (c.State == sandbox.StateRefunded) != (len(is[sandbox.KindRefund]) == 1):
			t.Errorf("%+v, and refunded %v", c, is)
		}
		if c.Kind == sandbox.KindRefund && gone {
			back[c.Reference] += c.Moved.Amount
		}
		delete(moved, c.ID)
	}
	if len(moved) > 0 {
		t.Errorf("money that nobody asked for: %v", moved)
	}
	for reference, amount := range back {
		if paid := sum(b.Charged(reference)).Amount; amount > paid {
			t.Errorf("%s: %d paid, %d refunded", reference, paid, amount)
		}
	}
	available, blocked := b.Wallet()
	out := int64(0)
	for _, c := range charges {
		if c.Provider == sandbox.Nelsius && c.State == sandbox.StatePaid {
			out += c.Asked.Amount + 100 // with the fee
		}
	}
	if len(charges) < 50 || available+blocked+out != 500000 {
		t.Errorf("%d charges; the wallet has %d and %d blocked, %d went out", len(charges), available, blocked, out)
	}
}
