// Package freeradius runs the FreeRADIUS server of this machine as a child, on
// loopback ports of its own and with a configuration that it writes: the peer
// that zonegate's RADIUS server is compared with. It reads nothing of the
// machine's own FreeRADIUS configuration and leaves its service alone. Nothing
// here knows zonegate.
package freeradius
