// Package shaper holds the arithmetic that every data path of a zone shares:
// the parameters of rate classes, the scaling of committed rates that were
// sold more often than the link has them, how much of a data cap is left and
// when to look again, and the difference between wanted and present sessions.
// It is pure: no kernel, no clock, no goroutine lives here.
package shaper

import (
	"math"
	"time"
)

const (
	// floorRate is the least committed rate that a class can have: a class
	// with none is not possible, and one with this much costs the link nothing.
	floorRate = 8_000
	// usable is the part of a link that commitments may fill. The rest lets
	// the link's own class stay out of debt, which would stop all lending.
	usable = 0.95
	// headers is how much more than the sold rate a class lets through. A sold
	// bit is a layer-3 bit, and classes count the link header too (14 of 1514
	// bytes): 0.93 %. The rest stands for the jitter of timers, which only
	// ever costs.
	headers = 1.018

	mtu        = 1514
	burstTime  = 5 * time.Millisecond
	maxBurst   = 64 << 10
	queueTime  = 150 * time.Millisecond
	minQueue   = 32 << 10
	maxQueue   = 512 << 10
	turnTime   = 50 * time.Millisecond
	maxQuantum = 1 << 20
)

// A Class holds the parameters of one rate class, in the units of Linux HTB
// (which others can convert).
type Class struct {
	// Rate is what the class gets under contention and Ceil its most, in
	// bit/s with link headers counted. Neither is zero.
	Rate, Ceil uint64
	// Burst and CeilBurst are the bytes that may pass at once at these rates.
	Burst, CeilBurst uint32
	// Quantum is the bytes of a turn when classes share what is left over.
	// It is proportional to the committed rate as sold, so that scaling does
	// not change who gets more.
	Quantum uint32
	// Queue is the most bytes that may wait.
	Queue uint32
}

// Link returns the class of a whole link.
func Link(bits uint64) Class {
	bits = max(bits, floorRate)
	b := burst(bits)
	return Class{Rate: bits, Ceil: bits, Burst: b, CeilBurst: b, Quantum: mtu, Queue: queue(bits)}
}

// Customer returns the class for a committed rate cir scaled by scale (see
// [Scale]) and a maximum rate mir, in layer-3 bit/s, on a link. A mir of zero
// is the link's own rate.
func Customer(cir, mir, link uint64, scale float64) Class {
	link = max(link, floorRate)
	ceil := link
	if mir != 0 {
		ceil = min(times(mir, headers), link)
	}
	rate := min(max(times(cir, scale*headers), floorRate), max(ceil, floorRate))
	ceil = max(ceil, rate)
	return Class{
		Rate: rate, Ceil: ceil,
		Burst: burst(rate), CeilBurst: burst(ceil),
		Quantum: quantum(cir), Queue: queue(ceil),
	}
}

// Share returns the class of one of n devices under a grant's class: it may
// use all of it, and is committed its part.
func Share(grant Class, n int) Class {
	c := grant
	n = max(n, 1)
	c.Rate = max(c.Rate/uint64(n), floorRate)
	c.Ceil = max(c.Ceil, c.Rate)
	c.Burst = burst(c.Rate)
	return c
}

// Part returns a class that may use part of the link and is committed a tenth
// of that: for traffic that nobody pays for.
func Part(link uint64, part float64) Class {
	c := Customer(0, 0, link, 1)
	c.Ceil = max(times(link, part), floorRate)
	c.Rate = max(c.Ceil/10, floorRate)
	c.Burst, c.CeilBurst, c.Queue = burst(c.Rate), burst(c.Ceil), queue(c.Ceil)
	c.Quantum = quantum(c.Rate)
	return c
}

// Scale returns the factor, at most 1, that makes commitments of sum bit/s fit
// into the link. Beyond the link's rate commitments would not only be broken:
// hierarchical token buckets would exceed the link itself.
func Scale(link, sum uint64) float64 {
	if have := usable * float64(link); float64(sum)*headers > have {
		return have / (float64(sum) * headers)
	}
	return 1
}

// Oversell returns how many times the usable link is sold: above 1 a
// commitment cannot be kept when everybody is active.
func Oversell(link, sum uint64) float64 {
	if link == 0 {
		return 0
	}
	return float64(sum) / (usable * float64(link))
}

func times(bits uint64, f float64) uint64 { return uint64(math.Round(float64(bits) * f)) }

func bytesIn(bits uint64, d time.Duration) float64 { return float64(bits) / 8 * d.Seconds() }

func burst(bits uint64) uint32 {
	return uint32(min(max(bytesIn(bits, burstTime), 2*mtu), maxBurst))
}

func queue(bits uint64) uint32 {
	return uint32(min(max(bytesIn(bits, queueTime), minQueue), maxQueue))
}

// quantum is short: a queue that runs empty in the middle of its turn loses
// the rest of it, and with it its share.
func quantum(cir uint64) uint32 {
	return uint32(min(max(bytesIn(cir, turnTime), mtu), maxQuantum))
}
