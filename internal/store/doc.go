// Package store keeps the state that the journal leads to in a bbolt file,
// with the look-ups that portal, console and RADIUS ask, and makes snapshots
// so that old parts of the journal can go. It knows the stored forms of the
// domain's records and entities, and nothing of what they mean: that is
// [zonegate.State.Apply]. It is the domain's Journal and its Archive.
//
// The state file follows the journal in batches. Each batch is one transaction
// that carries the number and the chain hash of its last record, so a crash
// leaves an older consistent state, and the records after it are replayed. A
// file that is damaged, or that went with the RAM it was in, is built again
// from the newest good snapshot and the journal.
package store
