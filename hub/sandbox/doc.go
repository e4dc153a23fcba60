// Package sandbox plays the documented RGZ billing API (part 1 of package api
// and nothing else), for tests and the lab: what its document says, quirks and
// all, errors in the style of its kind of server, and faults on demand. Its
// state is in memory, its tokens are no secrets, and no money moves. It knows
// nothing of the hub.
package sandbox
