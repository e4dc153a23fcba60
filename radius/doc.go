// Package radius is the server side of RADIUS: it answers the NASes of a zone.
// It only translates: whom to let in, what counts, what is left and what is
// durable are decided by the Gate.
//
// It has two halves. The transport (server.go, cache.go, counters.go) owns the
// sockets, bounds what is under way, drops what is not authentic, and remembers
// answers. The responder behind it (login.go, accounting.go) turns requests
// into calls of the Gate and what they return into replies.
//
// Octets and signatures belong to package wire, who the NASes are and what
// their makes understand to package nas, requests that we send to package coa.
package radius
