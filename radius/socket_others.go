//go:build !linux

package radius

import (
	"net/netip"
	"syscall"
)

// askDestination does nothing where the program only compiles: answers leave
// from the address that the system chooses.
func askDestination(syscall.RawConn, bool) error { return nil }

func sourceFor(oob []byte, _ netip.Addr) []byte { return nil }
