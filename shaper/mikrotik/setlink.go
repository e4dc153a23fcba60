package mikrotik

import "time"

// SetLink changes what the uplink gives, in bit/s; zero is not known. Nobody
// is logged out: the task gives the queues on the router their new rates, as
// soon as the router answers.
func (r *Router) SetLink(down, up uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conf.LinkDown == down && r.conf.LinkUp == up {
		return
	}
	r.conf.LinkDown, r.conf.LinkUp = down, up
	r.scaled = time.Time{}
	for _, g := range r.grants {
		g.due = true
	}
	r.wakeUp()
}
