// Package proto stands in for the protocol buffers codec that gin's protobuf
// binding and rendering call. zonegate speaks no protocol buffers, and the
// real package costs a router 0.4 MB of flash. Every call fails with
// errNotBuiltIn.
package proto

import "errors"

var errNotBuiltIn = errors.New("protocol buffers are not built into zonegate: use JSON")

// A Message is satisfied by nothing outside this package, so gin's own check
// ("not a proto.Message") answers before Marshal or Unmarshal can be reached.
type Message interface{ notBuiltIn() }

// Marshal always fails.
func Marshal(Message) ([]byte, error) { return nil, errNotBuiltIn }

// Unmarshal always fails.
func Unmarshal([]byte, Message) error { return errNotBuiltIn }
