package nft

import (
	"errors"
	"net/netip"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

func prefix(s string) Element {
	first, last := PrefixRange(netip.MustParsePrefix(s))
	return Element{Key: first, KeyEnd: last}
}

func TestElementsRoundTrip(t *testing.T) {
	c := withTable(t)
	svc := &Set{Table: tbl, Name: "svc", Key: []DataType{TypeIPv4, TypePort}, Interval: true, Timeouts: true}
	lease := &Set{Table: tbl, Name: "lease", Key: []DataType{TypeEther, TypeIPv6}, Data: TypeMark}
	police := &Set{Table: tbl, Name: "police", Key: []DataType{TypeEther}, Object: ObjLimit}
	ports := &Set{Table: tbl, Name: "ports", Key: []DataType{TypePort}, Data: TypeClassID, Interval: true}
	mac := HW([6]byte{2, 1, 2, 3, 4, 5})
	v6 := Addr(netip.MustParseAddr("2001:db8::1"))
	v4 := Addr(netip.MustParseAddr("192.0.2.1"))
	want := map[*Set][]Element{
		marks: {{Key: Host32(0x01020304), Timeout: time.Hour}},
		subs:  {{Key: mac, Data: Host32(9)}},
		ranges: {
			prefix("0.0.0.0/8"), // the first address of all
			prefix("10.0.0.0/9"), prefix("10.128.0.0/9"),
			{Key: []byte{192, 0, 2, 1}},
			prefix("255.255.255.0/24"), // and the last
		},
		svc: {
			{Key: Concat(v4, Net16(1000)), KeyEnd: Concat(v4, Net16(2000)), Timeout: time.Minute},
			{Key: Concat(v4, Net16(3000))},
		},
		lease:  {{Key: Concat(mac, v6), Data: Host32(10)}},
		police: {{Key: mac, Object: "l"}},
		ports:  {{Key: Net16(1), KeyEnd: Net16(5), Data: Host32(0x10001)}},
	}
	var b Batch
	b.AddLimit(tbl, Limit{Name: "l", Rate: 1})
	for _, s := range []*Set{svc, lease, police, ports} {
		b.AddSet(s)
	}
	for s, e := range want {
		b.AddElements(s, e...)
	}
	commit(t, c, &b)
	for s, e := range want {
		got := elements(t, c, s)
		if diff := cmp.Diff(e, got, cmpopts.IgnoreFields(Element{}, "Expires")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.Name, diff)
		}
		for _, e := range got {
			if e.Expires > e.Timeout || (e.Expires == 0) != (e.Timeout == 0) {
				t.Errorf("%s: %v remain of %v", s.Name, e.Expires, e.Timeout)
			}
		}
	}
	b.Reset()
	for s, e := range want {
		b.DelElements(s, e...)
	}
	commit(t, c, &b)
	for s := range want {
		if n := len(elements(t, c, s)); n != 0 {
			t.Errorf("%s: %d elements left", s.Name, n)
		}
	}
}

func TestFlushSet(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddElements(marks, numbered(1, 3)...)
	commit(t, c, &b)
	b.Reset()
	b.FlushSet(tbl, marks.Name)
	b.AddElements(marks, numbered(7, 1)...)
	commit(t, c, &b)
	if e := elements(t, c, marks); len(e) != 1 || !cmp.Equal(e[0].Key, Host32(7)) {
		t.Errorf("elements %+v", e)
	}
}

func TestMissingThings(t *testing.T) {
	c := withTable(t)
	for _, name := range [][2]string{{tbl, "missing"}, {"missing", "live"}} {
		if _, err := c.Elements(name[0], name[1]); !errors.Is(err, unix.ENOENT) {
			t.Errorf("elements of %v: %v", name, err)
		}
		if _, err := c.Quota(name[0], name[1]); !errors.Is(err, unix.ENOENT) {
			t.Errorf("quota %v: %v", name, err)
		}
	}
	if q, err := c.Quotas("missing"); err != nil || len(q) != 0 {
		t.Errorf("quotas of a missing table: %v, %v", q, err)
	}
}

