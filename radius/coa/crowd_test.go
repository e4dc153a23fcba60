package coa

import (
	"fmt"
	"testing"

	"zonegate/radius/coa/fakenas"
	"zonegate/radius/nas"
)

// One NAS with more sessions to stop than there is room for does not keep those
// of another from being stopped.
func TestStopsOfACrowdedNAS(t *testing.T) {
	b := newBench(t)
	crowd, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	crowd.Break(fakenas.Faults{Deaf: 1 << 20})
	for i := range maxWaiting + 2*maxFlyingPeer {
		b.client.Dispatch(stop(session(crowd, path, fmt.Sprint("c", i))))
	}
	other, path := b.nas(nas.MikroTik, fakenas.MikroTik)
	s := session(other, path, "s1")
	b.client.Dispatch(stop(s))
	b.state(s, Acked)
}
