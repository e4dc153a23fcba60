package zonegate

import (
	"errors"
	"fmt"
	"time"
)

// A TimePolicy says which time counts against a grant.
type TimePolicy uint8

const (
	// Calendar time runs from the first activation to the end, online or not.
	Calendar TimePolicy = iota
	// Online time runs only while a device of the grant has a session.
	Online
)

func (t TimePolicy) String() string {
	if t == Online {
		return "online"
	}
	return "calendar"
}

// Money is an amount in the minor units of an ISO 4217 currency. XOF and XAF
// have no minor unit, so there an amount is whole francs.
type Money struct {
	Amount   int64
	Currency string
}

// A PlanRef names one version of a plan.
type PlanRef struct {
	ID      string
	Version uint32
}

// A Plan (forfait) is what is sold. A version of a plan never changes: a grant
// keeps the version that was bought.
type Plan struct {
	ID      string
	Version uint32
	Name    string
	Price   Money
	// Duration is the paid time; it is always positive.
	Duration time.Duration
	// DataCap is the most octets, up and down together, over all devices and
	// sessions. Zero means no cap.
	DataCap uint64
	Rate    Rate
	Time    TimePolicy
	// DevicesMax is how many devices may use one grant at the same time.
	DevicesMax int
	// Trial plans may cost nothing.
	Trial bool
	// Withdrawn plans are not sold any more; what was bought keeps its value.
	Withdrawn bool
	// Hub is the hub's name of the site that it made the plan for; empty for a
	// plan of the zone's own.
	Hub string
}

// Ref names this version.
func (p Plan) Ref() PlanRef { return PlanRef{p.ID, p.Version} }

// SameOffer says whether two versions sell the same thing under the same name,
// whoever made them.
func (p Plan) SameOffer(q Plan) bool {
	p.Version, q.Version, p.Hub, q.Hub = 0, 0, "", ""
	return p == q
}

// Validate reports everything about the plan that makes no sense.
func (p Plan) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("plan %q: "+format, append([]any{p.ID}, args...)...))
	}
	if p.ID == "" {
		bad("the id is empty")
	}
	if p.Duration <= 0 {
		bad("the duration must be more than zero")
	}
	if p.Price.Amount < 0 {
		bad("the price must not be negative")
	}
	if p.Price.Amount == 0 && !p.Trial {
		bad("the price is zero; only a trial may be free")
	}
	if p.Price.Currency == "" {
		bad("the price has no currency")
	}
	if p.Rate.MIRUp != 0 && p.Rate.CIRUp > p.Rate.MIRUp {
		bad("the committed rate up (%d bit/s) is above the maximum (%d bit/s)", p.Rate.CIRUp, p.Rate.MIRUp)
	}
	if p.Rate.MIRDown != 0 && p.Rate.CIRDown > p.Rate.MIRDown {
		bad("the committed rate down (%d bit/s) is above the maximum (%d bit/s)", p.Rate.CIRDown, p.Rate.MIRDown)
	}
	if p.DevicesMax < 1 || p.DevicesMax > 100 {
		bad("devices_max must be 1 to 100, not %d", p.DevicesMax)
	}
	if p.Time != Calendar && p.Time != Online {
		bad("the time policy must be calendar or online")
	}
	return errors.Join(errs...)
}
