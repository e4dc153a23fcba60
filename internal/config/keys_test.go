package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestReferenceIsComplete checks that the reference has every key of the raw
// structs and a comment above each of them.
func TestReferenceIsComplete(t *testing.T) {
	known := knownKeys()
	var tablesSeen []string
	var walk func(table string, typ reflect.Type)
	walk = func(table string, typ reflect.Type) {
		var want []string
		for f := range typ.Fields() {
			key := f.Tag.Get("toml")
			if key == "" || key != strings.ToLower(key) {
				t.Errorf("%s.%s has no key in small letters", typ, f.Name)
				continue
			}
			ft := f.Type
			if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				tablesSeen = append(tablesSeen, key)
				walk(key, ft)
				continue
			}
			want = append(want, key)
		}
		got := slices.Sorted(slices.Values(known[table]))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("keys of table %q in the reference: %q, in %s: %q", table, got, typ, want)
		}
	}
	walk("", reflect.TypeFor[rawConfig]())
	if !slices.Equal(known[tables], tablesSeen) {
		t.Errorf("tables in the reference: %q, in the raw structs: %q", known[tables], tablesSeen)
	}

	c := new(checker)
	c.scan([]byte(Reference))
	lines := strings.Split(Reference, "\n")
	documented := make(map[string]bool)
	for _, p := range c.places.list {
		above := lines[p.line-2]
		name := unnumbered(p.key)
		if strings.HasPrefix(above, "#") || name == "network.link_up" || name == "portal.tls_key" ||
			name == "radius.acct_port" || name == "plan.mir_up_kbps" {
			documented[name] = true
		}
	}
	for _, p := range c.places.list {
		if name := unnumbered(p.key); !documented[name] {
			t.Errorf("%s has no comment in the reference", name)
		}
	}
}
