package portal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	xhtml "golang.org/x/net/html"

	"zonegate"
	"zonegate/portal"
	"zonegate/web"
)

// A faultyGate fails where the real one cannot be made to.
type faultyGate struct {
	*zonegate.Gate
	err error
}

func (g faultyGate) Redeem(context.Context, zonegate.Redemption) (zonegate.Standing, error) {
	return zonegate.Standing{}, g.err
}

// refusalCases make every refusal of the portal happen on a zone of their own.
var refusalCases = []struct {
	reason string
	status int
	// what and next are the message; retry is the Retry-After in seconds.
	what, next web.Text
	retry      int
	arrange    func(*zone) call
}{
	{"empty", 422, web.TextEmpty, web.TextEmptyNext, 0, func(z *zone) call { return typed(" ") }},
	{"wrong", 422, web.TextWrong, web.TextWrongNext, 0, func(z *zone) call { return typed("<b>1234</b>") }},
	{"password", 422, web.TextPassword, web.TextPasswordNext, 0, func(z *zone) call {
		made, err := z.gate.CreateVouchers(context.Background(), zonegate.Batch{Plan: "a-hour", Sealed: true}, 1)
		if err != nil {
			panic(err)
		}
		code, _, _ := strings.Cut(made[0], ",")
		return typed(code)
	}},
	{"too_long", 422, web.TextTooLong, web.TextWrongNext, 0, func(z *zone) call { return typed(strings.Repeat("A", 65)) }},
	{"foreign", 422, web.TextForeign, web.TextForeignNext, 0, func(z *zone) call {
		code, err := zonegate.NewCode(strings.NewReader("another zone"))
		if err != nil {
			z.t.Fatal(err)
		}
		return typed(code)
	}},
	{"used", 410, web.TextUsedUp, web.TextUsedUpNext, 0, func(z *zone) call {
		code := z.codes("a-hour", 1)[0]
		z.must(z.gate.Redeem(context.Background(), zonegate.Redemption{Code: code, Device: macA}))
		z.clock.pass(2 * time.Hour)
		return typed(code)
	}},
	{"expired", 410, web.TextExpired, web.TextExpiredNext, 0, func(z *zone) call {
		codes, err := z.gate.CreateVouchers(context.Background(), zonegate.Batch{Plan: "a-hour", Expires: z.clock.Now().Wall.Add(-time.Hour)}, 1)
		if err != nil {
			z.t.Fatal(err)
		}
		return typed(codes[0])
	}},
	{"revoked", 410, web.TextRevoked, web.TextRevokedNext, 0, func(z *zone) call {
		code := z.codes("a-hour", 1)[0]
		if err := z.gate.RevokeVoucher(context.Background(), code); err != nil {
			z.t.Fatal(err)
		}
		return typed(code)
	}},
	{"other_device", 409, web.TextOtherDevice, web.TextOtherDeviceNext, 0, func(z *zone) call {
		code := z.codes("a-hour", 1)[0]
		z.must(z.gate.Redeem(context.Background(), zonegate.Redemption{Code: code, Device: macB}))
		return typed(code)
	}},
	{"moved_recently", 429, web.TextMovedRecently, web.TextWaitNext, 600, func(z *zone) call {
		code := z.codes("a-hour", 1)[0]
		for _, mac := range []zonegate.MAC{macA, macB} {
			z.must(z.gate.Redeem(context.Background(), zonegate.Redemption{Code: code, Device: mac, Move: true}))
		}
		c := typed(code)
		c.form.Set("move", "1")
		return c
	}},
	{"too_many", 429, web.TextTooMany, web.TextWaitNext, 600, func(z *zone) call {
		for range 5 {
			z.do(typed("1234"))
		}
		return typed(z.codes("a-hour", 1)[0])
	}},
	{"not_durable", 503, web.TextNotDurable, web.TextNotDurableNext, 60, func(z *zone) call {
		code := z.codes("a-hour", 1)[0]
		z.journal.break_(errors.New("input/output error"))
		return typed(code)
	}},
	{"stopped", 503, web.TextStopped, web.TextTryAgainNext, 10, func(z *zone) call {
		code := z.codes("a-hour", 1)[0]
		z.stop()
		return typed(code)
	}},
	{"no_grant", 402, web.TextNoGrant, web.TextNoGrantNext, 0, func(z *zone) call {
		return call{target: "/connect", form: url.Values{"f": {z.gate.FormToken(macA)}}}
	}},
	{"no_such_grant", 404, web.TextNoSuchGrant, web.TextNoSuchGrantNext, 0, func(z *zone) call {
		return call{target: "/move", form: url.Values{"f": {z.gate.FormToken(macA)}, "t": {"abc"}}}
	}},
	{"grant_ended", 410, web.TextGrantEnded, web.TextUsedUpNext, 0, func(z *zone) call {
		st := z.redeem("a-hour", macB)
		z.clock.pass(2 * time.Hour)
		return call{target: "/move", form: url.Values{"f": {z.gate.FormToken(macA)}, "t": {st.Grant.Token}}}
	}},
	{"form", 403, web.TextBadForm, web.TextBadFormNext, 0, func(z *zone) call {
		z.redeem("a-hour", macA)
		return call{target: "/logout", form: url.Values{"f": {z.gate.FormToken(macB)}}}
	}},
	{"unknown_device", 503, web.TextUnknownDevice, web.TextUnknownDeviceNext, 5, func(z *zone) call {
		c := typed(z.codes("a-hour", 1)[0])
		c.from = "192.168.77.99"
		return c
	}},
	{"no_answer", 503, web.TextNoAnswer, web.TextTryAgainNext, 5, func(z *zone) call {
		c := typed(z.codes("a-hour", 1)[0])
		z.links.away = fmt.Errorf("%w: it is off", portal.ErrNoAnswer)
		return c
	}},
	{"request", 400, web.TextBadRequest, web.TextNotFoundNext, 0, func(z *zone) call {
		return call{method: "POST", target: "/voucher?%", form: url.Values{}}
	}},
	{"too_large", 413, web.TextBadRequest, web.TextNotFoundNext, 0, func(z *zone) call { return typed(strings.Repeat("A", 5000)) }},
	{"not_found", 404, web.TextNotFound, web.TextNotFoundNext, 0, func(z *zone) call {
		return call{method: "POST", target: "/admin"}
	}},
	{"method", 405, web.TextBadRequest, web.TextNotFoundNext, 0, func(z *zone) call {
		return call{method: "PUT", target: "/voucher"}
	}},
	{"fault", 500, web.TextFault, web.TextTryAgainNext, 0, func(z *zone) call {
		z.server.Gate = faultyGate{z.gate, errors.New("reading the archive: bad block")}
		return typed("1234")
	}},
}

