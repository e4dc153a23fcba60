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
// # What it costs
//
// Written to the device for one record of 3000 bytes a minute, everything
// that ext4 adds included (Linux 6.18, 4 KiB blocks, measured over 14 minutes
// on a loop device):
//
//	                         per append   in its sync     a day
//	into zeros                 22.9 KiB       6.9 KiB   33.7 MB
//	growing the file           34.3 KiB      24.6 KiB   50.6 MB
//	into zeros, commit=300      9.1 KiB       8.0 KiB   13.5 MB
//	into zeros, 1 KiB blocks    7.9 KiB       3.9 KiB   11.7 MB
//
// The rest of the first row is the file's time stamp, which ext4 commits five
// seconds after any write: 16 KiB that no way of writing avoids, lazytime
// neither. The mount option commit=300 does; what is acknowledged does not
// depend on it, since every append is synced. A new segment costs 320 KiB
// more, some 5 MB a day at that rate. 200 single records of 60 bytes cost
// 816 KiB into zeros and 3248 KiB growing the file.
//
// # Order of use at start
//
// Find the newest snapshot that reads well (Snapshots, ReadSnapshot), call
// Open with its head as Options.Known, and Replay from the sequence after it.
package journal
