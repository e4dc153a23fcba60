package simros

import "time"

// Delay makes every command take that long.
func (r *Router) Delay(d time.Duration) { r.with(func() { r.delay = d }) }

// DropAfter cuts the connection that sends the n-th octet from now, there, in
// the middle of whatever sentence that is. It happens once.
func (r *Router) DropAfter(n uint32) { r.with(func() { r.cutAfter = int64(n) }) }

// Deny answers "not enough permissions (9)" to a menu ("/queue/simple") or one
// of its commands ("/queue/simple/add") until allowed again.
func (r *Router) Deny(path string, deny bool) { r.with(func() { r.denied[path] = deny }) }

// Refuse answers the next commands of that full path with the given traps, one
// each.
func (r *Router) Refuse(path string, traps ...*Trap) {
	r.with(func() { r.refusals[path] = append(r.refusals[path], traps...) })
}

// LoseReply carries out the next n commands of that full path, and cuts the
// connection instead of answering them.
func (r *Router) LoseReply(path string, n int) { r.with(func() { r.lost[path] = n }) }

// Stall leaves commands of that full path without any answer.
func (r *Router) Stall(path string, stall bool) { r.with(func() { r.stalled[path] = stall }) }

// Deafen makes listen on that menu accept and then say nothing, which [API]
// warns of.
func (r *Router) Deafen(path string, deaf bool) { r.with(func() { r.deaf[path] = deaf }) }

// AllowDuplicates lets a menu take items that it would refuse for their name,
// as a damaged or imported configuration may hold them.
func (r *Router) AllowDuplicates(path string, allow bool) {
	r.with(func() { r.duplicates[path] = allow })
}

// JumpClock moves the date that the router shows, as a late NTP answer does.
// Uptimes and limits do not follow.
func (r *Router) JumpClock(d time.Duration) {
	r.with(func() { r.wallBase = r.wallBase.Add(d) })
}

// Disconnect cuts every API connection.
func (r *Router) Disconnect() { r.with(r.disconnect) }

func (r *Router) disconnect() {
	for s := range r.sessions {
		s.cut = true
		s.conn.Close()
	}
}

// PowerOff cuts every connection and takes no more until PowerOn.
func (r *Router) PowerOff() {
	r.with(func() {
		r.off = true
		r.forget()
		r.disconnect()
	})
}

// PowerOn starts a router that was switched off: configuration as it was,
// counters at zero.
func (r *Router) PowerOn() {
	r.with(func() {
		r.off = false
		r.bootAt = r.clock.Now()
	})
}

// Restart is the orderly reboot of /system/reboot: sessions are logged out
// first, so that with KeepUserCounters what they used is kept. [POWER] mends
// users only after a reboot "without proper shutdown".
func (r *Router) Restart() { r.with(r.restart) }

func (r *Router) restart() {
	for _, h := range r.hosts {
		if h.active != nil {
			r.logout(h.active, "shutting down") // assumed wording
		}
	}
	r.reboot()
}

// Reboot is PowerOff and PowerOn at once: a short power cut.
func (r *Router) Reboot() { r.with(r.reboot) }

func (r *Router) reboot() {
	r.forget()
	r.disconnect()
	r.bootAt = r.clock.Now()
}

func (r *Router) with(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// cut tells how many of n octets may still be sent, and whether the connection
// ends there.
func (r *Router) cut(n int) (keep int, ends bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cutAfter < 0 {
		return n, false
	}
	if int64(n) < r.cutAfter {
		r.cutAfter -= int64(n)
		return n, false
	}
	keep = int(r.cutAfter)
	r.cutAfter = -1
	return keep, true
}
