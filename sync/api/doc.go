// Package api is the contract between a gateway and the hub: paths, and the
// shapes of what goes over them. openapi.yaml says the same for people and
// tools; a test keeps the two together. Part 1 (rgz.go) is the documented RGZ
// billing API as it is. Part 2 (gateway.go, push.go) is what a hub of ours
// serves beside it for its gateways.
//
// Nothing in here talks to a network or decides anything.
//
// Money is an integer of minor units with its ISO 4217 currency; Part 1 knows
// whole francs CFA alone. Octets are uint64, rates bit/s, both seen from the
// customer. Times are RFC 3339 in UTC. Unknown fields are ignored by both
// sides, unknown kinds are refused with a reason.
package api
