package shaper

import (
	"sort"

	"zonegate"
)

// Diff compares wanted with present orders: what to set (new or different),
// and what to stop, in ascending order. Of two orders for one session the
// later counts. An order that differs in its end alone by less than a
// millisecond is the same: ends are worked out anew each time.
func Diff(want []zonegate.Order, have map[zonegate.SessionID]zonegate.Order) (set []zonegate.Order, stop []zonegate.SessionID) {
	wanted := make(map[zonegate.SessionID]int, len(want))
	for i, o := range want {
		wanted[o.Session] = i
	}
	for i, o := range want {
		if wanted[o.Session] != i {
			continue
		}
		if h, ok := have[o.Session]; !ok || !Same(o, h) {
			set = append(set, o)
		}
	}
	for id := range have {
		if _, ok := wanted[id]; !ok {
			stop = append(stop, id)
		}
	}
	sort.Slice(stop, func(i, j int) bool { return stop[i] < stop[j] })
	return set, stop
}

// Same says whether two orders mean the same.
func Same(a, b zonegate.Order) bool {
	return SameEnd(a, b) && sameButEnd(a, b)
}

// SameEnd says whether two orders end at the same time.
func SameEnd(a, b zonegate.Order) bool {
	const tolerance = 1_000_000 // ns
	if (a.Until == 0) != (b.Until == 0) {
		return false
	}
	d := a.Until - b.Until
	return -tolerance < d && d < tolerance
}

func sameButEnd(a, b zonegate.Order) bool {
	a.Until = b.Until
	return a == b
}