func typed(code string) call { return call{target: "/voucher", form: url.Values{"code": {code}}} }

func (z *zone) must(_ zonegate.Standing, err error) {
	z.t.Helper()
	if err != nil {
		z.t.Fatal(err)
	}
}

// Every refusal, in both languages, as a page, as JSON and as one line.
func TestRefusals(t *testing.T) {
	for _, test := range refusalCases {
		t.Run(test.reason, func(t *testing.T) {
			for lang, tag := range map[web.Lang]string{web.French: "fr-FR", web.English: "en"} {
				next := lang.Say(test.next)
				if test.next == web.TextWaitNext {
					next = lang.Say(test.next, lang.Wait(time.Duration(test.retry)*time.Second))
				}
				for _, accept := range []string{browser, program, anybody, ""} {
					z := newZone(t)
					c := test.arrange(z)
					c.accept, c.lang = accept, tag
					w := z.do(c)
					if w.Code != test.status {
						t.Errorf("%s %q: status %d, want %d", tag, accept, w.Code, test.status)
					}
					retry := ""
					if test.retry > 0 {
						retry = strconv.Itoa(test.retry)
					}
					if got := w.Header().Get("Retry-After"); got != retry {
						t.Errorf("%s %q: Retry-After %q, want %q", tag, accept, got, retry)
					}
					line := lang.Say(test.what) + " " + next
					switch accept {
					case browser:
						checkAlert(t, w.Body.String(), lang, lang.Say(test.what), next)
					case program:
						var a portal.Answer
						if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
							t.Fatalf("%v in %s", err, w.Body)
						}
						want := portal.Answer{Reason: test.reason, Message: line, RetryAfter: int64(test.retry)}
						if a.Online || a.Holding != nil || a.Queue != nil || a.Reason != want.Reason || a.Message != want.Message || a.RetryAfter != want.RetryAfter {
							t.Errorf("%+v, want %+v", a, want)
						}
					default:
						if got := w.Body.String(); got != line+"\n" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
							t.Errorf("%.100q as %q, want %q", got, w.Header().Get("Content-Type"), line)
						}
					}
				}
			}
		})
	}
}

