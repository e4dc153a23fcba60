package simros

import "strings"

// Upgrade starts the router again with another version, and with other
// internal numbers: those of each list are dealt out anew among its items, so
// that one known from before names something else. No document promises that
// the numbers stay through an upgrade; that they are swapped is the worst case.
// The properties of the menus stay those of the first version.
func (r *Router) Upgrade(to string) {
	r.with(func() {
		r.reboot()
		r.version = parseVersion(to)
		renamed := make(map[string]map[string]string) // by menu: old to new
		for path, m := range r.menus {
			ids := make(map[string]string)
			for i, it := range m.rows {
				ids[it.id] = m.rows[len(m.rows)-1-i].id
			}
			renamed[path] = ids
		}
		for path, m := range r.menus {
			for _, it := range m.rows {
				it.id = renamed[path][it.id]
				for i := range m.props {
					p := &m.props[i]
					if v, ok := it.v[p.name]; ok && (p.kind == ref || p.kind == refPair) {
						it.v[p.name] = follow(v, renamed[p.menu])
					}
				}
			}
		}
		for _, it := range r.menus["/system/resource"].rows {
			it.v["version"], it.v["build-time"] = r.versionText(), r.buildTime()
		}
	})
}

// follow rewrites a reference, a pair of them, or a negated one.
func follow(v string, ids map[string]string) string {
	parts := strings.Split(v, "/")
	for i, s := range parts {
		name, not := strings.CutPrefix(s, "!")
		if id, ok := ids[name]; ok {
			if parts[i] = id; not {
				parts[i] = "!" + id
			}
		}
	}
	return strings.Join(parts, "/")
}
