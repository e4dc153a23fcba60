package withdrawal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/hub/provider"
)

// decimal is an amount as JSON has it: minor units with two decimals, whatever
// the currency has.
type decimal string

func (d decimal) MarshalJSON() ([]byte, error) { return []byte(d), nil }

// money writes an amount of minor units exactly: 50000.00.
func money(amount int64, currency string) decimal {
	sign := ""
	if amount < 0 {
		sign, amount = "-", -amount
	}
	whole, cents := amount, int64(0)
	if digits, _ := provider.Exponent(currency); digits == 2 {
		whole, cents = amount/100, amount%100
	}
	text := strconv.FormatInt(cents, 10)
	if cents < 10 {
		text = "0" + text
	}
	return decimal(sign + strconv.FormatInt(whole, 10) + "." + text)
}

// percent writes per mille as per cent: 1.5.
func percent(permille int64) decimal {
	return decimal(strconv.FormatInt(permille/10, 10) + "." + strconv.FormatInt(permille%10, 10))
}

// statuses of the document. What nobody knows the end of is being processed.
var statuses = []struct {
	word   string
	states []hub.PayoutState
}{
	{"pending_verification", []hub.PayoutState{hub.PayoutCodeSent, hub.PayoutRequested}},
	{"pending_processing", []hub.PayoutState{hub.PayoutVerified}},
	{"processing", []hub.PayoutState{hub.PayoutProcessing, hub.PayoutAmbiguous}},
	{"completed", []hub.PayoutState{hub.PayoutCompleted}},
	{"failed", []hub.PayoutState{hub.PayoutFailed}},
	{"cancelled", []hub.PayoutState{hub.PayoutCanceled}},
	{"expired", []hub.PayoutState{hub.PayoutExpired}},
	{"reversed", []hub.PayoutState{hub.PayoutReversed}},
}

func statusOf(s hub.PayoutState) string {
	for _, x := range statuses {
		if slices.Contains(x.states, s) {
			return x.word
		}
	}
	return "processing"
}

// states are those of a status; FieldErrors if there is no such status.
func states(word string) ([]hub.PayoutState, error) {
	if word == "" {
		return nil, nil
	}
	for _, x := range statuses {
		if x.word == word {
			return x.states, nil
		}
	}
	return nil, hub.FieldErrors{{Field: "status", Text: "Statut inconnu."}}
}

// stamp is a time as the document writes it; null for none.
type stamp struct {
	at   time.Time
	zone *time.Location
}

func (s stamp) MarshalJSON() ([]byte, error) {
	if s.at.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + s.at.In(s.zone).Format(time.DateTime) + `"`), nil
}

func (h *Handler) stamp(t time.Time) stamp { return stamp{t, h.hub.Zone()} }

// optional is a text that is null when it is empty.
type optional string

func (o optional) MarshalJSON() ([]byte, error) {
	if o == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(o))
}

// day reads a date of a query; zero if it is not there.
func (h *Handler) day(c *call, name string) (time.Time, error) {
	v := c.form.Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, v, h.hub.Zone())
	if err != nil {
		return t, hub.FieldErrors{{Field: name, Text: "La date doit être au format AAAA-MM-JJ."}}
	}
	return t, nil
}

const (
	perPage    = 20
	maxPerPage = 100
)

// A page says which part of a list is asked for.
type page struct{ number, size int }

func (c *call) page() (p page, err error) {
	read := func(name string, without, most int) int {
		v := c.form.Get(name)
		if v == "" {
			return without
		}
		n, wrong := strconv.Atoi(v)
		if wrong != nil || n < 1 || n > most {
			err = hub.FieldErrors{{Field: name, Text: "Doit être un nombre de 1 à " + strconv.Itoa(most) + "."}}
		}
		return n
	}
	p = page{read("page", 1, 1_000_000), read("per_page", perPage, maxPerPage)}
	return p, err
}

func (p page) after() int { return (p.number - 1) * p.size }

// A paginator is a page with its links, as Laravel writes them.
type paginator struct {
	CurrentPage  int      `json:"current_page"`
	Data         any      `json:"data"`
	FirstPageURL string   `json:"first_page_url"`
	From         *int     `json:"from"`
	LastPage     int      `json:"last_page"`
	LastPageURL  string   `json:"last_page_url"`
	NextPageURL  optional `json:"next_page_url"`
	Path         string   `json:"path"`
	PerPage      int      `json:"per_page"`
	PrevPageURL  optional `json:"prev_page_url"`
	To           *int     `json:"to"`
	Total        int      `json:"total"`
	Stats        any      `json:"stats,omitempty"`
}

func (h *Handler) paginator(c *call, p page, data any, n, total int) paginator {
	last := max(1, (total+p.size-1)/p.size)
	out := paginator{CurrentPage: p.number, Data: data, LastPage: last, PerPage: p.size, Total: total, Path: h.address(c.Request)}
	link := func(number int) string {
		q := url.Values{}
		for name, values := range c.form {
			q[name] = values
		}
		q.Set("page", strconv.Itoa(number))
		return out.Path + "?" + q.Encode()
	}
	out.FirstPageURL, out.LastPageURL = link(1), link(last)
	if p.number < last {
		out.NextPageURL = optional(link(p.number + 1))
	}
	if p.number > 1 {
		out.PrevPageURL = optional(link(p.number - 1))
	}
	if n > 0 {
		from, to := p.after()+1, p.after()+n
		out.From, out.To = &from, &to
	}
	return out
}

// address is the URL of a request, without its query.
func (h *Handler) address(r *http.Request) string {
	if h.url != "" {
		return h.url + r.URL.Path
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + r.URL.Path
}

// digitsOf are the digits of a number that is searched for.
func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}
