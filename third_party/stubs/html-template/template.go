// Package template stands in for html/template, to which gin and templ refer
// for callers who have such templates. zonegate's pages are Go code, and the
// functions that templates can call are kept by the linker whether one is
// parsed or not: 45 KB. Every parser fails with errNotBuiltIn.
package template

import (
	"errors"
	"io"
	"io/fs"
)

var errNotBuiltIn = errors.New("html/template is not built into zonegate for routers: write pages with templ")

// FuncMap would be what a template may call.
type FuncMap map[string]any

// HTML is text that is not escaped again.
type HTML string

// A Template is always empty.
type Template struct{}

// New returns an empty template.
func New(string) *Template { return &Template{} }

// Must panics on an error.
func Must(t *Template, err error) *Template {
	if err != nil {
		panic(err)
	}
	return t
}

func ParseFiles(...string) (*Template, error) { return nil, errNotBuiltIn }

func (t *Template) Delims(left, right string) *Template          { return t }
func (t *Template) Funcs(FuncMap) *Template                      { return t }
func (t *Template) Name() string                                 { return "" }
func (t *Template) Templates() []*Template                       { return nil }
func (t *Template) ParseGlob(string) (*Template, error)          { return nil, errNotBuiltIn }
func (t *Template) ParseFiles(...string) (*Template, error)      { return nil, errNotBuiltIn }
func (t *Template) ParseFS(fs.FS, ...string) (*Template, error)  { return nil, errNotBuiltIn }
func (t *Template) Execute(io.Writer, any) error                 { return errNotBuiltIn }
func (t *Template) ExecuteTemplate(io.Writer, string, any) error { return errNotBuiltIn }

// JSEscapeString lets nothing through: only the names of JSONP callbacks would.
func JSEscapeString(string) string { return "" }
