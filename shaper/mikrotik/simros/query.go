package simros

import (
	"strings"
)

// A query is the list of ?words of a print, in order.
type query []string

// match evaluates the query for one item. [API] A stack of booleans that
// begins as infinitely many true values; the item passes if no false is left
// on it.
func (q query) match(get func(name string) (string, bool), less func(name, a, b string) bool) bool {
	var stack []bool
	pop := func() bool {
		if len(stack) == 0 {
			return true
		}
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return top
	}
	for _, w := range q {
		w = w[1:] // the '?'
		switch {
		case w == "":
			stack = append(stack, false) // assumed: a property without a name is never there
		case w[0] == '#':
			stack = operate(stack, w[1:])
		case w[0] == '-':
			_, ok := get(w[1:])
			stack = append(stack, !ok)
		case w[0] == '<' || w[0] == '>':
			name, x, _ := strings.Cut(w[1:], "=")
			v, ok := get(name)
			if w[0] == '<' {
				stack = append(stack, ok && less(name, v, x))
			} else {
				stack = append(stack, ok && less(name, x, v))
			}
		default:
			name, x, compared := strings.Cut(strings.TrimPrefix(w, "="), "=")
			v, ok := get(name)
			if compared {
				ok = ok && v == x
			}
			stack = append(stack, ok)
		}
	}
	for len(stack) > 0 {
		if !pop() {
			return false
		}
	}
	return true
}

// operate applies the operations of a ?# word to the stack [API]: an index
// followed by a character pushes a copy of the value there, an index at the
// end replaces everything by it; '!' negates, '&' and '|' combine the two top
// values, '.' after an index does nothing and elsewhere copies the top.
func operate(stack []bool, ops string) []bool {
	at := func(i int) bool { // 0 is the top; below the bottom lie the infinite true values
		if i >= len(stack) {
			return true
		}
		return stack[len(stack)-1-i]
	}
	drop := func(n int) { stack = stack[:max(0, len(stack)-n)] }

	afterIndex := false
	for i := 0; i < len(ops); i++ {
		c := ops[i]
		if c >= '0' && c <= '9' {
			index := 0
			for i < len(ops) && ops[i] >= '0' && ops[i] <= '9' {
				index = min(index*10+int(ops[i]-'0'), maxWords)
				i++
			}
			v := at(index)
			if i == len(ops) {
				return []bool{v}
			}
			stack = append(stack, v)
			afterIndex = true
			i--
			continue
		}
		switch c {
		case '!':
			v := at(0)
			drop(1)
			stack = append(stack, !v)
		case '&':
			v := at(0) && at(1)
			drop(2)
			stack = append(stack, v)
		case '|':
			v := at(0) || at(1)
			drop(2)
			stack = append(stack, v)
		case '.':
			if !afterIndex {
				stack = append(stack, at(0))
			}
		}
		afterIndex = false
	}
	return stack
}
