package simros

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A prop describes one property of a menu.
type prop struct {
	name     string
	kind     kind
	def      string   // value of an item added without it; "" is not printed
	values   []string // of a choice; of other kinds, words taken beside the kind's own values
	min, max uint64   // range of a number, when max is not 0
	menu     string   // that a ref names
	ro       bool     // printed, never taken
	required bool
	empty    bool   // printed even when empty
	hidden   bool   // never printed
	blank    string // the value that is kept, and so printed, as nothing
	label    string // what a refusal calls it, when that is not the name
}

// A menu is a list of items, or with single one item without a number.
type menu struct {
	path    string
	single  bool
	ordered bool   // place-before and move are known
	verbs   string // commands beside print, listen and get: "add set remove …"
	props   []prop
	// unique returns the refusal when r may not exist beside other, or nil.
	unique func(r, other *row) *Trap

	fromZero bool // [LAB] some lists begin with *0

	rows []*row
	next uint64 // internal number of the next item
}

// A row is one item. v holds values as printed; a reference holds the internal
// number of the item it names, so that a rename does not break it.
type row struct {
	id       string
	v        map[string]string
	dynamic  bool
	defaults bool // made by the router itself: not removable
	// refresh brings values that grow (counters, uptime) up to date.
	refresh func()

	used   usage         // of a user or a queue
	uptime time.Duration // of a user
	until  time.Duration // when it expires by itself; zero for never
}

func (m *menu) prop(name string) *prop {
	for i := range m.props {
		if m.props[i].name == name {
			return &m.props[i]
		}
	}
	return nil
}

func (m *menu) can(verb string) bool {
	return slices.Contains(strings.Fields(m.verbs), verb)
}

// newID: "*" and the internal number in upper-case hexadecimal [API, TF].
// Numbers are not used twice.
func (m *menu) newID() string {
	id := "*" + strings.ToUpper(strconv.FormatUint(m.next, 16))
	m.next++
	return id
}

func (m *menu) byID(id string) *row {
	for _, r := range m.rows {
		if r.id == id {
			return r
		}
	}
	return nil
}

// find resolves one .id word: an internal number, or an item's name, which
// [API] shows in its example (=.id=ether1).
func (m *menu) find(word string) (*row, *Trap) {
	if strings.HasPrefix(word, "*") {
		number, err := strconv.ParseUint(word[1:], 16, 64)
		if err != nil {
			return nil, errNoItem
		}
		if r := m.byID("*" + strings.ToUpper(strconv.FormatUint(number, 16))); r != nil {
			return r, nil
		}
		return nil, errNoItem4
	}
	for _, r := range m.rows {
		if r.v["name"] == word && word != "" {
			return r, nil
		}
	}
	// [LAB] In an ordered list a bare number is a position.
	if n, err := strconv.Atoi(word); err == nil && m.ordered && n >= 0 && n < len(m.rows) {
		return m.rows[n], nil
	}
	return nil, errNoItem
}

