package main

import "testing"

// TestGarbage: a small heap is left alone, and a large one kept small.
func TestGarbage(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 8 << 20: 400, 32 << 20: 200, 64 << 20: 100, 160 << 20: 40, 4 << 30: 40} {
		if got := garbageFor(live); got != want {
			t.Errorf("%d octets live: %d %%, want %d %%", live, got, want)
		}
	}
}
