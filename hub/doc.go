// Package hub is what the central server knows and does: resellers with their
// users, sites and gateways, forfaits, vouchers, pushes with their rollouts,
// what gateways report, and who gets what of it. Hub has the use cases; each
// is one transaction of its Store.
//
// No SQL, no HTTP, no files: hub/store keeps, hub/server serves. Standard
// library only, beside the gateway's own domain and the contract.
//
// Money is whole minor units, octets are uint64, times are UTC. A Hub may be
// used by many goroutines at once, and several processes may share one
// database.
package hub
