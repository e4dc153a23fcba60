package simros

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A command is one sentence of a client, taken apart.
type command struct {
	path   string // whole: "/ip/hotspot/user/add"
	menu   string // "/ip/hotspot/user"
	verb   string // "add"
	attrs  []Pair
	query  query
	tag    string
	strays []string // words that are none of these
}

func parseCommand(words []string) *command {
	c := &command{path: words[0]}
	if i := strings.LastIndexByte(c.path, '/'); i > 0 {
		c.menu, c.verb = c.path[:i], c.path[i+1:]
	}
	for _, w := range words[1:] {
		switch {
		case strings.HasPrefix(w, "="):
			name, value, _ := strings.Cut(w[1:], "=")
			c.attrs = append(c.attrs, Pair{name, value})
		case strings.HasPrefix(w, "?"):
			c.query = append(c.query, w)
		case strings.HasPrefix(w, ".tag="):
			c.tag = w[len(".tag="):]
		default:
			c.strays = append(c.strays, w)
		}
	}
	return c
}

func (c *command) attr(name string) (string, bool) {
	for _, a := range c.attrs {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// take removes an attribute and returns it.
func (c *command) take(name string) (string, bool) {
	for i, a := range c.attrs {
		if a.Name == name {
			c.attrs = append(c.attrs[:i:i], c.attrs[i+1:]...)
			return a.Value, true
		}
	}
	return "", false
}

// execute runs one command and answers it.
func (s *session) execute(ctx context.Context, c *command) {
	s.r.with(func() { s.r.commands[c.path]++ })
	if !s.wait(ctx, c.path) {
		s.trap(c, errInterrupted)
		return
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.cut {
		return
	}
	r.tick()
	if refused := r.refusal(s, c); refused != nil {
		s.trap(c, refused)
		return
	}
	m := r.menus[c.menu]
	var ret []string
	var trap *Trap
	switch {
	case c.path == "/system/reboot":
		r.restart()
		return
	case m == nil:
		// [FIELD] two refusals for one command
		s.send(c, trapf(0, "no such command or directory (%s)", r.unknownPart(c.path)).words()...)
		trap = errNoPrefix
	case len(c.strays) > 0:
		trap = errBadWord
	default:
		ret, trap = r.run(s, m, c)
	}
	if r.lost[c.path] > 0 {
		r.lost[c.path]--
		s.cut = true
		s.conn.Close()
		return
	}
	if trap != nil {
		s.trap(c, trap)
		return
	}
	s.done(c, ret...)
}

// wait is the time that the command takes; false if it was cancelled first.
func (s *session) wait(ctx context.Context, path string) bool {
	s.r.mu.Lock()
	delay, stalled := s.r.delay, s.r.stalled[path]
	s.r.mu.Unlock()
	if stalled {
		<-ctx.Done()
		return false
	}
	if delay <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Router) slow(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.delay > 0 || r.stalled[path]
}

// refusal is what stands before any command: faults, then the user's rights.
// Reading needs policy read, the rest write, and users need policy beside it
// [TF: the words of a group's policy].
func (r *Router) refusal(s *session, c *command) *Trap {
	if list := r.refusals[c.path]; len(list) > 0 {
		r.refusals[c.path] = list[1:]
		return list[0]
	}
	if r.denied[c.path] || r.denied[c.menu] {
		return errPermission
	}
	need := "write"
	switch c.verb {
	case "print", "getall", "get", "find", "listen":
		need = "read"
	case "reboot":
		need = "reboot"
	}
	if !s.policies[need] || need == "write" && strings.HasPrefix(c.menu, "/user") && !s.policies["policy"] {
		return errPermission
	}
	return nil
}

// run does what the verb says and returns the words that go with !done.
func (r *Router) run(s *session, m *menu, c *command) ([]string, *Trap) {
	switch c.verb {
	case "print", "getall":
		return r.runPrint(s, m, c)
	case "get":
		return r.runGet(m, c)
	case "find":
		return r.runFind(m, c)
	}
	if !m.can(c.verb) {
		return nil, errNoCommand
	}
	switch c.verb {
	case "add":
		return r.runAdd(m, c)
	case "login":
		return nil, r.runLogin(c)
	}
	items, trap := r.items(m, c)
	if trap != nil {
		return nil, trap
	}
	switch c.verb {
	case "set":
		return nil, r.set(m, items, c.attrs)
	case "unset":
		name, _ := c.take("value-name")
		p := m.prop(name)
		if p == nil || p.ro {
			return nil, noMatch("value-name")
		}
		for _, it := range items {
			it.v[name] = r.stored(p, p.def)
			r.changed(m, it)
			r.applied(m, it)
		}
		return nil, nil
	case "comment":
		return nil, r.set(m, items, c.attrs)
	case "move":
		return nil, r.runMove(m, items, c)
	}
	if len(c.attrs) > 0 {
		return nil, r.unknown(c.attrs[0].Name)
	}
	switch c.verb {
	case "remove":
		return nil, r.remove(m, items)
	case "enable":
		return nil, r.set(m, items, []Pair{{"disabled", "no"}})
	case "disable":
		return nil, r.set(m, items, []Pair{{"disabled", "yes"}})
	case "make-static":
		for _, it := range items {
			it.dynamic, it.v["dynamic"] = false, "false"
			delete(r.ends, it)
			r.changed(m, it)
		}
		return nil, nil
	case "reset-counters", "reset-counters-all":
		for _, it := range items {
			r.resetCounters(m, it)
		}
		return nil, nil
	}
	return nil, errNoCommand
}

// items finds what .id or numbers name. Both take a list [API].
func (r *Router) items(m *menu, c *command) ([]*row, *Trap) {
	if m.single || c.verb == "reset-counters-all" {
		return m.rows, nil
	}
	list, ok := c.take(".id")
	if !ok {
		list, ok = c.take("numbers")
	}
	if !ok || list == "" {
		return nil, errNoID
	}
	return m.findAll(list)
}

func (r *Router) runPrint(s *session, m *menu, c *command) ([]string, *Trap) {
	var only []string
	limited, count := false, false
	for _, a := range c.attrs {
		switch a.Name {
		case ".proplist":
			limited = true
			only = strings.Split(a.Value, ",")
		case "count-only":
			count = true
		case "detail", "stats", "stats-detail", "terse", "value-list", "without-paging", "brief", "all":
		default:
			return nil, r.unknown(a.Name)
		}
	}
	found := 0
	for _, it := range m.rows {
		words := r.print(m, it)
		if !c.query.match(getter(words), func(name, a, b string) bool { return m.prop(name).compare(a, b) < 0 }) {
			continue
		}
		found++
		if count {
			continue
		}
		s.send(c, r.reply(s, m, words, limited, only)...)
	}
	if count {
		return []string{"=ret=" + strconv.Itoa(found)}, nil
	}
	if found == 0 && r.version.atLeast(7, 18) {
		s.send(c, "!empty") // [API, CHG] since 7.18 when a query returns nothing
	}
	return nil, nil
}

// reply is the !re sentence of one item: properties of the list only, and
// those the item lacks left out, so that it may be empty [API, LIB].
func (r *Router) reply(s *session, m *menu, item []Pair, limited bool, only []string) []string {
	out := []string{"!re"}
	for _, p := range item {
		if limited && !slices.Contains(only, p.Name) {
			continue
		}
		if !s.policies["sensitive"] && (p.Name == "password" || p.Name == "secret") {
			continue // [TF] the policy word; that the property is left out is assumed
		}
		out = append(out, "="+p.Name+"="+p.Value)
	}
	return out
}

// unknownPart is the first word of a path that no menu has.
func (r *Router) unknownPart(path string) string {
	known := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		known += "/" + part
		found := false
		for p := range r.menus {
			found = found || p == known || strings.HasPrefix(p, known+"/")
		}
		if !found {
			return part
		}
	}
	return path
}

func getter(item []Pair) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, p := range item {
			if p.Name == name {
				return p.Value, true
			}
		}
		return "", false
	}
}

