package radius

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"zonegate"
)

const (
	// ticketPrefix begins the user name of every ticket. No voucher code has a
	// full stop, and no form of a hardware address begins like this.
	ticketPrefix = "zg1."
	// ticketLife is how long a browser has to bring a ticket to its NAS.
	ticketLife = 2 * time.Minute
	// maxTickets bounds the memory: some 200 octets each.
	maxTickets = 4096
	// maxDeviceTickets is how many of them one device may hold: it may press
	// the button more than once, but not push out the others.
	maxDeviceTickets = 4
)

// Tickets are one-time passwords with which the portal signs a customer in at
// a NAS: the portal has already seen the code or the payment, so neither has to
// travel to the NAS in clear, or be kept in clear here for CHAP. They are in
// memory only: a restart takes longer than most of their two minutes.
//
// Safe for concurrent use.
type Tickets struct {
	clock zonegate.Clock

	mu     sync.Mutex
	byUser map[string]*ticket
	// order has the same tickets, the oldest first. All live equally long, so
	// it is also the order in which they end.
	order []*ticket
}

type ticket struct {
	user, password string
	nas            string
	device         zonegate.MAC
	grant          zonegate.GrantID
	// ends is on the clock's monotonic scale.
	ends time.Duration
	// spent says that it was used. It stays in order until its time, because
	// it can be given back.
	spent bool
}

// Format hides the password from every verb.
func (*ticket) Format(f fmt.State, _ rune) { io.WriteString(f, "(ticket)") }

// NewTickets returns an empty box of tickets. Of the clock only the monotonic
// reading is used.
func NewTickets(c zonegate.Clock) *Tickets {
	return &Tickets{clock: c, byUser: map[string]*ticket{}}
}

// Issue makes a ticket with which a device can sign in once under a grant at a
// NAS (its name in the book), within two minutes. User name and password are 20
// and 16 plain characters: they pass unchanged through addresses and forms, and
// through NAS login pages that scramble one block of 16 octets.
func (t *Tickets) Issue(nas string, device zonegate.MAC, grant zonegate.GrantID) (user, password string) {
	k := &ticket{
		user: ticketPrefix + randomText(), password: randomText(),
		nas: nas, device: device, grant: grant, ends: t.clock.Now().Mono + ticketLife,
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	held := 0
	for _, other := range t.order {
		if other.device == device {
			held++
		}
	}
	if held >= maxDeviceTickets {
		t.dropOldest(func(o *ticket) bool { return o.device == device })
	}
	if len(t.order) >= maxTickets {
		t.dropOldest(func(*ticket) bool { return true })
	}
	t.byUser[k.user] = k
	t.order = append(t.order, k)
	return k.user, k.password
}

// isTicket says whether a user name can only be a ticket's.
func isTicket(user string) bool { return strings.HasPrefix(user, ticketPrefix) }

// take spends a ticket. It does so only for the NAS and the device that the
// ticket was made for and who knows the password; proves compares in constant
// time. Of two logins with one ticket exactly one gets it. Where no tickets are
// given out, t is nil.
func (t *Tickets) take(user, nas string, device zonegate.MAC, proves func(password string) bool) (*ticket, bool) {
	if t == nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	// The user name is no secret, only the password is: it may be found by an
	// ordinary look-up.
	k, ok := t.byUser[user]
	if !ok || k.spent || k.nas != nas || k.device != device || !proves(k.password) {
		return nil, false
	}
	k.spent = true
	return k, true
}

// giveBack makes a ticket good again whose login came to nothing because of us:
// the NAS will ask again.
func (t *Tickets) giveBack(k *ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.spent = false
}

// expire forgets the tickets whose time is over.
func (t *Tickets) expire() {
	now := t.clock.Now().Mono
	n := 0
	for n < len(t.order) && t.order[n].ends <= now {
		delete(t.byUser, t.order[n].user)
		n++
	}
	if n > 0 {
		t.order = append(t.order[:0], t.order[n:]...)
		clear(t.order[len(t.order):cap(t.order)])
	}
}

func (t *Tickets) dropOldest(which func(*ticket) bool) {
	for i, k := range t.order {
		if which(k) {
			delete(t.byUser, k.user)
			copy(t.order[i:], t.order[i+1:])
			t.order[len(t.order)-1] = nil
			t.order = t.order[:len(t.order)-1]
			return
		}
	}
}

var ticketEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// randomText is 80 bits: nobody tries 2^79 passwords in two minutes.
func randomText() string {
	var raw [10]byte
	rand.Read(raw[:])
	return ticketEncoding.EncodeToString(raw[:])
}
