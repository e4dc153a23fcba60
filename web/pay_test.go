package web

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// Only what is constant is HTML.
func TestMarkupIsConstant(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "pay.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "add" {
			calls++
			if lit, ok := call.Args[0].(*ast.BasicLit); !ok || lit.Kind != token.STRING {
				t.Errorf("call %d of add has HTML that is no constant", calls)
			}
		}
		return true
	})
	if calls < 20 {
		t.Fatalf("found %d calls only", calls)
	}
}

func TestMarkupEscapes(t *testing.T) {
	var m markup
	m.hidden("n", `a"b`)
	m.link("go", `/x?a=1&b="`, "<i>'")
	var b strings.Builder
	if err := m.Render(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	const want = `<input type="hidden" name="n" value="a&#34;b"><a class="go" href="/x?a=1&amp;b=&#34;">&lt;i&gt;&#39;</a>`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}
