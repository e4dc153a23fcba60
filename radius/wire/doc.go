// Package wire is the bytes of RADIUS: which datagrams are packets, what they
// carry, whether they are what they claim to be, and how answers and requests
// are written. It knows nothing of sockets, of which NASes exist, or of what
// an answer should say: those belong to packages radius, nas and coa.
//
// Codes and password codecs are layeh.com/radius's. Packets are read in place
// and not through that library's list of attributes, for two reasons: a
// Message-Authenticator holds for the very octets that were received, and an
// attribute must not cost an allocation before the sender is known.
//
// Everything here is a function of its arguments and safe for concurrent use.
package wire
