// Package portal is what a customer's browser talks to: the pages where a
// voucher is typed, what is left is seen and a plan is moved to another phone,
// the answers to the probes with which phones look for a portal, and the API
// of RFC 8908. It turns requests into calls of the Gate and decides nothing
// about plans, grants or sessions; the pages themselves are in package web.
//
// A customer is known by the address that a request comes from and, for a plan
// that is elsewhere, by a token in the URL. There are no cookies and no
// scripts, but one that saves a tap: the small browsers that phones open for a
// portal forget the former and break the latter.
//
// Paying by mobile money (pay.go, payment.go) starts a payment and shows what
// became of it. The pages wait for nobody: they load themselves again, and what
// they show is what the Gate knows. "Failed" is said when the provider said so.
//
// Customers whom a NAS holds (nas.go) come through that NAS. Nobody here knows
// who they are: what they say about themselves is only carried to the NAS,
// which does, and shown to nobody.
package portal
