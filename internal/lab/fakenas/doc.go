// Package fakenas is the other end of a RADIUS server: it builds requests as a
// network access server does, checks what comes back, and puts a server under
// a closed-loop load of many such requests. It computes everything by itself
// from the RFCs and shares no code with zonegate's own server, so that one
// mistake is not made on both sides.
package fakenas
