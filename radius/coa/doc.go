// Package coa tells NASes what has changed for sessions that run, with the
// CoA-Request and Disconnect-Request of RFC 5176. It is the gate's Dispatcher.
//
// What to say, and to whom nothing can be said, is for package nas to know; the
// octets are package wire's. Here is the talk itself: one socket, one errand
// per session, retransmissions, what a refusal means, and which NASes do not
// answer.
//
// # Nothing is lost, nothing storms
//
// An errand is kept in memory only. The gate hands it out again with each
// report of the session until it was told (Gate.Told), so a lost errand is
// late by one accounting interval. A NAS that does not answer three times is
// left alone: its errands wait until a session of it reports, then one of them
// tries again, after failures in a row not before a pause that grows to ten
// minutes. The first answer of any kind lets all of them go.
//
// An acknowledgement is not proof. A change is confirmed by the session's next
// report, a disconnection by its last; until then Snapshot shows it as
// unconfirmed.
//
// # What a refusal means (Error-Cause, RFC 5176 section 3.5)
//
// 401, 407 and a refusal without a cause: again in the simplest form, User-Name
// and Acct-Session-Id without a signature. 402: with all that names the session.
// 403: without what names the NAS, or with it if it was missing. 508: with
// Calling-Station-Id. 503: the session is gone, if User-Name and
// Acct-Session-Id alone say so too; the gate gets a stop for it, without
// counters. Anything else, and the
// same again: no more until the session's next report. When a change is refused
// for good and takes something away, the session is disconnected instead; when
// it only gives, the gate is told that it is done, because it comes by itself
// at the next login.
package coa
