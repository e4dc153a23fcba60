package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxSize is the largest file that Parse reads, in octets: far more than any
// zone needs.
const maxSize = 64 << 10

// maxKeys is how many keys and headers a file may have. The decoder's work on
// unknown keys grows with their number times the size of the file.
const maxKeys = 2000

// Parse reads a configuration and checks it. The name stands for the file in
// messages. What is wrong with the content is an *Error that holds all of it;
// any other error is r's.
func Parse(r io.Reader, name string) (*Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	c := &checker{file: name}
	if len(text) > maxSize {
		c.addAt(0, 0, "", fmt.Sprintf("the file is larger than %d KB; is it a configuration?", maxSize>>10))
		return nil, c.err()
	}
	var raw rawConfig
	if !c.decode(text, &raw) {
		return nil, c.err()
	}
	cfg := c.check(&raw)
	if err := c.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// decode fills raw from text. The decoder stops at the first value of a wrong
// kind, so decode records it, blanks it in its copy of the text and decodes
// again until the rest is read. It returns false where that makes no sense:
// the text is no TOML.
func (c *checker) decode(text []byte, raw *rawConfig) bool {
	text = bytes.Clone(text)
	c.scan(text)
	if len(c.places.list) > maxKeys {
		c.problems = nil
		c.addAt(0, 0, "", fmt.Sprintf("the file has more than %d keys; is it a configuration?", maxKeys))
		return false
	}
	for {
		*raw = rawConfig{}
		err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(raw)
		var unknown *toml.StrictMissingError
		var wrong *toml.DecodeError
		switch {
		case err == nil:
			return true
		case errors.As(err, &unknown):
			for i := range unknown.Errors {
				if c.full() {
					break
				}
				e := &unknown.Errors[i]
				line, column := e.Position()
				c.addAt(line, column, c.places.keyAt(offset(text, line, column), e.Key()), "unknown key; "+suggestion(e.Key()))
			}
			return true
		case errors.As(err, &wrong):
			line, column := wrong.Position()
			at := offset(text, line, column)
			c.addAt(line, column, c.places.keyAt(at, wrong.Key()), explain(wrong.Error()))
			p := c.places.covering(at, !c.broken)
			if p == nil || c.full() {
				return false
			}
			for i := p.start; i < p.end; i++ {
				if text[i] != '\n' {
					text[i] = ' '
				}
			}
			p.end = p.start // so that decode ends
		default:
			c.addAt(0, 0, "", err.Error())
			return false
		}
	}
}

// explain says what the decoder's message means to the author of the file.
func explain(message string) string {
	message = strings.TrimPrefix(message, "toml: ")
	if _, kind, ok := strings.Cut(message, " of type "); ok && strings.HasPrefix(message, "cannot decode") {
		switch kind {
		case "string":
			return `must be text in quotes`
		case "int64":
			return "must be a whole number without quotes, such as 10"
		case "bool":
			return "must be true or false, without quotes"
		case "[]string":
			return `must be a list of texts, such as ["a", "b"]`
		}
		return "must be a table of its own, with its keys below it"
	}
	if strings.HasPrefix(message, "cannot store an array table") {
		return "must be written in single brackets: there is only one"
	}
	if strings.HasPrefix(message, "cannot store a table") {
		return "must be a key with a value, not a table"
	}
	if strings.Contains(message, "too large to fit") {
		return "is too large a number"
	}
	if strings.HasSuffix(message, "is already defined") || strings.HasSuffix(message, "already exists") {
		return "is there a second time; keep one of them"
	}
	return message
}

// A place is where a key or a table header stands.
type place struct {
	key          string // path, plans numbered
	line, column int    // of the key, from 1
	header       bool
	start, end   int // offsets of the assignment, or of the table with its keys
}

// A places holds the keys and headers of a file.
type places struct {
	list  []place        // in the order of the file
	byKey map[string]int // index in list of the first place of each key
}

func (ps *places) append(p place) {
	if ps.byKey == nil {
		ps.byKey = make(map[string]int)
	}
	if _, ok := ps.byKey[p.key]; !ok {
		ps.byKey[p.key] = len(ps.list)
	}
	ps.list = append(ps.list, p)
}

// has reports whether the file has a key, whatever its value.
func (ps *places) has(key string) bool {
	_, ok := ps.byKey[key]
	return ok
}

// find returns where a key stands, or else the list or table that it belongs
// to, or zeros.
func (ps *places) find(key string) (line, column int) {
	for {
		if i, ok := ps.byKey[key]; ok {
			return ps.list[i].line, ps.list[i].column
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return 0, 0
		}
		key = key[:i]
	}
}

// covering returns the assignment at an offset, or else the table if that is
// wanted, or nil.
func (ps *places) covering(at int, table bool) *place {
	var found *place
	for i := range ps.list {
		p := &ps.list[i]
		if p.start <= at && at < p.end && (table || !p.header) {
			found = p // an assignment comes after its table
		}
	}
	return found
}

// keyAt returns the path of the key at an offset, where the decoder found
// these parts of it.
func (ps *places) keyAt(at int, parts []string) string {
	joined := strings.ToLower(strings.Join(parts, "."))
	p := ps.covering(at, true)
	// Keys of inline tables have no place of their own.
	if p == nil || strings.HasPrefix(joined, unnumbered(p.key)+".") {
		return joined
	}
	return p.key
}

// unnumbered removes the number of a plan from a path.
func unnumbered(key string) string {
	before, rest, ok := strings.Cut(key, "[")
	if !ok {
		return key
	}
	_, after, _ := strings.Cut(rest, "]")
	return before + after
}

// offset turns a position into an offset.
func offset(text []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
	}
	return at + column - 1
}

