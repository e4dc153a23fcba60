// Package lab builds a whole zone on one machine: phones, a gateway and an
// internet, each a Linux network namespace, joined by veth pairs, with the
// real gateway daemon running between them.
//
// Its users are the program zonelab, end-to-end tests and the benchmarks. It
// may do what the router's code may not: execute programs (nft, nsenter,
// iperf3) and see every part of the system. Nothing that a router links may
// import it.
//
// A program that uses the package calls [RunHelper] first of all, because the
// lab starts that same program again for the processes inside the namespaces.
package lab
