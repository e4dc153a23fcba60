// Package mikrotik is the RouterOS data path of a zone: it makes the sessions
// of the domain pass through the hotspot of a MikroTik, at their rates, and
// stops them at their limits, over the router's API.
//
// What the router is told survives this process. Every grant is one hotspot
// user with limit-bytes-total, limit-uptime and a random password that nobody
// is told; every session is one entry of /ip/hotspot/active, made by
// /ip/hotspot/active/login with the user, the password, the MAC and the
// address of the device. So the customer types nothing at the router, and the
// router ends caps and times by itself while nobody is here.
//
// Rates: a rate with a committed part is a simple queue per grant, below one
// parent of ours whose limit is the link; it is our own and not the dynamic
// one of a profile's rate-limit, because only ours can be changed while the
// session lasts (new rates, scaled commitments) and shared by the devices of a
// grant. A rate without a committed part costs two queues however many buy it:
// the hotspot puts the address of each user into an address list, two rules
// mark its packets and two PCQ queues of the queue tree share them out by
// address. There every device of a grant gets the whole rate.
//
// Everything of ours is marked: by a comment that begins with "zonegate:"
// where the menu has comments, by a name that begins with "zonegate-" where it
// has none. Nothing else is ever changed, except that a device that we let in
// is logged out of a foreign user first. The comment of a user also says which
// sessions it stands for, which is how the next process finds them.
//
// The rooms: line.go is the connection, guard.go bounds what a reply may be,
// value.go and mark.go are the router's formats and ours; look.go reads the
// router; enforce.go and settle.go bring it to what is wanted; plan.go keeps
// profiles and queues; watch.go is the task that follows counters; check.go
// and owner.go explain what is wrong with a router.
//
// Nothing here knows plans, vouchers or prices.
package mikrotik
