package zonegate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The rules that keep the structure in docs/architecture.md true. Each rule is
// a function that returns problems in words; TestRulesCanFail in
// rules_self_test.go feeds every one of them something it must refuse.

const module = "zonegate"

// A row says what one package, or with a trailing "/..." one folder of
// packages, may import. Paths of ours are written without the module's name;
// the root is ".". Standard library is always allowed here. Tests may import
// what they like of ours: they stand outside.
type row struct {
	path  string
	ours  []string // exact paths or "folder/..."; nil for none, {"*"} for all
	third []string // import path prefixes outside the standard library
}

// System calls and task groups are at hand for every adapter, but not for the
// packages that only compute.
var (
	everywhere = []string{"golang.org/x/sync", "golang.org/x/sys"}
	pure       = []string{".", "shaper", "web", "sync/api", "hub", "phone"}
)

// arrows is the table of docs/architecture.md. The first row that matches a
// package decides. A new package needs a row, and so a reason.
var arrows = []row{
	{".", nil, nil},

	{"cmd/...", []string{"*"}, []string{"*"}},
	{"internal/lab/...", []string{"*"}, []string{"*"}},
	{"internal/torture", []string{"*"}, nil},
	{"scripts/...", nil, nil},
	{"firmware/...", nil, nil},
	{"third_party/...", nil, nil},

	{"radius/...", []string{".", "radius/..."}, []string{"layeh.com/radius"}},
	{"portal/...", []string{".", "web", "phone", "portal/..."}, []string{"github.com/gin-gonic/gin", "github.com/a-h/templ"}},
	{"web", nil, []string{"github.com/a-h/templ"}},
	{"phone", nil, nil},

	{"shaper", []string{"."}, nil},
	{"shaper/conformance", []string{"."}, nil},
	{"shaper/kernel/...", []string{".", "shaper", "shaper/kernel/..."}, []string{
		"github.com/vishvananda/netlink", "github.com/vishvananda/netns", "github.com/mdlayher/netlink"}},
	{"shaper/mikrotik/...", []string{".", "shaper"}, []string{"github.com/go-routeros/routeros/v3"}},

	{"sync/api", nil, nil},
	{"sync/central", []string{".", "sync/api", "internal/http1"}, nil},

	{"hub", []string{".", "sync/api"}, nil},
	{"hub/provider", []string{".", "hub"}, nil},
	{"hub/...", []string{".", "hub", "hub/provider", "phone", "sync/api"}, []string{"*"}},

	{"internal/clock", []string{"."}, nil},
	{"internal/config", []string{"."}, []string{"github.com/pelletier/go-toml/v2", "golang.org/x/net/publicsuffix"}},
	{"internal/control", []string{".", "internal/http1"}, nil},
	{"internal/disk/...", []string{"internal/disk"}, nil},
	{"internal/dns", []string{"."}, []string{"golang.org/x/net/dns/dnsmessage"}},
	{"internal/doctor", []string{"internal/http1"}, nil},
	{"internal/http1", nil, nil},
	{"internal/journal", []string{"internal/disk"}, nil},
	{"internal/store", []string{".", "internal/journal", "internal/disk"}, []string{"go.etcd.io/bbolt"}},
}

// A pkg is what the rules need of `go list -json`.
type pkg struct {
	ImportPath   string
	Name         string
	Dir          string
	Standard     bool
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the package's path inside the module; "." is the root.
func (p pkg) path() string { return within(p.ImportPath) }

// within strips the module's name: "." for the root, "" for what is not ours.
func within(importPath string) string {
	if importPath == module {
		return "."
	}
	p, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return p
}

// matches reports whether path is pattern, or with a trailing "/..." lies in it.
func matches(pattern, path string) bool {
	folder, ok := strings.CutSuffix(pattern, "/...")
	if !ok {
		return pattern == "*" || pattern == path
	}
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func anyMatches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// list runs go list with the tags and target of the router's builds.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-tags=nomsgpack,nethttpomithttp2", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, &stderr)
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

func TestRuleImportsFollowTheArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		report(t, checkArrows(p))
	}
}

func checkArrows(p pkg) (problems []string) {
	i := slices.IndexFunc(arrows, func(r row) bool { return matches(r.path, p.path()) })
	if i < 0 {
		return []string{fmt.Sprintf("package %s has no row in the table of arrows: add one here and in docs/architecture.md, saying what it may import", p.path())}
	}
	r := arrows[i]
	for _, imp := range p.Imports {
		if own := within(imp); own != "" {
			if !anyMatches(r.ours, own) {
				problems = append(problems, fmt.Sprintf("%s imports %s: arrows point to the domain, and adapters do not know each other. Declare in %s the interface it needs and let cmd pass the other in",
					p.path(), own, p.path()))
			}
			continue
		}
		allowed := r.third
		if !slices.Contains(pure, p.path()) {
			allowed = slices.Concat(allowed, everywhere)
		}
		if !standard(imp) && !slices.ContainsFunc(allowed, func(prefix string) bool {
			return prefix == "*" || imp == prefix || strings.HasPrefix(imp, prefix+"/")
		}) {
			problems = append(problems, fmt.Sprintf("%s imports %s: only these modules may be used there: %v. Keep each dependency inside the one adapter named after it",
				p.path(), imp, allowed))
		}
	}
	return problems
}

