package web

import (
	"context"
	"io"

	"github.com/a-h/templ"
)

// markup is a part of a page: HTML of ours and text, one after the other. The
// text is escaped, also for an attribute in double quotes. What is generated for
// the same is five times the code.
type markup []string

// add appends HTML, which must be a constant, and text.
func (m *markup) add(html, text string) { *m = append(*m, html, text) }

// Render implements templ.Component.
func (m markup) Render(_ context.Context, w io.Writer) error {
	for i, s := range m {
		if i%2 == 1 {
			s = templ.EscapeString(s)
		}
		if _, err := io.WriteString(w, s); err != nil {
			return err
		}
	}
	return nil
}

// link is a link that looks like a button; nothing without an address.
func link(class, to, text string) (m markup) {
	m.link(class, to, text)
	return m
}

func (m *markup) link(class, to, text string) {
	if to != "" {
		m.add(`<a class="`, class)
		m.add(`" href="`, to)
		m.add(`">`, text)
		m.add(`</a>`, "")
	}
}

// hidden is a field that the form sends back.
func (m *markup) hidden(name, value string) {
	m.add(`<input type="hidden" name="`, name)
	m.add(`" value="`, value)
	m.add(`">`, "")
}

// hint is a line in small type; nothing without a text.
func hint(text string) (m markup) {
	if text != "" {
		m.add(`<p class="hint">`, text)
		m.add(`</p>`, "")
	}
	return m
}

// payment leads to the payment that is under way, if there is one.
func payment(l Lang, to string) (m markup) {
	if to != "" {
		m.add(`<section class="card"><h1>`, l.Say(TextPayUnderWay))
		m.add(`</h1>`, "")
		m.link("go", to, l.Say(TextPaySee))
		m.add(`</section>`, "")
	}
	return m
}

func (f *PayForm) body() (m markup) {
	price := f.Lang.Price(f.Amount, f.Currency)
	m.add(`<section class="card"><h1>`, f.Plan)
	m.add(`</h1><p class="big">`, price)
	m.add(`</p></section><form method="post" action="`, f.Link("/pay", ""))
	m.add(`" class="card" autocomplete="off">`, "")
	m.hidden("f", f.FormToken)
	for _, h := range f.Hidden {
		m.hidden(h.Name, h.Value)
	}
	for _, w := range f.Ways {
		m.add(`<label class="way"><input type="radio" name="way" value="`, w.ID)
		if w.Picked {
			m.add(`" checked required>`, w.Name)
		} else {
			m.add(`" required>`, w.Name)
		}
		m.add(`</label>`, "")
	}
	if f.Example != "" {
		m.add(`<label for="phone">`, f.Lang.Say(TextPayNumber))
		m.add(`</label><p class="hint" id="hint">`, f.Lang.Say(TextPayNumberHint, f.Example))
		m.add(`</p><input type="tel" id="phone" name="phone" maxlength="32" autocomplete="tel" aria-describedby="hint" value="`, f.Phone)
		m.add(`">`, "")
	}
	m.add(`<button type="submit">`, f.Lang.Say(TextPayNow, price))
	m.add(`</button></form><p>`, "")
	m.link("go plain", f.Link(f.Back, ""), f.Lang.Say(TextPayBack))
	m.add(`</p>`, "")
	return m
}

func (w *Payment) body() (m markup) {
	if w.Done {
		m.add(`<section class="card on" role="status"><h1>`, w.Lang.Say(w.Title))
	} else {
		m.add(`<section class="card" role="status"><h1>`, w.Lang.Say(w.Title))
	}
	m.add(`</h1>`, "")
	for _, line := range w.Lines {
		m.add(`<p>`, line)
		m.add(`</p>`, "")
	}
	m.link("go", w.URL, w.Lang.Say(TextPayOpenPage))
	if w.Ask != "" {
		m.add(`<form method="post" action="`, w.Ask)
		m.add(`">`, "")
		m.hidden("f", w.FormToken)
		m.add(`<button type="submit" class="plain">`, w.Lang.Say(TextPaid))
		m.add(`</button></form>`, "")
	}
	m.link("go plain", w.Next, w.Lang.Say(w.Button))
	m.add(`</section><section class="card"><h2>`, w.Plan)
	m.add(`</h2><p>`, w.Sum)
	m.add(`</p>`, "")
	if w.Code != "" {
		m.add(`<h2>`, w.Lang.Say(TextCode))
		m.add(`</h2><p class="hint">`, w.Lang.Say(TextPayCodeHint))
		m.add(`</p><code class="big">`, w.Code)
		m.add(`</code>`, "")
	}
	m.add(`</section>`, "")
	return m
}
