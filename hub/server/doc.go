// Package server is the hub over HTTP: the documented RGZ billing API, what
// gateways need beside it, and the event streams through which they get their
// pushes. It turns requests into calls of hub.Hub and its answers into JSON;
// nothing is decided here but who is calling, how often, and how much.
//
// One process serves many thousand gateways, each with an open event stream
// and a connection for its calls. Neither has a goroutine of its own: see
// fanout, and lot for what rests between two calls.
//
// SQL, and the rules of the business, are elsewhere.
package server
