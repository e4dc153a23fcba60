// Package http1 is the client's half of HTTP/1.1 (RFC 9112) as far as the
// gateway needs it: it writes requests, reads answers with net/http, and keeps
// connections. The transport of net/http would weigh a third of a megabyte on
// a router, with its proxies, compression and international names.
//
// How a connection is made is its caller's: sockets, TLS and proxies are not
// known here.
package http1
