package shaper

import (
	"math"
	"time"

	"zonegate"
)

const (
	// StopBelow is what may be left of a cap when its sessions are stopped. It
	// covers what can pass while they are being stopped, and is less than
	// [zonegate.SpentBelow].
	StopBelow = 48 << 10

	// brakePart is the part of what is left that a kernel's own byte counter
	// is trusted with.
	brakePart = 0.9
	// WorstRatio bounds how many bytes on the wire one byte of a merged packet
	// can stand for: TCP over IPv6 with time stamps and one byte of payload.
	WorstRatio = 73

	soonest = 2 * time.Millisecond
	latest  = time.Minute
)

// Left is what an allowance leaves when used octets are gone.
func Left(allowance, used uint64) uint64 {
	if allowance == zonegate.NoCap {
		return zonegate.NoCap
	}
	return allowance - min(allowance, used)
}

// Brake is how many bytes a kernel's counter may let pass when left octets
// remain. The counter sees merged packets, whose wire bytes are more by ratio;
// a ratio below 1 (packets dropped after they were counted) counts as 1.
func Brake(left uint64, ratio float64) uint64 {
	return uint64(float64(left) * brakePart / min(max(ratio, 1), WorstRatio))
}

// Tripwire is how many bytes may pass unwatched whatever the packets look
// like, and at least two full packets: a customer whose every first packet
// after a pause were dropped would never get going. With [StopBelow] left, that
// is safe up to a ratio of 16.
func Tripwire(left uint64) uint64 { return max(left/WorstRatio, 2*mtu) }

// NextLook is how long what is left cannot run out, at rate bit/s of all
// directions together, halved; from 2 ms to a minute.
func NextLook(left, rate uint64) time.Duration {
	left -= min(left, StopBelow)
	d := float64(left) * 8 / float64(max(rate, 1)) / 2 * float64(time.Second)
	return time.Duration(min(max(d, float64(soonest)), float64(latest)))
}

// Ratio follows the ratio of wire bytes to counted bytes: up at once, down
// slowly. The first value is 1.
func Ratio(old float64, wire, counted uint64) float64 {
	if counted == 0 {
		return max(old, 1)
	}
	seen := min(float64(wire)/float64(counted), WorstRatio)
	if math.IsNaN(old) || seen >= old {
		return max(seen, 1)
	}
	return max(old-(old-seen)/8, 1)
}
