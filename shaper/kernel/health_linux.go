package kernel

import (
	"maps"
	"slices"
	"time"

	"zonegate/shaper"
)

// Health is how the data path stands now.
type Health struct {
	// Degraded says that the kernel has no HTB: maximum rates are policed, no
	// rate is committed, and delivered bytes are counted before merged packets
	// are taken apart (up to some 4 % too low).
	Degraded bool
	// Reserved says that the table refuses changes by others.
	Reserved bool
	// Table says that the table is as it should be.
	Table bool
	// Missing are devices that do not exist or are not shaped now.
	Missing []string
	// Sessions is how many sessions there are.
	Sessions int
	// OversellDown and OversellUp are how many times the usable link is sold
	// as committed rates. Above 1 they cannot all be kept at once.
	OversellDown, OversellUp float64
	// ScaleDown and ScaleUp are the part of the committed rates that the
	// active customers get now.
	ScaleDown, ScaleUp float64
	// Notes are what else an operator should know.
	Notes []string
}

// Health returns how the data path stands.
func (s *Shaper) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	down, up, _, _ := s.commitments(time.Now())
	h := Health{
		Degraded: s.police, Reserved: s.flags != 0, Table: s.table, Sessions: len(s.sessions),
		OversellDown: shaper.Oversell(s.conf.LinkDown, down), OversellUp: shaper.Oversell(s.conf.LinkUp, up),
		ScaleDown: s.scale.down, ScaleUp: s.scale.up,
		Notes: slices.Sorted(maps.Values(s.findings)),
	}
	for _, l := range s.links() {
		if !l.ready && !(s.police && l.index != 0) {
			h.Missing = append(h.Missing, l.name)
		}
	}
	return h
}
