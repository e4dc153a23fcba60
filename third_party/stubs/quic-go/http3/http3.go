// Package http3 stands in for the QUIC server that gin's Engine.RunQUIC
// starts. zonegate serves no HTTP/3, and the real package costs a router
// 2 MB of flash. The one call fails with errNotBuiltIn.
package http3

import (
	"errors"
	"net/http"
)

var errNotBuiltIn = errors.New("http/3 is not built into zonegate: use http.Server")

// ListenAndServeQUIC always fails. It opens no socket.
func ListenAndServeQUIC(addr, certFile, keyFile string, handler http.Handler) error {
	return errNotBuiltIn
}
