package simros

import (
	"context"
	"slices"
	"strings"
)

// A listener is one listen command: [API] a !re whenever something in the list
// changes, with .dead=yes when an item goes; it ends only by /cancel.
// Counters are no change (assumed: [API] says only that listen "may not work"
// everywhere).
type listener struct {
	s       *session
	c       *command
	m       *menu
	limited bool
	only    []string
}

func (s *session) listen(ctx context.Context, c *command) {
	r := s.r
	r.mu.Lock()
	r.commands[c.path]++
	m := r.menus[c.menu]
	trap := r.refusal(s, c)
	if trap == nil && m == nil {
		trap = errNoPrefix
	}
	if trap != nil {
		r.mu.Unlock()
		s.trap(c, trap)
		return
	}
	l := &listener{s: s, c: c, m: m}
	if list, ok := c.attr(".proplist"); ok {
		l.limited, l.only = true, strings.Split(list, ",")
	}
	if !r.deaf[c.menu] {
		r.listeners[l] = struct{}{}
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	delete(r.listeners, l)
	r.mu.Unlock()
	s.trap(c, errInterrupted)
}

// changed tells listeners about a new or changed item.
func (r *Router) changed(m *menu, it *row) {
	for l := range r.listeners {
		if l.m != m {
			continue
		}
		item := r.print(m, it)
		if l.c.query.match(getter(item), func(name, a, b string) bool { return m.prop(name).compare(a, b) < 0 }) {
			l.s.send(l.c, r.reply(l.s, m, item, l.limited, l.only)...)
		}
	}
}

// dead tells listeners that an item is gone.
func (r *Router) dead(m *menu, it *row) {
	for l := range r.listeners {
		if l.m == m {
			l.s.send(l.c, "!re", "=.id="+it.id, "=.dead=yes")
		}
	}
}

// replace moves an item in front of another, or with nil to the end.
func (r *Router) replace(m *menu, it, before *row) {
	i := slices.Index(m.rows, it)
	m.rows = slices.Delete(m.rows, i, i+1)
	at := len(m.rows)
	if before != nil {
		at = slices.Index(m.rows, before)
	}
	m.rows = slices.Insert(m.rows, at, it)
	r.changed(m, it)
}
