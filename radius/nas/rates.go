package nas

import (
	"math"
	"strconv"

	"zonegate"
	"zonegate/radius/wire"
)

// maxRate is the highest rate, in bit/s, that fits the attributes of every
// vendor: WISPr's have 32 bits, and CoovaChilli multiplies its kbit/s by 1000
// in 32 bits.
const maxRate = math.MaxUint32

// wisprRate writes WISPr-Bandwidth-Max-Up and -Down, in bit/s, each at least
// least so that a NAS that rounds it down does not get zero.
func wisprRate(least uint64) func([]wire.Attribute, zonegate.Rate, bool) []wire.Attribute {
	return func(b []wire.Attribute, r zonegate.Rate, always bool) []wire.Attribute {
		put := func(t wire.Type, rate uint64) {
			if rate == 0 && always {
				rate = maxRate
			}
			if rate != 0 {
				b = append(b, wire.VendorUint32(wire.WISPr, t, wire.Saturate(max(rate, least))))
			}
		}
		put(wire.WISPrBandwidthMaxUp, r.MIRUp)
		put(wire.WISPrBandwidthMaxDown, r.MIRDown)
		return b
	}
}

// wisprBothRates adds the committed rates, for whoever understands them.
func wisprBothRates(b []wire.Attribute, r zonegate.Rate, always bool) []wire.Attribute {
	b = wisprRate(1)(b, r, always)
	if r.CIRUp != 0 {
		b = append(b, wire.VendorUint32(wire.WISPr, wire.WISPrBandwidthMinUp, wire.Saturate(r.CIRUp)))
	}
	if r.CIRDown != 0 {
		b = append(b, wire.VendorUint32(wire.WISPr, wire.WISPrBandwidthMinDown, wire.Saturate(r.CIRDown)))
	}
	return b
}

// chilliRate writes both WISPr's bit/s and ChilliSpot's kbit/s, which override
// them in CoovaChilli but are all that some of its relatives know.
func chilliRate(b []wire.Attribute, r zonegate.Rate, always bool) []wire.Attribute {
	b = wisprRate(1)(b, r, always)
	put := func(t wire.Type, rate uint64) {
		if rate != 0 {
			b = append(b, wire.VendorUint32(wire.ChilliSpot, t, uint32(max(min(rate, maxRate)/1000, 1))))
		}
	}
	put(wire.ChilliBandwidthMaxUp, r.MIRUp)
	put(wire.ChilliBandwidthMaxDown, r.MIRDown)
	return b
}

// unlimited stands for no maximum where a rate must be said: above the links
// of every router that it is said to, and below 2^32.
const unlimited = 4_000_000_000

// rateLimit writes Mikrotik-Rate-Limit: rate, burst rate, burst threshold,
// burst time, priority and minimum, each rx/tx, which is the customer's up and
// down. All of them are there, because they are read by position and a missing
// minimum would be the maximum. Zeros switch the burst off, and a minimum of
// zero reserves nothing. Numbers are bit/s, with a k for 1000.
func rateLimit(b []wire.Attribute, r zonegate.Rate, always bool) []wire.Attribute {
	if r == (zonegate.Rate{}) && !always {
		return b
	}
	most := func(mir uint64) uint64 {
		if mir == 0 {
			return unlimited
		}
		return min(mir, maxRate)
	}
	up, down := most(r.MIRUp), most(r.MIRDown)
	text := make([]byte, 0, 64)
	text = append(appendBits(text, up), '/')
	text = append(appendBits(text, down), " 0/0 0/0 0/0 8 "...)
	text = append(appendBits(text, min(r.CIRUp, up)), '/')
	text = appendBits(text, min(r.CIRDown, down))
	return append(b, wire.VendorText(wire.MikroTik, wire.MikroTikRateLimit, string(text)))
}

// appendBits writes a rate in the grammar of Mikrotik-Rate-Limit.
func appendBits(b []byte, rate uint64) []byte {
	if rate != 0 && rate%1000 == 0 {
		return append(strconv.AppendUint(b, rate/1000, 10), 'k')
	}
	return strconv.AppendUint(b, rate, 10)
}

// wide writes a limit in two attributes, always both: CoovaChilli keeps an
// earlier high word otherwise.
func wide(vendor wire.VendorID, low, high wire.Type) func([]wire.Attribute, uint64) []wire.Attribute {
	return func(b []wire.Attribute, n uint64) []wire.Attribute {
		return append(b,
			wire.VendorUint32(vendor, low, uint32(n)),
			wire.VendorUint32(vendor, high, uint32(n>>32)))
	}
}

// narrow writes a limit for a NAS without a high word: 4 GiB less one octet at
// most. The session ends there and the customer logs in again.
func narrow(vendor wire.VendorID, t wire.Type) func([]wire.Attribute, uint64) []wire.Attribute {
	return func(b []wire.Attribute, n uint64) []wire.Attribute {
		return append(b, wire.VendorUint32(vendor, t, wire.Saturate(n)))
	}
}
