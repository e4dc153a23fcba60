package mikrotik_test

import (
	"testing"

	"zonegate/shaper/conformance"
	"zonegate/shaper/mikrotik/simros"
)

func TestConformance(t *testing.T) {
	for name, o := range map[string]simros.Options{
		"7.16":                              {Version: "7.16.1"},
		"7.20":                              {Version: "7.20"},
		"6.49":                              {Version: "6.49.18"},
		"counters of users that are online": {Version: "7.16.1", LiveUserCounters: true, KeepUserCounters: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, b := range conformance.Behaviours() {
				t.Run(b.Name, func(t *testing.T) {
					t.Parallel()
					b.Run(t, newZone(t, o))
				})
			}
		})
	}
}