// findAll resolves the list of a .id or numbers word.
func (m *menu) findAll(list string) ([]*row, *Trap) {
	var rows []*row
	for word := range strings.SplitSeq(list, ",") {
		r, trap := m.find(word)
		if trap != nil {
			return nil, trap
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// resolve turns the name that a reference was given into the internal number
// of the item.
func (r *Router) resolve(p *prop, s string) (string, error) {
	if p.kind == refPair {
		up, down := halves(s)
		one := *p
		one.kind = ref
		u, err := r.resolve(&one, up)
		if err != nil {
			return "", err
		}
		d, err := r.resolve(&one, down)
		return u + "/" + d, err
	}
	if slices.Contains(p.values, s) || s == "" && !p.required {
		return s, nil
	}
	if name, not := strings.CutPrefix(s, "!"); not && p.label != "" { // a matcher may be negated
		id, err := r.resolve(p, name)
		return "!" + id, err
	}
	m := r.menus[p.menu]
	if strings.HasPrefix(s, "*") {
		if m.byID(s) == nil {
			return "", noMatch(p.title())
		}
		return s, nil
	}
	names := slices.Clone(p.values)
	for _, other := range m.rows {
		names = append(names, other.v["name"])
	}
	name, err := pick(p.title(), names, s)
	if err != nil || slices.Contains(p.values, name) {
		return name, err
	}
	other, trap := m.find(name)
	if trap != nil {
		return "", trap
	}
	return other.id, nil
}

// shown is how a stored value is printed. A reference whose item is gone
// prints as its number [LAB].
func (r *Router) shown(p *prop, v string) string {
	switch p.kind {
	case ref:
		id, not := strings.CutPrefix(v, "!")
		if other := r.menus[p.menu].byID(id); other != nil {
			if not {
				return "!" + other.v["name"]
			}
			return other.v["name"]
		}
	case refPair:
		one := *p
		one.kind = ref
		up, down := halves(v)
		return r.shown(&one, up) + "/" + r.shown(&one, down)
	case flag:
		if r.options.YesNo {
			if v == "true" {
				return "yes"
			}
			return "no"
		}
	}
	return v
}

// print returns the item as clients see it.
func (r *Router) print(m *menu, it *row) []Pair {
	if it.refresh != nil {
		it.refresh()
	}
	var out []Pair
	if !m.single {
		out = append(out, Pair{".id", it.id})
	}
	for i := range m.props {
		p := &m.props[i]
		v := it.v[p.name]
		if p.hidden || v == "" && !p.empty {
			continue
		}
		out = append(out, Pair{p.name, r.shown(p, v)})
	}
	return out
}

// assign checks attrs and returns the values to store. Nothing is stored when
// one of them is refused.
func (r *Router) assign(m *menu, attrs []Pair) (map[string]string, *Trap) {
	v := make(map[string]string, len(attrs))
	for _, a := range attrs {
		p := m.prop(a.Name)
		if p == nil || p.ro {
			return nil, r.unknown(a.Name)
		}
		var value string
		var err error
		if p.kind == ref || p.kind == refPair {
			value, err = r.resolve(p, a.Value)
		} else {
			value, err = p.parse(a.Value)
		}
		if err != nil {
			return nil, asTrap(err)
		}
		if p.blank != "" && value == p.blank {
			value = ""
		}
		v[a.Name] = value
	}
	return v, nil
}

// unknown: version 7 names the parameter [TF], version 6 does not [FIELD].
func (r *Router) unknown(name string) *Trap {
	if r.version.major < 7 {
		return trapf(1, "unknown parameter")
	}
	return trapf(1, "unknown parameter %s", name)
}

// add makes an item; before is the item in front of which it goes, or nil.
func (r *Router) add(m *menu, attrs []Pair, before *row) (*row, *Trap) {
	v, trap := r.assign(m, attrs)
	if trap != nil {
		return nil, trap
	}
	it := &row{v: make(map[string]string, len(m.props))}
	for i := range m.props {
		p := &m.props[i]
		given, ok := v[p.name]
		switch {
		case ok:
			it.v[p.name] = given
		case p.required:
			return nil, trapf(0, "missing =%s=", p.name) // [FIELD] the form; the category is assumed
		case p.def != "":
			it.v[p.name] = r.stored(p, p.def)
		}
	}
	if m.path == "/queue/simple" && it.v["name"] == "" {
		it.v["name"] = m.freeName("queue") // [TF] "queue1"
	}
	if trap := m.check(it, it); trap != nil && !r.duplicates[m.path] {
		return nil, trap
	}
	if trap := r.consistent(m, it); trap != nil {
		return nil, trap
	}
	r.added(m, it)
	r.insert(m, it, before)
	return it, nil
}

// freeName is the first unused name with a number.
func (m *menu) freeName(stem string) string {
	for n := 1; ; n++ {
		if name := stem + strconv.Itoa(n); m.named(name) == nil {
			return name
		}
	}
}

// stored turns a default, which names an item, into what is kept.
func (r *Router) stored(p *prop, def string) string {
	if p.kind == ref || p.kind == refPair {
		if v, err := r.resolve(p, def); err == nil {
			return v
		}
	}
	return def
}

func (r *Router) insert(m *menu, it *row, before *row) {
	if it.id == "" {
		it.id = m.newID()
	}
	at := len(m.rows)
	if before != nil {
		at = slices.Index(m.rows, before)
	}
	m.rows = slices.Insert(m.rows, at, it)
	if m.path == "/ip/hotspot/user" {
		it.refresh = func() { r.refreshUser(it) }
	}
	r.changed(m, it)
}

// check asks every other item whether it may exist beside it.
func (m *menu) check(it, self *row) *Trap {
	if m.unique == nil {
		return nil
	}
	for _, other := range m.rows {
		if other != self {
			if trap := m.unique(it, other); trap != nil {
				return trap
			}
		}
	}
	return nil
}

// set changes items, all or none of them (assumed).
func (r *Router) set(m *menu, items []*row, attrs []Pair) *Trap {
	v, trap := r.assign(m, attrs)
	if trap != nil {
		return trap
	}
	for _, it := range items {
		if it.dynamic && !m.single {
			return failure("can not change dynamic") // [FIELD]
		}
		next := &row{id: it.id, v: maps.Clone(it.v)}
		maps.Copy(next.v, v)
		if trap := m.check(next, it); trap != nil && !r.duplicates[m.path] {
			return trap
		}
		if trap := r.consistent(m, next); trap != nil {
			return trap
		}
	}
	for _, it := range items {
		maps.Copy(it.v, v)
		r.changed(m, it)
		r.applied(m, it)
	}
	return nil
}

func (r *Router) remove(m *menu, items []*row) *Trap {
	for _, it := range items {
		if m.path == "/user/group" {
			for _, u := range r.menus["/user"].rows {
				if u.v["group"] == it.id {
					return failure("group has some users") // [LAB]
				}
			}
		}
		if it.defaults {
			return failure("can not remove default item") // assumed wording
		}
	}
	for _, it := range items {
		if end := r.ends[it]; end != nil {
			end()
			continue
		}
		if it.dynamic {
			return failure("can not remove dynamic item") // assumed wording
		}
		r.drop(m, it)
		r.applied(m, it)
	}
	return nil
}

// drop takes the item out of its list and tells listeners.
func (r *Router) drop(m *menu, it *row) {
	i := slices.Index(m.rows, it)
	if i < 0 {
		return
	}
	m.rows = slices.Delete(m.rows, i, i+1)
	delete(r.ends, it)
	r.dead(m, it)
}

func asTrap(err error) *Trap {
	if t, ok := err.(*Trap); ok {
		return t
	}
	return failure("%v", err)
}
