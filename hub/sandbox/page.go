package sandbox

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
)

// A form is a page that asks a person for one thing, as providers' hosted
// pages do. It needs no script.
type form struct {
	title, amount, note string
	action              string
	hidden              [][2]string
	name, label, value  string
	button              string
	back                string // where to, if there is a way
}

const pageHead = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">%s<title>%s</title>
<style>body{font:16px sans-serif;max-width:22rem;margin:2rem auto;padding:0 1rem}input,button{font:inherit;width:100%%;box-sizing:border-box;padding:.6rem;margin:.4rem 0}
.amount{font-size:2rem}.no{color:#a00}.sandbox{color:#666;font-size:.8rem;margin-top:2rem}</style></head><body>
`

const pageFoot = `<p class="sandbox">Simulation: no money moves here.</p></body></html>
`

func (f form) page() page {
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, pageHead, "", e(f.title))
	fmt.Fprintf(&b, "<h1>%s</h1>\n", e(f.title))
	if f.note != "" {
		fmt.Fprintf(&b, "<p class=\"no\">%s</p>\n", e(f.note))
	}
	fmt.Fprintf(&b, "<p class=\"amount\">%s</p>\n<form method=\"post\" action=\"%s\">\n", e(f.amount), e(f.action))
	for _, h := range f.hidden {
		fmt.Fprintf(&b, "<input type=\"hidden\" name=\"%s\" value=\"%s\">\n", e(h[0]), e(h[1]))
	}
	fmt.Fprintf(&b, "<label>%s <input name=\"%s\" value=\"%s\" inputmode=\"tel\" required></label>\n<button>%s</button>\n</form>\n",
		e(f.label), e(f.name), e(f.value), e(f.button))
	b.WriteString(wayBack(f.back) + pageFoot)
	return page(b.String())
}

func wayBack(to string) string {
	if to = website(to); to == "" {
		return ""
	}
	return `<p><a href="` + html.EscapeString(to) + `">Back</a></p>` + "\n"
}

// waiting is a page that asks again after a second.
func waiting(title, again string) page {
	return page(fmt.Sprintf(pageHead, `<meta http-equiv="refresh" content="1;url=`+html.EscapeString(again)+`">`, html.EscapeString(title)) +
		"<h1>" + html.EscapeString(title) + "</h1>\n<p>Confirm on your phone.</p>\n" + pageFoot)
}

// ended is a page that says how it went, with a way back if there is one.
func ended(title, text, back string) page {
	return page(fmt.Sprintf(pageHead, "", html.EscapeString(title)) + "<h1>" + html.EscapeString(title) + "</h1>\n<p>" + html.EscapeString(text) + "</p>\n" +
		wayBack(back) + pageFoot)
}

// phones is the page of what waits for an answer, as the customers' phones
// would show it, with two buttons each.
func phones(open []Charge) page {
	var b strings.Builder
	e := html.EscapeString
	fmt.Fprintf(&b, pageHead, `<meta http-equiv="refresh" content="2">`, "Phones")
	b.WriteString("<h1>Phones</h1>\n")
	if len(open) == 0 {
		b.WriteString("<p>Nothing waits for an answer.</p>\n")
	}
	for _, c := range open {
		at := "/_control/charges/" + url.PathEscape(c.ID)
		fmt.Fprintf(&b, "<h2>%s</h2>\n<p>%s, %s: %s %s</p>\n<form method=\"post\"><button formaction=\"%s/approve\">Approve</button><button formaction=\"%s/refuse\">Refuse</button></form>\n",
			e(c.Phone), e(c.Provider), e(c.Kind), fixed(c.Asked.Amount, decimals(c.Asked.Currency)), e(c.Asked.Currency), e(at), e(at))
	}
	b.WriteString(pageFoot)
	return page(b.String())
}

// website is an address if a browser may be sent there.
func website(address string) string {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return address
	}
	return ""
}

// withQuery adds a parameter to an address.
func withQuery(address, name, value string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func found(to string) answer { return answer{status: http.StatusSeeOther, body: redirect(to)} }

func shownPage(p page) answer { return answer{status: http.StatusOK, body: p} }

// readForm reads parameters of the query and of a form of either kind.
func readForm(r *http.Request) bool {
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return r.ParseMultipartForm(maxBody) == nil
	}
	return r.ParseForm() == nil
}

// digits are those of a phone number as a person types it.
func digits(typed string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, typed)
}
