// Package doctor examines a gateway and says what to mend. Checks form a tree:
// when one fails, those that build on it are skipped with its name, so that
// the first line with a cross is the one to begin with. It asks the system and
// the interfaces that it declares; it changes nothing and knows no other
// package.
package doctor
