package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"zonegate/sync/api"
)

// Kinds of a Charge and of a Movement.
const (
	KindCharge = "charge" // a customer pays the merchant
	KindPayout = "payout" // the merchant pays somebody
	KindRefund = "refund" // a customer gets his money back
)

// States of a Charge.
const (
	StateOpen      = "open"
	StatePaid      = "paid"
	StateFailed    = "failed"
	StateCanceled  = "canceled"
	StateRefunding = "refunding"
	StateRefunded  = "refunded"
)

// A Charge is money that a provider was asked to move, and accepted to.
type Charge struct {
	Provider string `json:"provider"`
	Kind     string `json:"kind"`
	// ID is the provider's name of it, Reference the merchant's; that may be
	// empty.
	ID        string `json:"id"`
	Reference string `json:"reference"`
	Phone     string `json:"phone"`
	// Asked is what the merchant asked for, Moved what really moved.
	Asked  api.Money `json:"asked"`
	Moved  api.Money `json:"moved"`
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Opened time.Time `json:"opened"`
	// Settled is zero while it is open.
	Settled time.Time `json:"settled,omitzero"`

	plan    outcome
	will    api.Money // what moves if it does
	receipt string    // the operator's
	channel string
	quiet   bool // no callback
	// tell makes the callback that reports a state; nil is none.
	tell func(c Charge) *callback
	// done is told of each new state.
	done func(c *Charge)
}

// A Movement is money that really moved, once.
type Movement struct {
	At        time.Time `json:"at"`
	Provider  string    `json:"provider"`
	Kind      string    `json:"kind"`
	ID        string    `json:"id"`
	Reference string    `json:"reference"`
	Phone     string    `json:"phone"`
	Money     api.Money `json:"money"`
}

// ErrNotOpen is an answer to a charge that waits for none.
var ErrNotOpen = errors.New("no open charge has this id")

// open begins a charge; the caller holds mu.
func (s *Server) open(c *Charge) {
	c.State, c.Opened, c.will = StateOpen, s.now(), c.Asked
	route := "/" + c.Provider + "/" + c.Kind
	for _, f := range s.takeFaults(route, chargeFaults) {
		switch f.Kind {
		case FaultAmount:
			c.will.Amount = f.Amount
			if f.Amount == 0 {
				c.will.Amount = c.Asked.Amount / 2
			}
		case FaultCurrency:
			if c.Provider != FlexPay {
				continue // the others have one, and do not say it
			}
			c.will.Currency = f.Currency
			if f.Currency == "" {
				c.will.Currency = otherCurrency(c.Asked.Currency)
			}
		case FaultForged:
			s.forge(c)
		}
	}
	if c.Kind == KindCharge {
		switch c.plan {
		case half:
			c.will.Amount /= 2
		case foreign:
			if c.Provider == FlexPay {
				c.will.Currency = otherCurrency(c.will.Currency)
			}
		}
	}
	s.charges = append(s.charges, c)
	s.byID[c.ID] = c
	if s.o.Delay < 0 || c.plan == silent {
		return
	}
	wait := s.o.Delay
	if c.plan == slow {
		wait += slowWait
	}
	s.after(wait, func() {
		if c.State == StateOpen {
			s.answer(c)
		}
	})
}

func otherCurrency(c string) string {
	if c == "USD" {
		return "CDF"
	}
	return "USD"
}

// answer has whoever was asked do what the number says; the caller holds mu.
func (s *Server) answer(c *Charge) {
	if c.Kind == KindPayout {
		switch c.plan {
		case refuses, canceled, revived:
			s.settle(c, StateFailed, "The receiver's account refuses the money")
		case poor:
			s.settle(c, StateFailed, "Insufficient balance")
		default:
			c.quiet = c.quiet || c.plan == unheard
			s.settle(c, StatePaid, "")
		}
		return
	}
	switch c.plan {
	case refuses:
		s.settle(c, StateFailed, "Refused by the customer")
	case poor:
		s.settle(c, StateFailed, "Insufficient funds")
	case canceled:
		s.settle(c, StateCanceled, "Canceled")
	case revived:
		s.settle(c, StateFailed, "Time-out")
		s.after(lateWait, func() { s.settle(c, StatePaid, "") })
	case returned:
		s.settle(c, StatePaid, "")
		s.after(lateWait, func() { s.settle(c, StateRefunding, "") })
		s.after(2*lateWait, func() { s.settle(c, StateRefunded, "") })
	default:
		c.quiet = c.quiet || c.plan == unheard
		s.settle(c, StatePaid, "")
	}
}

