// Package withdrawal is the HTTP API of withdrawals: "module 6" of Nelsius Pay,
// path by path and body by body, so that what was written for that one works
// with the hub. It turns requests into calls of hub.Hub and answers into the
// documented words; what is decided, is decided there. It adds paths for what
// the document lacks: claim, approve, release, resolve and reverse.
package withdrawal
