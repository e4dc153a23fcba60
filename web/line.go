package web

import (
	"context"
	"io"
	"strings"

	"github.com/a-h/templ"
)

// Lines below are joined by a middle dot.
const dot = " · "

// line sums a plan up.
func (p Plan) line(page Page) string {
	l := page.Lang
	parts := []string{l.Duration(p.Duration), l.Say(TextUnlimited)}
	if p.Cap > 0 {
		parts[1] = l.Octets(p.Cap, page.Megabyte)
	}
	if p.Rate > 0 {
		parts = append(parts, l.Say(TextUpTo, l.Rate(p.Rate)))
	}
	if p.Devices > 1 {
		parts = append(parts, l.Say(TextDevices, p.Devices))
	}
	return strings.Join(parts, dot)
}

// line sums up what waits in the queue.
func (b Balance) line(page Page) string {
	s := b.Left(page.Lang, page.Megabyte)
	if b.Cap == 0 {
		s += dot + page.Lang.Say(TextUnlimited)
	}
	return s
}

// Left sums up what is left in one line.
func (b Balance) Left(l Lang, megabyte uint64) string {
	s := l.Duration(b.TimeLeft)
	if b.Cap > 0 {
		s += dot + l.Octets(b.OctetsLeft, megabyte)
	}
	return s
}

func (b Balance) speed(l Lang) string {
	switch {
	case b.MIR == 0:
		return l.Say(TextLineSpeed)
	case b.CIR == 0:
		return l.Say(TextUpTo, l.Rate(b.MIR))
	}
	return l.Say(TextUpToKept, l.Rate(b.MIR), l.Rate(b.CIR))
}

// words is text as a component. A page passes its texts through it, because
// what is generated for { text } itself, with a place in a file for an error
// that cannot be, is four times the code.
type words string

func (t words) Render(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, templ.EscapeString(string(t)))
	return err
}
