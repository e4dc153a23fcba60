package hub

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"io"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"zonegate/sync/api"
)

// PathCallbacks is where providers call back: the name of the provider follows.
const PathCallbacks = "/callbacks/"

// A money is what this process knows of payments and no other has to.
type money struct {
	public     string
	banked     time.Duration
	looking    int
	collectors atomic.Pointer[map[string]Collector]
	openings   gathering[*opening]
	changes    gathering[*change]
	findings   gathering[*finding]

	mu    sync.Mutex
	ways  map[string]*way
	hints map[string]hinted
}

// A way is how a provider answered lately.
type way struct {
	failed int // in a row
	until  time.Time
}

// After failures in a row a provider is left alone for a while.
const (
	awayAfter = 5
	awayFor   = time.Minute
)

// answered notes whether a provider gave an answer.
func (m *money) answered(provider string, ok bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.ways[provider]
	if w == nil {
		w = &way{}
		if m.ways == nil {
			m.ways = map[string]*way{}
		}
		m.ways[provider] = w
	}
	if ok {
		*w = way{}
		return
	}
	if w.failed++; w.failed >= awayAfter {
		w.until = now.Add(awayFor)
	}
}

// awayUntil is when a provider is asked again; zero is now.
func (m *money) awayUntil(provider string, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A clock that was put back must not keep it away for long.
	if w := m.ways[provider]; w != nil && now.Before(w.until) && !now.Before(w.until.Add(-awayFor)) {
		return w.until
	}
	return time.Time{}
}

func (m *money) away(provider string, now time.Time) bool {
	return !m.awayUntil(provider, now).IsZero()
}

// Callbacks of one payment that are heeded: some at once, then one for each
// lookup that the payment would have anyway.
const (
	hintBurst = 4
	maxHinted = 20_000
)

// A hinted is a bucket that empties with time.
type hinted struct {
	level int
	at    time.Time
}

// heed says whether a callback for a payment, or a wish of a person, is worth a
// question to the provider now.
func (m *money) heed(id string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.hints) >= maxHinted {
		for k, x := range m.hints {
			if now.Sub(x.at) > hintBurst*lookEvery {
				delete(m.hints, k)
			}
		}
		if len(m.hints) >= maxHinted {
			clear(m.hints)
		}
	}
	x, known := m.hints[id]
	if gone := now.Sub(x.at); known && gone >= 0 && gone < hintBurst*lookEvery {
		drops := int(gone / lookEvery)
		x.level, x.at = max(0, x.level-drops), x.at.Add(time.Duration(drops)*lookEvery)
	} else {
		x = hinted{at: now}
	}
	if x.level >= hintBurst {
		return false
	}
	x.level++
	if m.hints == nil {
		m.hints = map[string]hinted{}
	}
	m.hints[id] = x
	return true
}

// TakesPayments says whether there is a provider.
func (h *Hub) TakesPayments() bool { return len(*h.money.collectors.Load()) > 0 }

// UseCollectors replaces the providers, as after a change of the file that
// names them. Payments of one that is gone wait until it is back.
func (h *Hub) UseCollectors(c map[string]Collector) {
	own := make(map[string]Collector, len(c))
	for name, x := range c {
		own[name] = x
	}
	h.money.collectors.Store(&own)
}

func (h *Hub) collector(provider string) (Collector, bool) {
	c, ok := (*h.money.collectors.Load())[provider]
	return c, ok
}

// providers are the names, in order.
func (h *Hub) providers() []string {
	all := *h.money.collectors.Load()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// channel finds who takes payments through a channel: of several the first by
// name that is not away.
func (h *Hub) channel(id, currency string) (provider string, caps Caps, channel ChannelCaps, ok bool) {
	for _, name := range h.providers() {
		c, there := h.collector(name)
		if !there {
			continue
		}
		x := c.Caps()
		if !x.takes(currency) || ok && !h.money.away(provider, h.now()) {
			continue
		}
		for _, ch := range x.Channels {
			if ch.ID == id && !(ok && h.money.away(name, h.now())) {
				provider, caps, channel, ok = name, x, ch, true
			}
		}
	}
	return provider, caps, channel, ok
}

func (c Caps) takes(currency string) bool {
	for _, x := range c.Currencies {
		if x == currency {
			return true
		}
	}
	return false
}

// Channels are the ways to pay in a currency, as gateways hear of them.
func (h *Hub) Channels(currency string) []api.Channel {
	var out []api.Channel
	seen := map[string]bool{}
	for _, name := range h.providers() {
		c, ok := h.collector(name)
		if !ok {
			continue
		}
		caps := c.Caps()
		if !caps.takes(currency) {
			continue
		}
		for _, ch := range caps.Channels {
			if seen[ch.ID] {
				continue
			}
			seen[ch.ID] = true
			// Of several providers of a channel, the one that would be asked.
			provider, caps, ch, _ := h.channel(ch.ID, currency)
			x := api.Channel{ID: ch.ID, Name: ch.Name, Flow: ch.Flow, Currency: currency, Test: caps.Test}
			if caps.NeedsPhone {
				x.Country = caps.Country
			}
			if ch.Flow == FlowRedirect {
				x.Hosts = caps.Hosts
			}
			if h.money.away(provider, h.now()) {
				x.Away = "the provider does not answer"
			}
			out = append(out, x)
		}
	}
	return out
}

// spread is 0 to 999 at random: it has nothing secret to keep.
func (h *Hub) spread() int64 {
	var b [2]byte
	if _, err := io.ReadFull(h.random, b[:]); err != nil {
		return 0 // they come at once then, and are answered
	}
	return int64(binary.BigEndian.Uint16(b[:])) * 1000 >> 16
}

// reference is what a provider knows a payment by: 23 letters and digits.
func reference(seed string, attempt int) string {
	sum := sha256.Sum256([]byte("zonegate reference\x00" + seed))
	return base32.StdEncoding.EncodeToString(sum[:15])[:22] + strconv.Itoa(attempt%10)
}
