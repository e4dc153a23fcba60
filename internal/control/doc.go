// Package control is the local API of the running daemon: HTTP and JSON over
// a unix socket that only its owner may open. It translates requests into
// calls of the interfaces that it declares, and back; it decides nothing. The
// same Handler serves the command line within its own process when no daemon
// runs. Whatever changes something is a POST. A voucher code is in the answer
// that created it and nowhere else.
package control