// checkAlert finds the message where a screen reader does.
func checkAlert(t *testing.T, page string, lang web.Lang, what, next string) {
	t.Helper()
	doc, err := xhtml.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for n := range doc.Descendants() {
		if attr(n, "role") == "alert" {
			found = strings.Join(strings.Fields(text(n)), " ")
		}
		if n.Data == "html" && n.Type == xhtml.ElementNode && attr(n, "lang") != lang.Tag() {
			t.Errorf("lang=%q, want %q", attr(n, "lang"), lang.Tag())
		}
	}
	if want := strings.Join(strings.Fields(what+" "+next), " "); found != want {
		t.Errorf("alert %q, want %q", found, want)
	}
}

func attr(n *xhtml.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *xhtml.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == xhtml.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return b.String()
}

// No refusal of the Gate reads like another one.
func TestRefusalsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, test := range refusalCases {
		if test.what == web.TextBadRequest {
			// Only a broken client sees these.
			continue
		}
		for _, l := range []web.Lang{web.French, web.English} {
			s := l.Say(test.what)
			if other, ok := seen[s]; ok {
				t.Errorf("%s and %s both say %q", other, test.reason, s)
			}
			seen[s] = test.reason
		}
	}
}

// What a customer typed comes back into the field, and nowhere as markup.
func TestRefusedCodeIsEscaped(t *testing.T) {
	z := newZone(t)
	const code = `"><script>alert('x')</script>`
	c := typed(code)
	c.accept = browser
	page := z.do(c).Body.String()
	if strings.Contains(page, "<script") {
		t.Error("the code became markup")
	}
	doc, err := xhtml.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if attr(n, "id") == "code" && attr(n, "value") != code {
			t.Errorf("the field shows %q", attr(n, "value"))
		}
	}
}

func TestConfirmationMovesTheGrant(t *testing.T) {
	z := newZone(t)
	code := z.codes("b-day", 1)[0]
	z.must(z.gate.Redeem(t.Context(), zonegate.Redemption{Code: code, Device: macB}))
	c := typed(code)
	c.accept = browser
	w := z.do(c)
	fields := fieldsOf(t, w.Body.String(), "/voucher", "move")
	if fields.Get("code") != code || fields.Get("move") != "1" {
		t.Fatalf("the confirmation sends %v", fields)
	}
	w = z.do(call{target: "/voucher", form: fields, accept: browser})
	if w.Code != http.StatusSeeOther || !z.gate.Standing(macA).Online || z.gate.Standing(macB).Online {
		t.Errorf("status %d, here online %v, there %v", w.Code, z.gate.Standing(macA).Online, z.gate.Standing(macB).Online)
	}
}

// fieldsOf returns what the first form with this action and field would send.
func fieldsOf(t *testing.T, page, action, field string) url.Values {
	t.Helper()
	doc, err := xhtml.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Data != "form" || attr(n, "action") != action || attr(n, "method") != "post" {
			continue
		}
		values := url.Values{}
		for d := range n.Descendants() {
			if d.Data == "input" {
				values.Set(attr(d, "name"), attr(d, "value"))
			}
		}
		if values.Has(field) {
			return values
		}
	}
	t.Fatalf("no form posts %s to %s in %s", field, action, page)
	return nil
}
