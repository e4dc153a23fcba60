package kernel

import (
	"math"
	"time"

	"zonegate/shaper"
)

const (
	// activeFor is how long a grant counts as active after it last moved.
	activeFor = 10 * time.Second
	// scaleEvery is the shortest time between two rounds of scaling.
	scaleEvery = 2 * time.Second
	// scaleStep is the smallest change of a factor worth telling the kernel.
	scaleStep = 0.01
)

func (g *grant) active(now time.Time) bool {
	for _, x := range g.sessions {
		if now.Sub(x.moved) < activeFor {
			return true
		}
	}
	return false
}

// commitments sums the committed rates of all grants and of the active ones.
func (s *Shaper) commitments(now time.Time) (allDown, allUp, down, up uint64) {
	for _, g := range s.grants {
		if len(g.sessions) == 0 || g.spent {
			continue
		}
		allDown += g.rate.CIRDown
		allUp += g.rate.CIRUp
		if g.active(now) {
			down += g.rate.CIRDown
			up += g.rate.CIRUp
		}
	}
	return allDown, allUp, down, up
}

// rateNew gives grants that are about to get classes the present factor.
func (s *Shaper) rateNew(list map[*grant]bool) {
	_, _, down, up := s.commitments(time.Now())
	s.scale = scales{shaper.Scale(s.conf.LinkDown, down), shaper.Scale(s.conf.LinkUp, up)}
	for g := range list {
		g.scale = s.scale
	}
}

// rescale gives every grant's classes the factor that the active grants leave
// them, and idle ones a factor that does no harm when they wake up before the
// next round. Only what differs is told to the kernel.
func (s *Shaper) rescale(now time.Time) error {
	allDown, allUp, down, up := s.commitments(now)
	s.scale = scales{shaper.Scale(s.conf.LinkDown, down), shaper.Scale(s.conf.LinkUp, up)}
	idle := scales{shaper.Scale(s.conf.LinkDown, allDown), shaper.Scale(s.conf.LinkUp, allUp)}
	var list []*grant
	for _, g := range s.grants {
		if len(g.sessions) == 0 {
			continue
		}
		want := s.scale
		if !g.active(now) {
			// It is lowered at once, and raised when it is active again.
			want.down = min(g.scale.down, idle.down)
			want.up = min(g.scale.up, idle.up)
		}
		if differs(g.scale.down, want.down) || differs(g.scale.up, want.up) {
			g.scale = want
			list = append(list, g)
		}
	}
	return s.changeClasses(list)
}

func differs(a, b float64) bool { return math.Abs(a-b) > scaleStep*a }

// oversold says whether the commitments of all grants do not fit.
func (s *Shaper) oversold() bool {
	down, up, _, _ := s.commitments(time.Now())
	return shaper.Scale(s.conf.LinkDown, down) < 1 || shaper.Scale(s.conf.LinkUp, up) < 1
}