// scan lists the places of a text, and reports what the decoder would let
// pass: capitals in keys, and [plan] for [[plan]]. It ends at an error of
// syntax, which the decoder reports.
func (c *checker) scan(text []byte) {
	var p unstable.Parser
	p.Reset(text)
	table, header, plans := "", -1, 0
	line, lineAt := 1, 0 // the line reached, and where it begins
	for p.NextExpression() {
		e := p.Expression()
		var parts []string
		first := -1
		for it := e.Key(); it.Next(); {
			if first < 0 {
				first = int(it.Node().Raw.Offset)
			}
			parts = append(parts, string(it.Node().Data))
		}
		if first < 0 {
			continue
		}
		key := strings.Join(parts, ".")
		pl := place{start: first, end: int(e.Raw.Offset + e.Raw.Length)}
		line += bytes.Count(text[lineAt:first], []byte{'\n'})
		lineAt = bytes.LastIndexByte(text[:first], '\n') + 1
		pl.line, pl.column = line, first-lineAt+1
		if e.Kind == unstable.KeyValue {
			if table != "" {
				key = table + "." + key
			}
		} else {
			if e.Kind == unstable.ArrayTable && key == "plan" {
				plans++
				key = fmt.Sprintf("plan[%d]", plans)
			}
			table = key
			pl.header, pl.start, pl.end = true, lineAt, len(text)
			if header >= 0 {
				c.places.list[header].end = pl.start
			}
			header = len(c.places.list)
		}
		pl.key = strings.ToLower(key)
		c.places.append(pl)
		switch {
		case pl.key != key:
			c.addAt(pl.line, pl.column, pl.key, "must be written in small letters")
		case e.Kind == unstable.Table && key == "plan":
			c.addAt(pl.line, pl.column, key, "must be written [[plan]], in double brackets: there can be several")
		}
	}
	c.broken = p.Error() != nil
}

// suggestion names the keys that may stand where an unknown one stands.
func suggestion(key []string) string {
	table, name := strings.ToLower(strings.Join(key[:len(key)-1], ".")), strings.ToLower(key[len(key)-1])
	known := knownKeys()
	keys := known[table]
	if len(keys) == 0 {
		return "there is no table " + table + "; the tables are " + strings.Join(known[tables], ", ")
	}
	for _, k := range keys {
		if near(name, k) {
			return "did you mean " + k + "?"
		}
	}
	if table == "" {
		for _, t := range known[tables] {
			if near(name, t) {
				return "did you mean [" + t + "]?"
			}
		}
		return "the keys outside of tables are " + strings.Join(keys, ", ") + "; the tables are " + strings.Join(known[tables], ", ")
	}
	return "the keys of " + table + " are " + strings.Join(keys, ", ")
}

// tables is where knownKeys lists the names of the tables. No table has it as
// its name.
const tables = " tables"

// knownKeys reads the names of all keys from the reference, by table.
func knownKeys() map[string][]string {
	known := make(map[string][]string)
	seen := make(map[string]bool)
	c := new(checker)
	c.scan([]byte(Reference))
	for _, p := range c.places.list {
		key := unnumbered(p.key)
		if seen[key] {
			continue
		}
		seen[key] = true
		if p.header {
			known[tables] = append(known[tables], key)
			continue
		}
		table, name := "", key
		if i := strings.LastIndexByte(key, '.'); i >= 0 {
			table, name = key[:i], key[i+1:]
		}
		known[table] = append(known[table], name)
	}
	return known
}

// near reports whether two words differ by at most two letters put in, left
// out or changed, and not by all of them.
func near(a, b string) bool {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)] <= 2 && row[len(b)] < min(len(a), len(b))-1
}
