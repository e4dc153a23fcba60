// Package zonegate is the domain of a hotspot gateway: plans, vouchers,
// grants, devices, sessions, and the Gate that decides what may happen to
// them. It imports the standard library alone. What talks to a kernel, a
// router, a disk, a browser or a server lives in a package named after that
// technology and depends on this one, never the other way round.
package zonegate
