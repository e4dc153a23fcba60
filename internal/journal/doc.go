// Package journal is the truth on disk: an append-only, hash-chained record
// of everything that has value, and the snapshots that let old parts of it go.
// It stores payloads and never looks inside them; what they mean belongs to
// the store. It touches the disk through package disk alone.
//
// # Files
//
//	journal-<first sequence, 20 digits>.seg   segments, see segment.go
//	snapshot-<sequence, 20 digits>.snap       snapshots, see snapshot.go
//	journal.lock                              held by the one owner
//	journal.reserve                           space given up when the disk is full
//	journal.new                               a segment being made
//
// # What is guaranteed
//
// A record is acknowledged when Append has returned without error. From then
// on it is there after any power cut. A record that was never acknowledged
// may be there or not after a power cut; a group is there whole or not at
// all. After Reopen has returned, nothing that Append refused comes back.
//
// # Order of use at start
//
// Find the newest snapshot that reads well (Snapshots, ReadSnapshot), call
// Open with its head as Options.Known, and Replay from the sequence after it.
package journal
