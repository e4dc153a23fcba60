package zonegate_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// checkSource applies the rules that need only one file's syntax.
func checkSource(path, name string, fset *token.FileSet, f *ast.File) (problems []string) {
	test := strings.HasSuffix(name, "_test.go")
	refuse := func(at token.Pos, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s/%s:%d: %s", path, name, fset.Position(at).Line, fmt.Sprintf(format, args...)))
	}

	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if n.Tag != nil && strings.Contains(n.Tag.Value, `binding:"`) {
				refuse(n.Pos(), "has a binding tag, which nothing enforces (the validator is not built in): check the value in the handler")
			}
			if !test {
				for _, id := range n.Names {
					checkType(path, id, n.Type, refuse)
				}
			}
		case *ast.ValueSpec:
			if !test && n.Type != nil {
				for _, id := range n.Names {
					checkType(path, id, n.Type, refuse)
				}
			}
		case *ast.AssignStmt:
			if !test && n.Tok == token.DEFINE {
				checkConversions(path, n, refuse)
			}
		case *ast.Ident:
			if !test && handlesMoney(path, name) && slices.Contains(floats, n.Name) {
				refuse(n.Pos(), "uses %s where money is: amounts are read, kept and written as whole minor units", n.Name)
			}
		case *ast.BasicLit:
			if !test && handlesMoney(path, name) && n.Kind == token.FLOAT && strings.Contains(n.Value, ".") {
				refuse(n.Pos(), "uses %s where money is: write rates per mille", n.Value)
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && test && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				if on, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "tb"}, on.Name) {
					refuse(n.Pos(), "skips a test: say with Fatal what is missing, so that nobody takes silence for a pass")
				}
			}
		}
		return true
	})
	return problems
}

var (
	// octetName: traffic that customers pay for, and its limits.
	octetName = regexp.MustCompile(`(?i)octet|data_?limit|allowance`)
	// byteName: a name with the word bytes, or its start in lower case.
	byteName = regexp.MustCompile(`Bytes|^bytes`)
	// moneyName: amounts are whole minor units.
	moneyName = regexp.MustCompile(`(?i)price|amount|fcfa|balance|payout|^fee|Fee$|minorunits`)
)

var (
	notOctets = []string{"int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "float32", "float64"}
	notBytes  = []string{"int", "int8", "int16", "int32", "uint", "uint8", "uint16", "uint32", "float32", "float64"}
	notMoney  = []string{"float32", "float64"}
)

// floats are names by which a fraction could come near an amount.
var floats = []string{"float32", "float64", "Float32", "Float64", "ParseFloat", "FormatFloat", "Rat", "SetFloat64"}

// handlesMoney: all of the hub and of the contract, and what sells on the
// gateway. What only paces callers may count in fractions.
func handlesMoney(path, name string) bool {
	if path == "hub/server" && name == "limit.go" {
		return false
	}
	return anyMatches([]string{"hub", "hub/...", "phone", "sync/api", "sync/central"}, path) ||
		path == "." && name != "guess.go" || path == "portal" && (strings.HasPrefix(name, "pay") || name == "payment.go")
}

// bufferPackages count bytes of files, buffers and packets, whose sizes the
// standard library gives as int and int64; what customers transfer does not
// pass through them under a byte name.
var bufferPackages = []string{"internal/disk/...", "internal/journal", "internal/store", "internal/dns", "shaper/kernel/nft", "internal/lab/...", "scripts/..."}

// octetExceptions lists "package name" pairs that may break the octet or byte
// rule, each with its reason.
var octetExceptions = map[string]string{
	"internal/config DataLimitMB": "megabytes as TOML has them: signed, so that a negative limit can be refused with a reason",
}

// checkType refuses a declared name whose type is too small for what it counts.
// Pointers, slices and maps of such a type are refused with it.
func checkType(path string, id *ast.Ident, typ ast.Expr, refuse func(token.Pos, string, ...any)) {
	basic := basicType(typ)
	if _, ok := octetExceptions[path+" "+id.Name]; ok || basic == "" {
		return
	}
	switch {
	case octetName.MatchString(id.Name) && slices.Contains(notOctets, basic):
		refuse(id.Pos(), "%s is %s: octets are uint64 (an int is 32 bits on MIPS and negative after 2 GB); widen it where it is read from the wire", id.Name, basic)
	case byteName.MatchString(id.Name) && !isByteSlice(typ) && !anyMatches(bufferPackages, path) && slices.Contains(notBytes, basic):
		refuse(id.Pos(), "%s is %s: byte counts are uint64 (int64 for file sizes)", id.Name, basic)
	case moneyName.MatchString(id.Name) && slices.Contains(notMoney, basic):
		refuse(id.Pos(), "%s is %s: money is a whole number of minor units", id.Name, basic)
	}
}

// checkConversions catches `octets := int(x)`, where no type is written.
func checkConversions(path string, n *ast.AssignStmt, refuse func(token.Pos, string, ...any)) {
	if len(n.Lhs) != len(n.Rhs) {
		return
	}
	for i, l := range n.Lhs {
		id, ok := l.(*ast.Ident)
		call, isCall := n.Rhs[i].(*ast.CallExpr)
		if ok && isCall && len(call.Args) == 1 {
			checkType(path, id, call.Fun, refuse)
		}
	}
}

// basicType is the predeclared type that typ is made of, or "".
func basicType(typ ast.Expr) string {
	switch t := typ.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return basicType(t.X)
	case *ast.ArrayType:
		return basicType(t.Elt)
	case *ast.MapType:
		return basicType(t.Value)
	case *ast.Ellipsis:
		return basicType(t.Elt)
	case *ast.ParenExpr:
		return basicType(t.X)
	}
	return ""
}

// isByteSlice reports []byte, [n]byte and the like: data, not a count.
func isByteSlice(typ ast.Expr) bool {
	a, ok := typ.(*ast.ArrayType)
	if !ok {
		return false
	}
	id, ok := a.Elt.(*ast.Ident)
	return ok && (id.Name == "byte" || id.Name == "uint8")
}
