// Package nas knows the machines that ask us over RADIUS (network access
// servers): who they are, kept in a book in the data directory, and what each
// vendor's make of them understands, kept in profiles.
//
// A profile turns an admission into the attributes of an Access-Accept and an
// errand into those of a CoA-Request or Disconnect-Request. It holds no
// sockets, no sessions and no packets: those are radius, radius/coa and
// radius/wire.
//
// # What a plan becomes
//
// Zero means "unlimited" on MikroTik, CoovaChilli and uspot, so no limit is
// ever sent as zero: a plan without a cap has no attribute for it, and a limit
// that is used up is sent as one octet or one second. Limits that do not fit
// an attribute are sent as the largest value that does, never as the low bits:
// the NAS then stops early and asks again.
//
// Rates are rounded down to what the attribute can say, but never to zero.
// A plan without a maximum (MIR zero: the link's own rate) has no rate
// attribute at all, because a NAS limits by attribute only. Where only one
// direction has a maximum, that one alone is sent, except to MikroTik, whose
// string has both: there the other is set to 4 Gbit/s. A committed rate
// (CIR) is only understood by MikroTik; there an omitted minimum would be the
// maximum, so a plan without a CIR says 0 in so many words.
//
// # What a change becomes
//
// Each profile says what its NAS takes while a session runs (Change). What it
// does not take, reaches the session like this ([NAS.Way]):
//
//   - More octets, or more time, than the NAS knows of: nothing is sent. The
//     session ends at the NAS's own limit, the customer's device logs in again
//     by itself or with one tap, and gets the rest. Nothing paid for is lost,
//     and a download that runs is not cut for a promise that is already kept.
//   - Fewer octets or less time: the session is disconnected, and logs in again
//     with the new limit. Otherwise more would be delivered than is left. A NAS
//     that has no attribute for octets never knew a limit; we watch its reports
//     and disconnect at the end, so fewer octets change nothing there.
//   - Another rate: nothing is sent. A changed plan is not worth cutting a call
//     or a download for; the new rate comes at the next login.
//
// A NAS that asks again for its live sessions (pfSense) gets all of this in the
// answer: the rates in the attributes, the rest by being refused in time.
package nas