// settle moves a charge on, and money with it; the caller holds mu. Money
// moves once: only from a state in which it has not.
func (s *Server) settle(c *Charge, state, reason string) {
	was := c.State
	switch {
	case state == StatePaid && (was == StateOpen || was == StateFailed || was == StateCanceled):
		c.Moved, c.receipt = c.will, s.capitals(10)
		s.move(c.Kind, c, c.Moved)
	case state == StateRefunding && was == StatePaid:
	case state == StateRefunded && (was == StatePaid || was == StateRefunding):
		s.move(KindRefund, c, c.Moved)
	case (state == StateFailed || state == StateCanceled) && was == StateOpen:
	default:
		return
	}
	c.State, c.Reason, c.Settled = state, reason, s.now()
	if c.done != nil {
		c.done(c)
	}
	if c.tell != nil && !c.quiet && state != StateRefunding && state != StateRefunded {
		s.post(c.tell(*c))
	}
}

func (s *Server) move(kind string, c *Charge, m api.Money) {
	s.movements = append(s.movements, Movement{s.now(), c.Provider, kind, c.ID, c.Reference, c.Phone, m})
}

// Approve has the customer of an open charge pay now, whatever his number
// says; for a payout it is the operator who does. Charges go by the provider's
// or the merchant's name of them.
func (s *Server) Approve(id string) error { return s.decide(id, StatePaid, "") }

// Refuse has an open charge fail now.
func (s *Server) Refuse(id, reason string) error {
	if reason == "" {
		reason = "Refused by the customer"
	}
	return s.decide(id, StateFailed, reason)
}

func (s *Server) decide(id, state, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDue()
	for _, c := range s.charges {
		if c.State == StateOpen && c.is(id) {
			s.settle(c, state, reason)
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrNotOpen, id)
}

// is says whether a name is that of the provider or the merchant.
func (c *Charge) is(name string) bool { return name != "" && (c.ID == name || c.Reference == name) }

// Forge sends a callback that claims success for a charge of which nothing
// like it is true.
func (s *Server) Forge(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.charges) {
		if c.is(id) {
			s.forge(c)
			return nil
		}
	}
	return fmt.Errorf("no charge has the id or reference %q", id)
}

// forge posts the lie; the caller holds mu.
func (s *Server) forge(c *Charge) {
	if c.tell == nil {
		return
	}
	lie := *c
	lie.State, lie.Moved, lie.receipt, lie.Settled = StatePaid, c.Asked, s.capitals(10), s.now()
	s.post(c.tell(lie))
}

// Open returns what waits for an answer, oldest first.
func (s *Server) Open() []Charge {
	return s.Charges(func(c Charge) bool { return c.State == StateOpen })
}

// Charges returns what providers were asked for, oldest first; nil is all.
func (s *Server) Charges(keep func(Charge) bool) []Charge {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDue()
	out := []Charge{}
	for _, c := range s.charges {
		if keep == nil || keep(*c) {
			out = append(out, *c)
		}
	}
	return out
}

// Movements returns the money that really moved, oldest first; nil is all.
func (s *Server) Movements(keep func(Movement) bool) []Movement {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDue()
	out := []Movement{}
	for _, m := range s.movements {
		if keep == nil || keep(m) {
			out = append(out, m)
		}
	}
	return out
}

// Charged returns what customers really paid for a reference or provider's id,
// PaidOut what really went out, Refunded what really went back.
func (s *Server) Charged(ref string) []Movement  { return s.movedFor(KindCharge, ref) }
func (s *Server) PaidOut(ref string) []Movement  { return s.movedFor(KindPayout, ref) }
func (s *Server) Refunded(ref string) []Movement { return s.movedFor(KindRefund, ref) }

func (s *Server) movedFor(kind, ref string) []Movement {
	return s.Movements(func(m Movement) bool { return m.Kind == kind && (m.Reference == ref || m.ID == ref) })
}
