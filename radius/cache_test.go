package radius

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func originOf(port uint16, id byte) origin {
	return origin{from: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), id: id}
}

// put has a request answered.
func put(t testing.TB, c *cache, o origin, authenticator [16]byte, name string, answer []byte, now time.Duration) {
	t.Helper()
	e, _, v := c.begin(o, authenticator, name, now)
	if v != fresh {
		t.Fatalf("%v is not new: %d", o, v)
	}
	c.end(e, answer, now)
}

func TestCacheForgetsInTime(t *testing.T) {
	c := newCache(8, rememberSize)
	a, b := [16]byte{1}, [16]byte{2}
	put(t, c, originOf(1, 1), a, "one", []byte("first"), 0)
	put(t, c, originOf(1, 2), a, "one", []byte("second"), time.Second)
	if _, answer, v := c.begin(originOf(1, 1), a, "one", rememberFor-1); v != repeated || string(answer) != "first" {
		t.Errorf("at the last moment: %d %q", v, answer)
	}
	e, _, v := c.begin(originOf(1, 1), a, "one", rememberFor)
	if v != fresh {
		t.Errorf("after its time: %d", v)
	}
	if len(c.entries) != 2 {
		t.Errorf("%d entries", len(c.entries))
	}
	c.end(e, nil, rememberFor)
	// The book was changed: another entry has the address now.
	if _, _, v := c.begin(originOf(1, 2), a, "other", rememberFor+time.Second); v != fresh {
		t.Errorf("under another entry, after its time: %d", v)
	}
	if _, _, v := c.begin(originOf(1, 2), b, "other", rememberFor+time.Second); v != freshInstead {
		t.Errorf("another request with the identifier: %d", v)
	}
	if c.size != 0 || c.peers["one"].size != 0 || c.peers["one"].oldest != nil || c.peers["one"].newest != nil {
		t.Errorf("%d octets are left", c.size)
	}
}

// The memory is bounded, and who fills it forgets first.
func TestCacheIsBounded(t *testing.T) {
	c := newCache(8, 100*(entryCost+10))
	answer := make([]byte, 10)
	for i := range byte(20) {
		put(t, c, originOf(1, i), [16]byte{}, "quiet", answer, 0)
	}
	for i := range 10_000 {
		put(t, c, originOf(2+uint16(i/256), byte(i)), [16]byte{}, "loud", answer, 0)
		if c.size > c.limit || len(c.entries) > 100 {
			t.Fatalf("%d octets in %d entries", c.size, len(c.entries))
		}
	}
	for i := range byte(20) {
		if _, _, v := c.begin(originOf(1, i), [16]byte{}, "quiet", 1); v != repeated {
			t.Fatalf("the quiet NAS's answer %d was pushed out", i)
		}
	}
	// The longest packets are bounded all the same, and one that is larger than
	// the whole memory is not kept.
	for i := range byte(50) {
		put(t, c, originOf(9, i), [16]byte{}, "loud", make([]byte, 4096), 0)
		if c.size > c.limit {
			t.Fatalf("%d octets", c.size)
		}
	}
	put(t, c, originOf(9, 99), [16]byte{}, "huge", make([]byte, c.limit), 0)
	if _, _, v := c.begin(originOf(9, 99), [16]byte{}, "huge", 0); v != fresh || c.size > c.limit {
		t.Errorf("verdict %d, %d octets", v, c.size)
	}
}

// What is counted for an entry is what it takes.
func TestCacheEntryCost(t *testing.T) {
	const n = 20_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCache(8, 1<<30)
	for i := range n {
		put(t, c, originOf(uint16(i/256), byte(i)), [16]byte{}, "one", make([]byte, 160), 0)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	cost := int(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d octets for an answer of 160", cost)
	if counted := c.size / n; cost > counted {
		t.Errorf("an entry takes %d octets and counts %d", cost, counted)
	}
}

// Whatever comes, the sums are right and the room is not exceeded.
func TestCacheAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		c := newCache(16, 40*entryCost)
		var now time.Duration
		open := map[*entry]bool{}
		answered := map[origin][16]byte{} // what must not be asked anew, at most
		for step := range 3000 {
			now += time.Duration(random.IntN(int(time.Second / 4)))
			if len(open) > 0 && random.IntN(3) == 0 {
				for e := range open {
					delete(open, e)
					if random.IntN(4) == 0 {
						c.end(e, nil, now)
					} else if c.end(e, make([]byte, random.IntN(200)), now) {
						answered[e.origin] = e.authenticator
					}
					break
				}
			} else {
				o := originOf(uint16(random.IntN(3)), byte(random.IntN(20)))
				name := fmt.Sprint("nas-", random.IntN(4))
				authenticator := [16]byte{byte(random.IntN(3))}
				e, answer, v := c.begin(o, authenticator, name, now)
				switch v {
				case fresh, freshInstead:
					open[e] = true
				case repeated:
					if answer == nil || answered[o] != authenticator {
						t.Fatalf("seed %d step %d: an answer to what was not asked", seed, step)
					}
				case underWay:
					var found bool
					for e := range open {
						found = found || e.origin == o && e.authenticator == authenticator
					}
					if !found {
						t.Fatalf("seed %d step %d: not under way", seed, step)
					}
				case full:
					if len(open) < 16/5 {
						t.Fatalf("seed %d step %d: full with %d", seed, step, len(open))
					}
				}
			}
			checkCache(t, c, open)
		}
		for e := range open {
			c.end(e, nil, now)
		}
		for name := range c.peers {
			c.begin(originOf(60000, 0), [16]byte{}, name, now+time.Hour)
		}
		if c.size != 0 {
			t.Fatalf("seed %d: %d octets stay", seed, c.size)
		}
	}
}

func checkCache(t *testing.T, c *cache, open map[*entry]bool) {
	t.Helper()
	size, listed, inFlight := 0, 0, 0
	for _, p := range c.peers {
		own := 0
		for e, last := p.oldest, (*entry)(nil); e != nil; last, e = e, e.newer {
			if e.older != last || e.peer != p || c.entries[e.origin] != e || e.newer == nil && p.newest != e {
				t.Fatal("a list is broken")
			}
			own += e.size()
			listed++
		}
		if own != p.size {
			t.Fatalf("a peer has %d octets and counts %d", own, p.size)
		}
		size += own
		inFlight += p.inFlight
	}
	current := 0
	for e := range open {
		if c.entries[e.origin] == e {
			current++
		}
	}
	if size != c.size || c.size > c.limit || inFlight != c.inFlight || c.inFlight != len(open) || c.inFlight > c.room || listed+current != len(c.entries) {
		t.Fatalf("size %d of %d, in flight %d %d %d, entries %d + %d of %d", size, c.size, inFlight, c.inFlight, len(open), listed, current, len(c.entries))
	}
}