func (r *Router) runGet(m *menu, c *command) ([]string, *Trap) {
	items, trap := r.items(m, c)
	if trap != nil {
		return nil, trap
	}
	name, _ := c.attr("value-name")
	if len(items) != 1 || m.prop(name) == nil {
		return nil, noMatch("value-name")
	}
	v, _ := getter(r.print(m, items[0]))(name)
	return []string{"=ret=" + v}, nil
}

func (r *Router) runFind(m *menu, c *command) ([]string, *Trap) {
	var ids []string
	for _, it := range m.rows {
		if c.query.match(getter(r.print(m, it)), func(name, a, b string) bool { return m.prop(name).compare(a, b) < 0 }) {
			ids = append(ids, it.id)
		}
	}
	return []string{"=ret=" + strings.Join(ids, ";")}, nil
}

func (r *Router) runAdd(m *menu, c *command) ([]string, *Trap) {
	var before *row
	var trap *Trap
	if where, ok := c.attr("place-before"); ok && m.ordered {
		c.take("place-before")
		if before, trap = m.find(where); trap != nil {
			return nil, trap
		}
	}
	if from, ok := c.take("copy-from"); ok {
		it, trap := m.find(from)
		if trap != nil {
			return nil, trap
		}
		for i := range m.props {
			p := &m.props[i]
			if _, given := c.attr(p.name); !p.ro && !given && it.v[p.name] != "" {
				c.attrs = append(c.attrs, Pair{p.name, it.v[p.name]})
			}
		}
	}
	it, trap := r.add(m, c.attrs, before)
	if trap != nil {
		return nil, trap
	}
	r.applied(m, it)
	return []string{"=ret=" + it.id}, nil // [LIB]
}

// runMove puts items, in the order given, in front of the one that destination
// names. [LAB] Without a destination, or with one that does not exist, they go
// to the end.
func (r *Router) runMove(m *menu, items []*row, c *command) *Trap {
	where, _ := c.take("destination")
	before, _ := m.find(where)
	if slices.Contains(items, before) {
		return failure("can not move object before itself") // [LAB]
	}
	for _, it := range items {
		r.replace(m, it, before)
	}
	return nil
}
