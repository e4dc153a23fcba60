// Package yaml stands in for the YAML codec that gin's YAML binding and
// rendering call. zonegate speaks no YAML, and the real package costs a router
// 0.85 MB of flash. Every call fails with errNotBuiltIn.
package yaml

import (
	"errors"
	"io"
)

var errNotBuiltIn = errors.New("yaml is not built into zonegate: use JSON")

// A Decoder refuses to decode.
type Decoder struct{}

// NewDecoder returns a Decoder that never reads from r.
func NewDecoder(io.Reader) *Decoder { return &Decoder{} }

// Decode always fails.
func (*Decoder) Decode(any) error { return errNotBuiltIn }

// Marshal always fails.
func Marshal(any) ([]byte, error) { return nil, errNotBuiltIn }
