// Package central is the gateway's side of the connection to a central server:
// it enrols the gateway, holds the event stream, applies what the hub pushes
// through the Gate, delivers the outbox, and learns the time. For a server
// that has nothing but the documented RGZ billing API there is the type RGZ.
//
// A gateway works without its hub: nothing in here is ever waited for by a
// customer. Everything of value is the Gate's, in its journal; this package
// keeps one small file, hub.json, with the gateway's secret.
//
// It knows the domain, sync/api and internal/http1, no other adapter, and
// nothing of the hub's own code.
package central
