package portal

import (
	"maps"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestSealedVisit(t *testing.T) {
	s := newSealer()
	here, there := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	v := visit{Kind: KindMikroTik, NAS: "bar", Login: "http://10.5.50.1/login", Device: []byte{2, 0, 0, 0, 0, 1}, ChapID: []byte{0xf9}, Challenge: []byte("abc")}
	sealed := s.seal(v, here)
	if got, fresh := s.open(sealed, here); !fresh || got.Login != v.Login || got.device() != v.device() || string(got.Challenge) != "abc" {
		t.Errorf("%+v, fresh %v", got, fresh)
	}
	if _, fresh := s.open(sealed, there); fresh {
		t.Error("good for another source")
	}
	s.began = s.began.Add(-maxVisit + time.Minute)
	if _, fresh := s.open(sealed, here); !fresh {
		t.Error("too old before its time")
	}
	s.began = s.began.Add(-time.Minute)
	if got, fresh := s.open(sealed, here); fresh || got.Login != v.Login {
		t.Errorf("after its time: %+v, fresh %v", got, fresh)
	}
	for _, login := range []string{"", "javascript:x", "http://10.5.50.1/logout", "http://10.5.50.1", "HTTP://10.5.50.1/login"} {
		v.Login = login
		if got, fresh := s.open(s.seal(v, here), here); fresh || got.Login != "" {
			t.Errorf("%q is a login address", login)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	now := time.Now()
	two := []limit{{"a", 3, time.Second}, {"b", 5, time.Minute}}
	count := func(limits ...limit) (n int) {
		for {
			after, ok := m.take(now, limits)
			if !ok {
				// So long and no longer.
				later := meter{free: maps.Clone(m.free)}
				if _, ok := later.take(now.Add(after-1), limits); ok {
					t.Errorf("%v is too long", after)
				}
				if _, ok := later.take(now.Add(after), limits); !ok {
					t.Errorf("%v is too short", after)
				}
				return n
			}
			n++
		}
	}
	if n := count(two...); n != 3 {
		t.Errorf("%d at once, want 3", n)
	}
	now = now.Add(2 * time.Second)
	if n := count(two...); n != 2 {
		t.Errorf("%d after 2 s, want 2", n)
	}
	now = now.Add(10 * time.Second)
	if n := count(two...); n != 0 {
		t.Errorf("%d where the other bucket is full, want none", n)
	}
	if n := count(two[0]); n != 3 {
		t.Errorf("%d where nothing was counted, want 3", n)
	}
	m.giveBack(two[:1])
	m.giveBack(two[:1])
	if n := count(two[0]); n != 2 {
		t.Errorf("%d after two were given back", n)
	}
}

// Nobody fills the memory, or pushes a NAS's own bucket out.
func TestMeterForgets(t *testing.T) {
	var m meter
	now := time.Now()
	ask := func(i int, every time.Duration) {
		m.take(now, []limit{{"from " + strconv.Itoa(i), 3, every}})
		if len(m.free) > maxBuckets {
			t.Fatalf("%d buckets", len(m.free))
		}
	}
	m.take(now, []limit{{perNAS + "bar", 1000, time.Hour}})
	for i := range 3 * maxBuckets {
		ask(i, time.Minute)
	}
	if _, kept := m.free[perNAS+"bar"]; !kept {
		t.Error("the NAS's bucket went")
	}
	now = now.Add(2 * time.Minute)
	for i := range maxBuckets {
		ask(-i, time.Hour)
	}
	for key, free := range m.free {
		if !free.After(now) {
			t.Fatalf("%s is kept and counts nothing", key)
		}
	}
}