// An element ends in the kernel when its time is up, and deleting and adding
// it in one batch starts it anew.
func TestElementTimesOut(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddElements(marks,
		Element{Key: Host32(1), Timeout: 50 * time.Millisecond},
		Element{Key: Host32(2), Timeout: time.Nanosecond}, // not: for ever
		Element{Key: Host32(3), Timeout: time.Hour},
		Element{Key: Host32(4)})
	commit(t, c, &b)
	for deadline := time.Now().Add(10 * time.Second); ; {
		left := map[uint32]time.Duration{}
		for _, e := range elements(t, c, marks) {
			k, _ := FromHost32(e.Key)
			left[k] = e.Timeout
		}
		if cmp.Equal(left, map[uint32]time.Duration{3: time.Hour, 4: 0}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("elements left: %v", left)
		}
	}
	b.Reset()
	b.DelElements(marks, Element{Key: Host32(3)}, Element{Key: Host32(4)})
	b.AddElements(marks, Element{Key: Host32(3), Timeout: 2 * time.Hour}, Element{Key: Host32(4), Timeout: time.Hour})
	commit(t, c, &b)
	for _, e := range elements(t, c, marks) {
		if k, _ := FromHost32(e.Key); e.Timeout != time.Duration(5-k)*time.Hour {
			t.Errorf("element %d has timeout %v", k, e.Timeout)
		}
		if e.Expires <= 59*time.Minute {
			t.Errorf("element %x expires in %v", e.Key, e.Expires)
		}
	}
}

// A dump during commits shows one state, never half of a batch.
func TestDumpIsConsistent(t *testing.T) {
	c := withTable(t)
	const n = 5_000
	var b Batch
	b.AddElements(marks, numbered(0, n)...)
	commit(t, c, &b)
	reader := dial(t)
	for round := range 10 {
		var writing sync.WaitGroup
		writing.Add(1)
		go func() {
			defer writing.Done()
			for i := range 30 {
				// Move a hundred elements from one end of the numbers to the other.
				from := (round*30 + i) * 100
				var b Batch
				b.DelElements(marks, numbered(from, 100)...)
				b.AddElements(marks, numbered(from+n, 100)...)
				if err := c.Commit(&b); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		got, err := reader.Elements(tbl, marks.Name)
		writing.Wait()
		if errors.Is(err, ErrBusy) {
			continue // honest as well
		}
		if err != nil {
			t.Fatal(err)
		}
		low, high := uint32(1<<31), uint32(0)
		for _, e := range got {
			k, _ := FromHost32(e.Key)
			low, high = min(low, k), max(high, k)
		}
		if len(got) != n || high-low != n-1 {
			t.Fatalf("%d elements from %d to %d, want %d in a row", len(got), low, high, n)
		}
	}
}

func TestOwnedTable(t *testing.T) {
	enterNamespace(t)
	owner, other := dial(t), dial(t)
	var b Batch
	b.AddTable(Table{Name: tbl, Flags: Owner | Persist})
	b.AddSet(marks)
	b.AddElements(marks, numbered(1, 3)...)
	commit(t, owner, &b)
	commit(t, owner, &b) // the owner may repeat itself

	run(t, "nft", "flush", "ruleset")
	if out, err := exec.Command("nft", "delete", "table", "inet", tbl).CombinedOutput(); err == nil {
		t.Errorf("nft deleted an owned table: %s", out)
	}
	var add Batch
	add.AddElements(marks, numbered(10, 1)...)
	if err := other.Commit(&add); !errors.Is(err, unix.EPERM) || errors.Is(err, ErrNoPermission) {
		t.Errorf("changing another's table: %v", err)
	}
	if n := len(elements(t, other, marks)); n != 3 {
		t.Errorf("%d elements, want 3", n)
	}
	tables, err := other.Tables()
	want := []TableInfo{{Table: Table{Name: tbl, Flags: Owner | Persist}, Family: 1, Port: owner.Port()}}
	if diff := cmp.Diff(want, tables); err != nil || diff != "" {
		t.Errorf("tables: %v %s", err, diff)
	}

	// The owner dies; the table stays and the next one adopts it.
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	awaitOrphan(t, other)
	b.Reset()
	b.AddTable(Table{Name: tbl, Flags: Owner | Persist})
	b.AddElements(marks, numbered(10, 1)...)
	commit(t, other, &b)
	run(t, "nft", "flush", "ruleset")
	if n := len(elements(t, other, marks)); n != 4 {
		t.Errorf("%d elements after adoption, want 4", n)
	}
}

// awaitOrphan waits until the table has no owner: the kernel releases a closed
// socket after Close has returned.
func awaitOrphan(t *testing.T, c *Conn) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		tables, err := c.Tables()
		if err != nil {
			t.Fatal(err)
		}
		if len(tables) == 1 && tables[0].Flags&Owner == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("tables %+v, want an orphan", tables)
		}
	}
}

// Without Persist the table goes with its owner.
func TestOwnedTableEndsWithOwner(t *testing.T) {
	enterNamespace(t)
	owner, other := dial(t), dial(t)
	var b Batch
	b.AddTable(Table{Name: tbl, Flags: Owner})
	commit(t, owner, &b)
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		tables, err := other.Tables()
		if err != nil {
			t.Fatal(err)
		}
		if len(tables) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("tables %+v, want none", tables)
		}
	}
}
