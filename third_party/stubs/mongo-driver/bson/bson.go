// Package bson stands in for the BSON codec that gin's BSON binding and
// rendering call. zonegate speaks no BSON, and the real package costs a router
// 0.85 MB of flash. Every call fails with errNotBuiltIn.
package bson

import "errors"

var errNotBuiltIn = errors.New("bson is not built into zonegate: use JSON")

// Marshal always fails.
func Marshal(any) ([]byte, error) { return nil, errNotBuiltIn }

// Unmarshal always fails.
func Unmarshal([]byte, any) error { return errNotBuiltIn }
