package radius

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate"
)

// testClock is a clock that the test moves.
type testClock struct {
	mu  sync.Mutex
	now zonegate.Instant
}

func newTestClock() *testClock {
	return &testClock{now: zonegate.Instant{
		Boot: "first", Mono: time.Minute, Wall: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Trusted: true,
	}}
}

func (c *testClock) Now() zonegate.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Mono += d
	c.now.Wall = c.now.Wall.Add(d)
}

var (
	phone1 = zonegate.MAC{2, 0, 0, 0, 0, 1}
	phone2 = zonegate.MAC{2, 0, 0, 0, 0, 2}
	phone3 = zonegate.MAC{2, 0, 0, 0, 0, 3}
)

func equals(password string) func(string) bool {
	return func(p string) bool { return p == password }
}

func TestTicketIsForOneLogin(t *testing.T) {
	box := NewTickets(newTestClock())
	user, password := box.Issue("gate", phone1, 7)
	if !isTicket(user) || len(user) != 20 || len(password) != 16 {
		t.Fatalf("a ticket of %d and %d octets", len(user), len(password))
	}
	for name, try := range map[string]struct {
		user, nas string
		device    zonegate.MAC
		password  string
	}{
		"another NAS":       {user, "other", phone1, password},
		"another device":    {user, "gate", phone2, password},
		"another password":  {user, "gate", phone1, "x"},
		"an empty password": {user, "gate", phone1, ""},
		"another user":      {ticketPrefix + "x", "gate", phone1, password},
	} {
		if _, ok := box.take(try.user, try.nas, try.device, equals(try.password)); ok {
			t.Errorf("%s takes the ticket", name)
		}
	}
	if _, ok := (*Tickets)(nil).take(user, "gate", phone1, equals(password)); ok {
		t.Error("a ticket where none are given out")
	}
	k, ok := box.take(user, "gate", phone1, equals(password))
	if !ok || k.grant != 7 {
		t.Fatalf("the right login gets %v, %v", k, ok)
	}
	if _, ok := box.take(user, "gate", phone1, equals(password)); ok {
		t.Error("the ticket is good twice")
	}
	box.giveBack(k)
	if _, ok := box.take(user, "gate", phone1, equals(password)); !ok {
		t.Error("a ticket that was given back is not good")
	}
}

func TestTicketsEndAfterTwoMinutes(t *testing.T) {
	clock := newTestClock()
	box := NewTickets(clock)
	user1, password1 := box.Issue("gate", phone1, 1)
	clock.pass(time.Minute)
	user2, password2 := box.Issue("gate", phone2, 2)
	clock.pass(time.Minute - 1)
	k, ok := box.take(user1, "gate", phone1, equals(password1))
	if !ok {
		t.Fatal("the ticket ended too early")
	}
	box.giveBack(k)
	clock.pass(1)
	if _, ok := box.take(user1, "gate", phone1, equals(password1)); ok {
		t.Error("the ticket is good after its time")
	}
	if _, ok := box.take(user2, "gate", phone2, equals(password2)); !ok {
		t.Error("the younger ticket ended with the older one")
	}
	clock.pass(time.Hour)
	box.Issue("gate", phone3, 3)
	if len(box.order) != 1 || len(box.byUser) != 1 {
		t.Errorf("%d and %d tickets are kept after their time", len(box.order), len(box.byUser))
	}
}

func TestTicketsAreBounded(t *testing.T) {
	box := NewTickets(newTestClock())
	first, password := box.Issue("gate", phone1, 1)
	for range 1000 {
		box.Issue("gate", phone2, 2)
	}
	if len(box.order) != 1+maxDeviceTickets {
		t.Errorf("one device has %d tickets", len(box.order)-1)
	}
	if _, ok := box.take(first, "gate", phone1, equals(password)); !ok {
		t.Error("one device pushed out another's ticket")
	}
	for i := range maxTickets + 100 {
		box.Issue("gate", zonegate.MAC{4, 0, byte(i >> 16), byte(i >> 8), byte(i), 0}, 3)
	}
	if len(box.order) != maxTickets || len(box.byUser) != maxTickets {
		t.Errorf("%d and %d tickets, want %d", len(box.order), len(box.byUser), maxTickets)
	}
}

func TestRacedTicketHasOneWinner(t *testing.T) {
	box := NewTickets(newTestClock())
	for range 50 {
		user, password := box.Issue("gate", phone1, 1)
		var wg sync.WaitGroup
		won := make(chan struct{}, 8)
		for range 8 {
			wg.Go(func() {
				if _, ok := box.take(user, "gate", phone1, equals(password)); ok {
					won <- struct{}{}
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d logins got one ticket", len(won))
		}
	}
}

func TestTicketsAreNotPrintable(t *testing.T) {
	box := NewTickets(newTestClock())
	_, password := box.Issue("gate", phone1, 1)
	if s := fmt.Sprintf("%v %+v %#v", box.order[0], box.order[0], box.order[0]); strings.Contains(s, password) {
		t.Error("a ticket prints its password")
	}
}
