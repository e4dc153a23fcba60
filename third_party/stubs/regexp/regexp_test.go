package regexp

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// TestMatchesAsRegexpDoes asks both about every text of up to three characters
// that matter to a pattern, and about longer ones by chance.
func TestMatchesAsRegexpDoes(t *testing.T) {
	alphabet := []string{"a", "Z", "0", "$", "_", "-", " ", ".", "+", ",", "*", "/", "!", "#", "%", "\t", "\n",
		"@", "[", "`", "{", "\x00", "\xff", "\u212a"}
	var texts []string
	longest := []string{""}
	for range 3 {
		texts = append(texts, longest...)
		var longer []string
		for _, text := range longest {
			for _, c := range alphabet {
				longer = append(longer, text+c)
			}
		}
		longest = longer
	}
	texts = append(texts, longest...)
	for c := range 256 {
		texts = append(texts, string([]byte{byte(c)}), string([]byte{'a', byte(c), 'b'}))
	}
	random := rand.New(rand.NewPCG(6, 1))
	for range 20_000 {
		text := ""
		few := 1 + random.IntN(len(alphabet))
		for range 4 + random.IntN(9) {
			text += alphabet[random.IntN(few)]
		}
		texts = append(texts, text)
	}
	for pattern := range matches {
		real, ours := regexp.MustCompile(pattern), MustCompile(pattern)
		yes := 0
		for _, text := range texts {
			want := real.MatchString(text)
			if got := ours.MatchString(text); got != want {
				t.Errorf("%s on %q: %t, want %t", pattern, text, got, want)
			}
			if want {
				yes++
			}
		}
		t.Logf("%s matches %d of %d texts", pattern, yes, len(texts))
		if yes < 20 {
			t.Errorf("%s matches %d texts only: nothing was compared", pattern, yes)
		}
	}
}

func TestOtherPatternsAreRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a pattern without a function was taken")
		}
	}()
	MustCompile(`^.*$`)
}

// TestRuleKnowsWhatRoutersUse finds each pattern in what the router's program
// links, html/template aside, which has a stand-in too.
func TestRuleKnowsWhatRoutersUse(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,Imports", "zonegate/cmd/zonegate")
	list.Env = append(os.Environ(), "GOFLAGS=-tags=nomsgpack,nethttpomithttp2", "GOOS=linux", "GOARCH=mipsle", "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Start(); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for packages := json.NewDecoder(out); ; {
		var p struct {
			ImportPath, Dir  string
			GoFiles, Imports []string
		}
		if err := packages.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == "html/template" || !slices.Contains(p.Imports, "regexp") {
			continue
		}
		for _, name := range p.GoFiles {
			for _, pattern := range patterns(t, filepath.Join(p.Dir, name)) {
				t.Logf("%s: %s", p.ImportPath, pattern)
				found[pattern] = true
				if matches[pattern] == nil {
					t.Errorf("%s uses %s: give it a function here", p.ImportPath, pattern)
				}
			}
		}
	}
	if err := list.Wait(); err != nil {
		t.Fatal(err)
	}
	for pattern := range matches {
		if !found[pattern] {
			t.Errorf("nothing uses %s any more: take it away", pattern)
		}
	}
}

// patterns are what the file gives regexp.MustCompile.
func patterns(t *testing.T, file string) (found []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		fun, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := fun.X.(*ast.Ident); !ok || of.Name != "regexp" {
			return true
		}
		var pattern string
		if text, ok := call.Args[0].(*ast.BasicLit); ok {
			pattern, err = strconv.Unquote(text.Value)
		}
		if pattern == "" || err != nil || fun.Sel.Name != "MustCompile" {
			t.Errorf("%s calls regexp.%s with what is not a text in place", file, fun.Sel.Name)
		}
		found = append(found, pattern)
		return true
	})
	return found
}
