// Package hub is what the central server knows and does: resellers with their
// users, sites and gateways, forfaits, vouchers, pushes with their rollouts,
// what gateways report, payments with what they bring, and who gets what of it.
// Hub has the use cases; each is one transaction of its Store. A call to a
// provider is never inside one: what is to be asked is written down before, and
// what was said after.
//
// No SQL, no HTTP, no files: hub/store keeps, hub/server serves. Standard
// library only, beside the gateway's own domain and the contract.
//
// Money is whole minor units, octets are uint64, times are UTC. A Hub may be
// used by many goroutines at once, and several processes may share one
// database.
package hub