// standard tells the standard library by its lack of a dot in the first element.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestRuleRouterLinksNoHubOrTestCode(t *testing.T) {
	var linked []string
	for _, p := range list(t, "-deps", "./cmd/zonegate") {
		linked = append(linked, p.ImportPath)
	}
	report(t, checkRouterLinks(linked))
}

func checkRouterLinks(linked []string) (problems []string) {
	for _, l := range linked {
		path := within(l)
		switch {
		case matches("hub/...", path):
			problems = append(problems, fmt.Sprintf("the router's program links %s: keys that can pay money out must never reach a router", path))
		case matches("internal/lab/...", path), path == "internal/disk/faultdisk", path == "radius/coa/fakenas",
			path == "shaper/conformance", path == "shaper/mikrotik/simros", l == "testing":
			problems = append(problems, fmt.Sprintf("the router's program links %s: that is for tests and the lab", l))
		}
	}
	return problems
}

func TestRuleForbiddenImports(t *testing.T) {
	for _, p := range list(t, "./...") {
		report(t, checkImports(p))
	}
}

// offRouter never runs on a router.
var offRouter = []string{"hub/...", "cmd/zonehub", "cmd/zonelab", "internal/lab/...", "scripts/...", "internal/disk/faultdisk"}

func checkImports(p pkg) (problems []string) {
	refuse := func(imp, why string) {
		problems = append(problems, fmt.Sprintf("%s imports %s: %s", p.path(), imp, why))
	}
	for _, imp := range p.Imports {
		switch imp {
		case "os/exec":
			if !anyMatches([]string{"internal/lab/...", "cmd/zonelab", "scripts/..."}, p.path()) {
				refuse(imp, "speak netlink or the protocol itself; programs are started in tests and the lab only")
			}
		case "html/template", "text/template":
			if !anyMatches(offRouter, p.path()) {
				refuse(imp, "it costs 3 MB on a router (reflect.MethodByName). Write a component in web/ or use fmt")
			}
		case "reflect":
			if !anyMatches(offRouter, p.path()) {
				refuse(imp, "write the few cases out; reflection hides them from the linker and the reader")
			}
		case "log":
			if !anyMatches(offRouter, p.path()) {
				refuse(imp, "take a *slog.Logger")
			}
		case "testing":
			refuse(imp, "move it to a _test file")
		case module + "/internal/disk/faultdisk":
			refuse(imp, "it loses data on purpose; only _test files may import it")
		}
		if matches("internal/lab/...", within(imp)) && !anyMatches([]string{"cmd/zonelab", "internal/lab/..."}, p.path()) {
			refuse(imp, "the lab sees everything, and nothing but its own program sees the lab")
		}
	}
	return problems
}

func TestRuleOneCommentPerPackage(t *testing.T) {
	for _, p := range list(t, "./...") {
		files := p.GoFiles
		if len(files) == 0 { // a folder of tests
			files = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		}
		var comments []string
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if packageComment(f) {
				comments = append(comments, name)
			}
		}
		report(t, checkPackage(p.path(), p.Name, comments))
	}
}

// packageComment leaves out generated files, whose header is no documentation.
func packageComment(f *ast.File) bool {
	return strings.TrimSpace(f.Doc.Text()) != "" && !ast.IsGenerated(f)
}

var vagueName = regexp.MustCompile(`^(utils?|commons?|managers?|helpers?|misc|base|shared|lib)$`)

func checkPackage(path, name string, comments []string) (problems []string) {
	if len(comments) != 1 {
		problems = append(problems, fmt.Sprintf("package %s has %d package comments %v: have one, in doc.go or the main file, that says what lives there and what may not",
			path, len(comments), comments))
	}
	if vagueName.MatchString(name) {
		problems = append(problems, fmt.Sprintf("package %s is called %s: name it after the thing it holds", path, name))
	}
	return problems
}

func TestRuleSource(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			report(t, checkSource(p.path(), name, fset, f))
		}
	}
}

func TestRuleNothingOfTheMachineInTheTree(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == ".git" || path == "build" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		report(t, checkText(path, content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// machineText is what no line may hold: a word to look for first, since a
// search for plain text is quick, and where the word may be innocent an
// expression that decides. Written in pieces, or this file would be the first
// to break the rule.
var machineText = []struct {
	word string
	re   *regexp.Regexp
}{
	{"/wo" + "rk/", regexp.MustCompile(`(?:^|[^\w.])/wo` + `rk/`)},
	{"/ro" + "ot/", regexp.MustCompile(`/ro` + `ot/(?:go|\.cache)/`)},
	{"pro" + "xy.golang.org", nil},
	{"s" + "um.golang.org", nil},
	{"regis" + "try.npmjs", nil},
	{".deb" + "ian.org", regexp.MustCompile(`(?:deb|ftp\.?\w*|security)\.deb` + `ian\.org`)},
	{".lib" + "rary/", nil},
}

func checkText(path string, content []byte) (problems []string) {
	if bytes.IndexByte(content, 0) >= 0 { // not text
		return nil
	}
	for _, m := range machineText {
		if !bytes.Contains(content, []byte(m.word)) {
			continue
		}
		for i, line := range bytes.Split(content, []byte("\n")) {
			if bytes.Contains(line, []byte(m.word)) && (m.re == nil || m.re.Match(line)) {
				problems = append(problems, fmt.Sprintf("%s:%d has %q: name no path of one machine and no registry host in the tree; use a relative path, t.TempDir or a setting",
					path, i+1, m.word))
			}
		}
	}
	return problems
}
