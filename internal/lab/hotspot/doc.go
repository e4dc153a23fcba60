// Package hotspot is the lab's MikroTik: the simulated RouterOS of
// shaper/mikrotik/simros, put between phones and an internet. Its API and its
// login page are served where a router has them, and what the simulation
// decides is done to real packets: nftables lets through who is on the active
// list, leads the web requests of strangers to the login page, bounds rates by
// dropping, and counts octets, which the simulation then takes as traffic.
//
// The kernel and the simulation are brought together before each command that
// comes in, before each answer that goes out, and every tenth of a second. So
// the router's limits are as exact as that, and its counters are those of
// merged packets, up to 4 % below what is on the air.
//
// What of a configuration reaches packets: the active list, portal and API
// rules of the zonegate set-up script, max-limit of simple queues and pcq-rate
// of queue trees, each for a device by itself. What does not: limit-at and
// parents that are shared, the firewall's own menus, IP bindings.
package hotspot
