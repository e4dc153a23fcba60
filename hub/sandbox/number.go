package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// An outcome is what becomes of a charge or a payout.
type outcome int

const (
	pays outcome = iota
	slow
	refuses
	silent
	rejected
	poor
	unheard
	revived
	returned
	canceled
	half
	foreign
)

// Waits of outcomes, beside the customer's delay.
const (
	slowWait = 30 * time.Second
	lateWait = time.Minute
)

// numbers are the last digits of phone numbers that mean something, at every
// provider. All others pay.
var numbers = []struct {
	suffix        string
	what          outcome
	payer, payout string
}{
	{"0001", slow, "pays after 30 s", "paid after 30 s"},
	{"0002", refuses, "refuses on the phone", "fails"},
	{"0003", silent, "never answers", "stays under way for ever"},
	{"0004", rejected, "is refused at once; no payment is opened", "is refused at once"},
	{"0005", poor, "has not enough money", "fails: the merchant has not enough money"},
	{"0006", unheard, "pays, and the callback is lost", "paid, and the callback is lost"},
	{"0007", revived, "is reported failed; the money comes 60 s later", "fails"},
	{"0008", returned, "pays; it is given back 60 s later (not MyPayGa)", "paid"},
	{"0009", canceled, "is canceled by the provider", "fails"},
	{"0010", half, "pays half", "paid"},
	{"0011", foreign, "pays in another currency (FlexPay)", "paid"},
}

// outcomeOf is what a phone number does; the last digits decide.
func outcomeOf(phone string) outcome {
	for _, n := range numbers {
		if strings.HasSuffix(phone, n.suffix) {
			return n.what
		}
	}
	return pays
}

// A testNumber is one of section 10 of MyPayGa's document.
type testNumber struct {
	phone, code, status, message, operator string
}

const (
	paidMTech = "Trans ID: MPDDDD.YYYY.A3XXX. Votre PAIEMENT de XXXX FCFA a MTECH pour reference Testing transaction a ete effectue avec succes."
	poorLong  = "Dear customer,you have insuffient funds. Thank you."
	poorShort = "insuffient funds"
)

var testNumbers = []testNumber{
	{"074111111", "200", "Success", paidMTech, "Airtel Money"},
	{"074121212", "200", "Success", "Payment success", "Airtel Money"},
	{"074151522", "200", "Success", "Payment success", "Airtel Money"},
	{"077508412", "200", "Success", "Payment success", "Airtel Money"},
	{"074131313", "400", "Failed", poorLong, "Airtel Money"},
	{"650121212", "200", "Success", paidMTech, "Orange Money"},
	{"650131313", "400", "Failed", poorLong, "Orange Money"},
	{"242056549200", "200", "Success", "Payment success", "Airtel Money"},
	{"242056549400", "400", "Failed", poorShort, "Airtel Money"},
	{"09306315", "400", "Failed", poorShort, "Orange Money"},
	{"09306316", "200", "Success", "Payment success OM CI", "Orange Money"},
	{"07306316", "200", "Success", "Payment success OM CI", "Orange Money"},
}

// A testCard is one of the cards there. The code is 200 also where the bank
// refused; paid says what really was.
type testCard struct {
	number, code, message, brand string
	paid                         bool
}

var testCards = []testCard{
	{"4285220922286457", "200", "PAYMENT SUCCESS", "visa", true},
	{"4242937137682335", "200", "PAYMENT FAILED, INSUF FUND", "visa", false},
	{"4005075690593537", "200", "PAYMENT DECLINED, CONTACT YOUR BANK.", "visa", false},
	{"4102972145002274", "200", "PAYMENT DECLINED, CONTACT YOUR BANK.", "visa", false},
	{"5335406367416736", "200", "PAYMENT SUCCESS", "mastercard", true},
}

// NumbersHelp says which phone and card numbers do what.
func NumbersHelp() string {
	var b strings.Builder
	b.WriteString("Phone numbers, by their last four digits, at every provider (others pay at once):\n\n")
	for _, n := range numbers {
		fmt.Fprintf(&b, "  %s  who pays: %-48s payout: %s\n", n.suffix, n.payer, n.payout)
	}
	b.WriteString("\nTest numbers of MyPayGa, with a stest_ or ptest_ key:\n\n")
	for _, n := range testNumbers {
		fmt.Fprintf(&b, "  %-16s  %s %-7s  %s\n", n.phone, n.code, n.status, n.operator)
	}
	for _, c := range testCards {
		fmt.Fprintf(&b, "  %-16s  %s %s, %s\n", c.number, c.code, c.message, c.brand)
	}
	fmt.Fprintf(&b, "\nMyPayGa says of transfers %q, %q and %q, and of a refund that was made %q.\n", TransferDone, TransferFailed, TransferPoor, RefundDone)
	return b.String()
}
