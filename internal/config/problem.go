package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// An Error holds everything that is wrong with a file, in the order of the
// file.
type Error struct {
	Problems []Problem
}

// Error gives one line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// A Problem is one thing to correct.
type Problem struct {
	// File is the name that Parse was given.
	File string
	// Line and Column count from 1; zero where the file has no such place.
	// For a missing key they are those of its table.
	Line, Column int
	// Key is the path of the key, for example "portal.port" or
	// "plan[2].cir_kbps" (plans count from 1). Empty for a syntax error.
	Key string
	// Message says what is wrong and what to write instead.
	Message string
}

// String formats a problem as file:line:column: key: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// maxProblems is how many problems are collected. Nobody reads more at once.
const maxProblems = 100

// A checker collects the problems of one file.
type checker struct {
	file     string
	places   places
	broken   bool // the file is no TOML from some place on
	problems []Problem
}

// add records a problem with a key. Only the first problem with each key
// counts: a value of the wrong kind is not also missing.
func (c *checker) add(key, format string, args ...any) {
	if c.full() {
		return
	}
	line, column := c.places.find(key)
	c.addAt(line, column, key, fmt.Sprintf(format, args...))
}

// missing records that the file lacks a key, unless it is there but could not
// be read.
func (c *checker) missing(key, fix string) {
	if !c.places.has(key) {
		c.add(key, "is missing; %s", fix)
	}
}

func (c *checker) addAt(line, column int, key, message string) {
	if c.full() || key != "" && slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Key == key }) {
		return
	}
	c.problems = append(c.problems, Problem{File: c.file, Line: line, Column: column, Key: key, Message: message})
}

func (c *checker) full() bool { return len(c.problems) >= maxProblems }

// err returns nil if there is no problem.
func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	sort.SliceStable(c.problems, func(i, j int) bool {
		a, b := c.problems[i], c.problems[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	return &Error{Problems: c.problems}
}
