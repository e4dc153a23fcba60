package zonegate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomLivesOfAZone runs random operations with crashes, power cuts and
// failing writes between any two of them, and compares with what was promised:
// an acknowledged sale is there for ever and once, a refused one never comes
// back, nobody is charged more than was delivered, and exactly the sessions of
// living grants pass. Every other zone has a hub: what it acknowledges is told
// once and in order, and its pushes count once. The replay is compared at the end
// of each life.
func TestRandomLivesOfAZone(t *testing.T) {
	for i := range 40 {
		seed := uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var hub *tableHub
			if i%2 == 1 {
				hub = &tableHub{grants: map[string]bool{}, revoked: map[string]bool{}}
			}
			live(t, rand.New(rand.NewPCG(seed, 7)), hub)
		})
	}
}

func live(t *testing.T, r *rand.Rand, hub *tableHub) {
	b := newBench(t, Options{RefusalTime: -1, SaveAfter: time.Second, Guessing: Guessing{PerDevice: 1 << 20, ZoneRate: 1 << 20}})
	devices := []MAC{phone1, phone2, phone3, {2, 0, 0, 0, 0, 4}}
	plans := []string{"hour", "capped", "online", "family"}
	var codes []string
	grants := map[string]GrantID{} // acknowledged
	refused := map[string]bool{}   // sold to nobody
	delivered := map[MAC]uint64{}
	boot := 0
	if hub != nil {
		b.join(hubLink, 1)
	}
	for range 150 {
		d := devices[r.IntN(len(devices))]
		if hub != nil {
			switch r.IntN(6) {
			case 0:
				hub.take(t, b, r.IntN(3) == 0)
			case 1:
				hub.push(t, b, r, devices)
			}
		}
		switch n := r.IntN(20); {
		case n < 3:
			c, err := b.gate.CreateVouchers(t.Context(), Batch{Plan: plans[r.IntN(len(plans))]}, 1)
			if err == nil {
				codes = append(codes, c...)
			} else if !errors.Is(err, ErrNotDurable) {
				t.Fatal(err)
			}
		case n < 8 && len(codes) > 0:
			code := codes[r.IntN(len(codes))]
			st, err := b.gate.Redeem(t.Context(), Redemption{Code: code, Device: d, Move: r.IntN(2) == 0})
			switch {
			case err == nil && grants[code] == 0:
				ids := []GrantID{st.Grant.Grant}
				for _, q := range st.Queue {
					ids = append(ids, q.Grant)
				}
				newest := GrantID(0)
				for _, id := range ids {
					newest = max(newest, id)
				}
				for other, id := range grants {
					if id == newest {
						t.Fatalf("codes %s and %s became one grant", code, other)
					}
				}
				grants[code] = newest
				delete(refused, code)
			case errors.Is(err, ErrNotDurable) && grants[code] == 0:
				refused[code] = true
			}
		case n < 12:
			if o, ok := b.path.order(d); ok {
				room := o.Allowance
				for _, other := range b.path.orders {
					if other.Grant == o.Grant {
						room -= min(room, b.path.octets[other.Session].Total())
					}
				}
				u := Octets{Up: min(room/3, uint64(r.IntN(1e6))), Down: min(room/3, uint64(r.IntN(4e6)))}
				delivered[d] += u.Total()
				b.use(d, u)
			}
		case n < 14:
			b.pass(time.Duration(r.Int64N(int64(30 * time.Minute))))
		case n == 14:
			b.gate.Logout(t.Context(), d)
		case n == 15:
			b.gate.Authorize(t.Context(), d)
		case n == 16:
			b.finals()
		case n == 17:
			b.setFail(errors.New("disk full"))
		case n == 18:
			b.setFail(nil)
		default:
			b.kill()
			if r.IntN(2) == 0 {
				boot++
				b.path.reboot()
				b.clock.set(func(i *Instant) {
					i.Boot, i.Mono, i.Trusted = fmt.Sprint("boot", boot), time.Minute, r.IntN(2) == 0
				})
			}
			b.mu.Lock()
			b.fail, b.failed = nil, false
			b.mu.Unlock()
			b.start(b.gate.opts)
		}
		check(t, b, grants, refused)
	}
	b.setFail(nil)
	if hub != nil {
		// A last life, in which the journal can be written.
		b.kill()
		b.start(b.gate.opts)
		hub.settle(t, b)
	}
	var total uint64
	for _, n := range delivered {
		total += n
	}
	var charged uint64
	seen := map[GrantID]bool{}
	for _, id := range grants {
		bal, err := b.gate.Balance(id)
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("grant %d is there twice", id)
		}
		seen[id] = true
		charged += bal.Used.Total()
		if bal.Cap != 0 && bal.Used.Total() > bal.Cap {
			t.Errorf("grant %d is charged %d of %d", id, bal.Used.Total(), bal.Cap)
		}
	}
	if charged > total {
		t.Errorf("charged %d, delivered %d", charged, total)
	}
}

func check(t *testing.T, b *bench, grants map[string]GrantID, refused map[string]bool) {
	t.Helper()
	for code, id := range grants {
		bal, err := b.gate.Balance(id)
		if err != nil {
			t.Fatalf("the grant of %s is lost: %v", code, err)
		}
		_ = bal
	}
	b.gate.mu.RLock()
	defer b.gate.mu.RUnlock()
	for code := range refused {
		v, ok, err := b.gate.state.voucher(b.gate.state.meta.Key.VoucherKey(code))
		if err != nil || !ok || v.Grant != 0 {
			t.Fatalf("the refused sale of %s came back: %+v %v", code, v, err)
		}
	}
	b.path.mu.Lock()
	defer b.path.mu.Unlock()
	open := 0
	for id, x := range b.gate.state.sessions {
		if x.Stopped {
			continue
		}
		open++
		if o, ok := b.path.orders[id]; !ok || o.Device != x.Device {
			t.Fatalf("session %d should pass: %+v", id, x)
		}
		if g := b.gate.state.grants[x.Grant]; g == nil || g.State != Active {
			t.Fatalf("session %d passes without a living grant", id)
		}
	}
	if open != len(b.path.orders) {
		t.Fatalf("%d sessions pass, %d should", len(b.path.orders), open)
	}
}
