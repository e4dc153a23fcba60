package zonegate_test

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestRulesCanFail shows that each rule refuses what it is there to refuse and
// lets its neighbour pass. A rule that cannot fail is worse than none.
func TestRulesCanFail(t *testing.T) {
	source := func(path, name, code string) []string {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, "package x\n"+code, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return checkSource(path, name, fset, f)
	}
	arrow := func(from string, imports ...string) []string {
		return checkArrows(pkg{ImportPath: from, Imports: imports})
	}
	forbid := func(from, imp string) []string {
		return checkImports(pkg{ImportPath: from, Imports: []string{imp}})
	}

	tests := []struct {
		name     string
		problems []string
		want     string // part of the one problem; "" for none
	}{
		{"root uses std", arrow("zonegate", "fmt", "log/slog"), ""},
		{"root uses an adapter", arrow("zonegate", "zonegate/internal/journal"), "imports internal/journal"},
		{"root uses a module", arrow("zonegate", "golang.org/x/sync/errgroup"), "imports golang.org/x/sync/errgroup"},
		{"adapter uses the domain", arrow("zonegate/radius", "zonegate", "layeh.com/radius/rfc2866"), ""},
		{"adapter uses an adapter", arrow("zonegate/radius", "zonegate/portal"), "imports portal"},
		{"adapter uses another's module", arrow("zonegate/radius", "github.com/gin-gonic/gin"), "imports github.com/gin-gonic/gin"},
		{"a module with the same beginning", arrow("zonegate/radius", "layeh.com/radius2"), "imports layeh.com/radius2"},
		{"shaper uses a data path", arrow("zonegate/shaper", "zonegate/shaper/kernel"), "imports shaper/kernel"},
		{"data path uses the other", arrow("zonegate/shaper/mikrotik", "zonegate/shaper/kernel"), "imports shaper/kernel"},
		{"data path uses its own part", arrow("zonegate/shaper/kernel", "zonegate/shaper", "zonegate/shaper/kernel/nft"), ""},
		{"journal uses the domain", arrow("zonegate/internal/journal", "zonegate"), "imports ."},
		{"journal uses disk", arrow("zonegate/internal/journal", "zonegate/internal/disk"), ""},
		{"store uses journal", arrow("zonegate/internal/store", "zonegate", "zonegate/internal/journal", "go.etcd.io/bbolt"), ""},
		{"provider uses provider", arrow("zonegate/hub/flexpay", "zonegate/hub/kkiapay"), "imports hub/kkiapay"},
		{"program sees everything", arrow("zonegate/cmd/zonegate", "zonegate/portal", "zonegate/radius", "golang.org/x/sync/errgroup"), ""},
		{"adapter uses a task group", arrow("zonegate/portal", "golang.org/x/sync/errgroup"), ""},
		{"pure package uses a system call", arrow("zonegate/shaper", "golang.org/x/sys/unix"), "imports golang.org/x/sys/unix"},
		{"unknown package", arrow("zonegate/internal/newcomer"), "no row"},

		{"router links hub", checkRouterLinks([]string{"fmt", "zonegate/hub/kkiapay"}), "links hub/kkiapay"},
		{"router links hub itself", checkRouterLinks([]string{"zonegate/hub"}), "links hub"},
		{"router links test code", checkRouterLinks([]string{"testing"}), "links testing"},
		{"router links faults", checkRouterLinks([]string{"zonegate/internal/disk/faultdisk"}), "links zonegate/internal/disk/faultdisk"},
		{"router links itself", checkRouterLinks([]string{"zonegate/sync/central", "net/http"}), ""},

		{"exec in the data path", forbid("zonegate/shaper/kernel", "os/exec"), "imports os/exec"},
		{"exec in the lab", forbid("zonegate/internal/lab", "os/exec"), ""},
		{"templates in the portal", forbid("zonegate/portal", "html/template"), "3 MB"},
		{"templates in the daemon", forbid("zonegate/cmd/zonegate", "text/template"), "3 MB"},
		{"reflect in the domain", forbid("zonegate", "reflect"), "imports reflect"},
		{"old log", forbid("zonegate/radius", "log"), "*slog.Logger"},
		{"log/slog", forbid("zonegate/radius", "log/slog"), ""},
		{"testing outside tests", forbid("zonegate/internal/store", "testing"), "_test file"},
		{"faults outside tests", forbid("zonegate/internal/journal", "zonegate/internal/disk/faultdisk"), "on purpose"},
		{"the lab from an adapter", forbid("zonegate/portal", "zonegate/internal/lab"), "the lab"},
		{"a part of the lab from the router", forbid("zonegate/cmd/zonegate", "zonegate/internal/lab/bench"), "the lab"},
		{"the lab from its program", forbid("zonegate/cmd/zonelab", "zonegate/internal/lab"), ""},

		{"no comment", checkPackage("a", "a", nil), "0 package comments"},
		{"two comments", checkPackage("a", "a", []string{"a.go", "doc.go"}), "2 package comments"},
		{"vague name", checkPackage("internal/utils", "utils", []string{"doc.go"}), "name it after"},
		{"one comment", checkPackage("a", "a", []string{"doc.go"}), ""},

		{"octets in an int field", source("radius", "a.go", "type T struct{ InputOctets int }"), "InputOctets is int"},
		{"octets in an int64 parameter", source(".", "a.go", "func f(octetsLeft int64) {}"), "octetsLeft is int64"},
		{"octets in a uint32 variable", source("radius", "a.go", "var octets uint32"), "octets is uint32"},
		{"octets converted to int", source("radius", "a.go", "func f(x uint32) { octets := int(x); _ = octets }"), "octets is int"},
		{"octets in a map", source("hub", "a.go", "type T struct{ OctetsByDay map[string]int }"), "OctetsByDay is int"},
		{"octets in uint64", source("radius", "a.go", "type T struct{ InputOctets, OutputOctets uint64 }"), ""},
		{"octets in a type of ours", source("radius", "a.go", "type T struct{ Octets zonegate.Octets }"), ""},
		{"octets in a test", source("radius", "a_test.go", "var octets int"), ""},
		{"a data limit in int", source("sync/api", "a.go", "type T struct{ DataLimitMB *int }"), "DataLimitMB is int"},
		{"an allowance in int64", source(".", "a.go", "type T struct{ Allowance int64 }"), "Allowance is int64"},
		{"bytes in an int", source("portal", "a.go", "func f(bytesLeft int) {}"), "bytesLeft is int"},
		{"bytes in int32", source("shaper/kernel", "a.go", "type T struct{ MaxBytes int32 }"), "MaxBytes is int32"},
		{"bytes of a file", source("portal", "a.go", "type T struct{ MaxBytes int64 }"), ""},
		{"bytes of a buffer", source("internal/journal", "a.go", "func f(nBytes int) {}"), ""},
		{"octets of a buffer package", source("internal/journal", "a.go", "func f(octets int) {}"), "octets is int"},
		{"a byte slice", source("portal", "a.go", "func f(rawBytes []byte, macBytes [6]byte) {}"), ""},
		{"money in a float", source("radius", "a.go", "type T struct{ PriceFCFA float64 }"), "PriceFCFA is float64"},
		{"money in an integer", source("hub", "a.go", "type T struct{ PriceFCFA int64 }"), ""},
		{"a fraction in the hub", source("hub", "a.go", "func f() { _ = float64(1) }"), "float64 where money is"},
		{"a literal fraction in an adapter", source("hub/flexpay", "a.go", "var rate = 0.015"), "0.015 where money is"},
		{"a fraction read", source("hub/provider", "a.go", "var f = strconv.ParseFloat"), "ParseFloat where money is"},
		{"a fraction where a customer pays", source("portal", "pay.go", "var f float32"), "float32 where money is"},
		{"a fraction that paces callers", source("hub/server", "limit.go", "var level float64"), ""},
		{"a large number", source("hub", "a.go", "const most = 1e12"), ""},
		{"a fraction in a rate", source("shaper", "a.go", "var part = 0.1"), ""},
		{"a binding tag", source("portal", "a.go", "type T struct{ Code string `form:\"code\" binding:\"required\"` }"), "binding tag"},
		{"a form tag", source("portal", "a.go", "type T struct{ Code string `form:\"code\"` }"), ""},
		{"a skipped test", source("portal", "a_test.go", "func f(t *testing.T) { t.Skip() }"), "skips a test"},
		{"skipping elsewhere", source("portal", "a.go", "func f(t reader) { t.Skip() }"), ""},

		{"a machine's path", checkText("a.go", []byte(`dir := "/wo`+`rk/main"`)), "a.go:1"},
		{"a word that ends alike", checkText("a.go", []byte("x\nnet/netwo"+"rk/a and home"+"work/b")), ""},
		{"a registry", checkText("a.md", []byte("x\nhttps://pro"+"xy.golang.org")), "a.md:2"},
		{"a mirror", checkText("a.md", []byte("http://de"+"b.deb"+"ian.org/x")), "a.md:1"},
		{"a host that is no mirror", checkText("a.go", []byte("network-test.deb"+"ian.org")), ""},
		{"binary", checkText("a.bin", []byte("\x00 /wo"+"rk/main")), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			switch {
			case tt.want == "" && len(tt.problems) > 0:
				t.Errorf("got %q, want no problem", tt.problems)
			case tt.want != "" && (len(tt.problems) != 1 || !strings.Contains(tt.problems[0], tt.want)):
				t.Errorf("got %q, want one problem with %q", tt.problems, tt.want)
			}
		})
	}
}
