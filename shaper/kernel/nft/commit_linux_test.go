package nft

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const tbl = "zg_test"

var (
	marks  = &Set{Table: tbl, Name: "live", Key: []DataType{TypeMark}, Timeouts: true}
	brakes = &Set{Table: tbl, Name: "brake", Key: []DataType{TypeMark}, Object: ObjQuota}
	subs   = &Set{Table: tbl, Name: "sub", Key: []DataType{TypeEther}, Data: TypeMark, Timeouts: true}
	ranges = &Set{Table: tbl, Name: "nets", Key: []DataType{TypeIPv4}, Interval: true}
)

// withTable makes a namespace with the sets above in an empty table.
func withTable(t *testing.T) *Conn {
	t.Helper()
	enterNamespace(t)
	c := dial(t)
	var b Batch
	b.AddTable(Table{Name: tbl})
	for _, s := range []*Set{marks, brakes, subs, ranges} {
		b.AddSet(s)
	}
	commit(t, c, &b)
	return c
}

func elements(t *testing.T, c *Conn, s *Set) []Element {
	t.Helper()
	e, err := c.Elements(s.Table, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func numbered(first, n int) []Element {
	e := make([]Element, n)
	for i := range e {
		e[i] = Element{Key: Host32(uint32(first + i)), Timeout: time.Hour}
	}
	return e
}

func quotaName(i int) string { return fmt.Sprintf("grant-%012d", i) }

// large is 10,000 elements, 1,000 quotas and their map elements.
func large() *Batch {
	var b Batch
	b.AddElements(marks, numbered(1, 10_000)...)
	for i := range 1_000 {
		b.AddQuota(tbl, quotaName(i), 1<<40+uint64(i), uint64(i), true)
		b.AddElements(brakes, Element{Key: Host32(uint32(i)), Object: quotaName(i)})
	}
	return &b
}

func TestLargeBatch(t *testing.T) {
	c := withTable(t)
	commit(t, c, large())
	if n := len(elements(t, c, marks)); n != 10_000 {
		t.Errorf("%d elements, want 10000", n)
	}
	byKey := map[uint32]string{}
	for _, e := range elements(t, c, brakes) {
		k, ok := FromHost32(e.Key)
		if !ok {
			t.Fatalf("key %x", e.Key)
		}
		byKey[k] = e.Object
	}
	quotas, err := c.Quotas(tbl)
	if err != nil {
		t.Fatal(err)
	}
	if len(quotas) != 1_000 || len(byKey) != 1_000 {
		t.Fatalf("%d quotas, %d elements, want 1000", len(quotas), len(byKey))
	}
	for _, q := range quotas {
		var i int
		if _, err := fmt.Sscanf(q.Name, "grant-%d", &i); err != nil {
			t.Fatal(err)
		}
		want := Quota{Name: quotaName(i), Bytes: 1<<40 + uint64(i), Consumed: uint64(i), Over: true}
		if q != want || byKey[uint32(i)] != q.Name {
			t.Fatalf("quota %+v of element %q, want %+v", q, byKey[uint32(i)], want)
		}
	}
	var b Batch
	b.DelElements(marks, numbered(1, 10_000)...)
	for i := range 1_000 {
		b.DelElements(brakes, Element{Key: Host32(uint32(i))})
		b.DelQuota(tbl, quotaName(i))
	}
	commit(t, c, &b)
	if n := len(elements(t, c, marks)) + len(elements(t, c, brakes)); n != 0 {
		t.Errorf("%d elements left", n)
	}
}

func TestFailureRollsBackAndIsNamed(t *testing.T) {
	c := withTable(t)
	b := large()
	at := b.Len()
	b.DelQuota(tbl, "missing")
	b.AddElements(marks, numbered(20_000, 5_000)...)
	for i := 1_000; i < 1_500; i++ {
		b.AddQuota(tbl, quotaName(i), 1, 0, true)
	}
	err := c.Commit(b)
	var failed *BatchError
	if !errors.As(err, &failed) || len(failed.Failures) != 1 {
		t.Fatalf("error %v, want one failure", err)
	}
	f := failed.Failures[0]
	if f.Index != at || f.Op != "delete object "+tbl+" missing" || !errors.Is(err, unix.ENOENT) {
		t.Errorf("failure %+v, want message %d", f, at)
	}
	quotas, err := c.Quotas(tbl)
	if n := len(elements(t, c, marks)) + len(elements(t, c, brakes)); err != nil || n != 0 || len(quotas) != 0 {
		t.Errorf("%d elements, %d quotas, %v after a failed batch", n, len(quotas), err)
	}
	// The connection goes on working, and every failure is told.
	var many Batch
	for i := range 300 {
		many.AddTable(Table{Name: "zg_other"})
		many.DelQuota(tbl, quotaName(i))
	}
	err = c.Commit(&many)
	if !errors.As(err, &failed) || len(failed.Failures) != 300 {
		t.Fatalf("error %v, want 300 failures", err)
	}
	for i, f := range failed.Failures {
		if f.Index != 2*i+1 {
			t.Fatalf("failure %d is of message %d, want %d", i, f.Index, 2*i+1)
		}
	}
	if tables, err := c.Tables(); err != nil || len(tables) != 1 {
		t.Errorf("tables %v, %v, want one", tables, err)
	}
}

// The last message is the one that asks for an acknowledgement.
func TestFailureOfLastMessage(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddQuota(tbl, "a", 1, 0, true)
	b.DelSet(tbl, "missing")
	err := c.Commit(&b)
	var failed *BatchError
	if !errors.As(err, &failed) || len(failed.Failures) != 1 || failed.Failures[0].Index != 1 {
		t.Errorf("error %v, want one of message 1", err)
	}
	if _, err := c.Quota(tbl, "a"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("quota after a failed batch: %v", err)
	}
}

// What is right by itself and wrong together: masquerading in a chain that a
// filter chain jumps to.
func TestFailureOfCombination(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddChain(Chain{Table: tbl, Name: "sub"})
	b.AddRule(tbl, "sub", "", Masquerade())
	b.AddChain(Chain{Table: tbl, Name: "base", Type: Filter, Hook: Forward, Policy: PolicyAccept})
	b.AddRule(tbl, "base", "", Jump("sub"))
	b.AddElements(marks, numbered(1, 10)...)
	var failed *BatchError
	if err := c.Commit(&b); !errors.As(err, &failed) || errors.Is(err, ErrNoNFTables) {
		t.Errorf("error %v, want a refusal", err)
	}
	if n := len(elements(t, c, marks)); n != 0 {
		t.Errorf("%d elements after a refused batch", n)
	}
}

func TestFailureNamesElement(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddElements(marks, numbered(1, 10_000)...)
	commit(t, c, &b)
	b.Reset()
	elems := numbered(1, 10_000)
	elems[7_777].Key = Host32(99_999)
	b.DelElements(marks, elems...)
	err := c.Commit(&b)
	var failed *BatchError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v", err)
	}
	if f := failed.Failures[0]; f.Element != 7_777 || !errors.Is(f, unix.ENOENT) {
		t.Errorf("failure %+v, want element 7777", f)
	}
}

func TestCheckChangesNothing(t *testing.T) {
	c := withTable(t)
	b := large()
	if err := c.Check(b); err != nil {
		t.Fatal(err)
	}
	if n := len(elements(t, c, marks)); n != 0 {
		t.Fatalf("%d elements after a check", n)
	}
	b.AddTable(Table{Name: "zg_flags", Flags: 1 << 20})
	if err := c.Check(b); !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("checking an unknown flag: %v", err)
	} else if errors.Is(err, ErrNoNFTables) {
		t.Errorf("an unknown flag taken for a missing subsystem: %v", err)
	}
	if tables, err := c.Tables(); err != nil || len(tables) != 1 {
		t.Errorf("tables %v, %v, want one", tables, err)
	}
}

func TestBadArguments(t *testing.T) {
	c := withTable(t)
	long := strings.Repeat("x", 256)
	for name, f := range map[string]func(b *Batch){
		"long name":       func(b *Batch) { b.AddQuota(tbl, long, 1, 0, true) },
		"no table":        func(b *Batch) { b.AddTable(Table{}) },
		"short key":       func(b *Batch) { b.AddElements(marks, Element{Key: []byte{1}}) },
		"no data":         func(b *Batch) { b.AddElements(subs, Element{Key: HW([6]byte{1})}) },
		"no object":       func(b *Batch) { b.AddElements(brakes, Element{Key: Host32(1)}) },
		"range":           func(b *Batch) { b.AddElements(marks, Element{Key: Host32(1), KeyEnd: Host32(2)}) },
		"backward range":  func(b *Batch) { b.AddElements(ranges, Element{Key: []byte{9, 0, 0, 0}, KeyEnd: []byte{8, 0, 0, 0}}) },
		"no key type":     func(b *Batch) { b.AddSet(&Set{Table: tbl, Name: "s"}) },
		"host order":      func(b *Batch) { b.AddSet(&Set{Table: tbl, Name: "s", Key: []DataType{TypeMark}, Interval: true}) },
		"interface name":  func(b *Batch) { b.AddRule(tbl, "c", "", IIFName("a-name-of-16-byt")) },
		"comment":         func(b *Batch) { b.AddRule(tbl, "c", long) },
		"mask":            func(b *Batch) { b.AddRule(tbl, "c", "", Bitwise(R1, R1, []byte{1}, nil)) },
		"nested sequence": func(b *Batch) { b.AddRule(tbl, "c", "", AddToSet("s", R1, 0, CTMarkIs(1))) },
		"overdrawn":       func(b *Batch) { b.AddQuota(tbl, "q", 1, 2, true) },
		"huge value":      func(b *Batch) { b.AddRule(tbl, "c", "", Cmp(Eq, R1, make([]byte, 70_000))) },
	} {
		var b Batch
		f(&b)
		err := c.Commit(&b)
		var errno syscall.Errno
		if err == nil || errors.As(err, &errno) || !strings.HasPrefix(err.Error(), "encoding ") {
			t.Errorf("%s: error %v, want one before the kernel sees it", name, err)
		}
	}
	if err := c.Commit(new(Batch)); err != nil {
		t.Errorf("empty batch: %v", err)
	}
}

// An object is never changed in place, and not deleted while referred to.
func TestObjectsExistOnce(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddQuota(tbl, "a", 100, 7, true)
	b.AddLimit(tbl, Limit{Name: "l", Rate: 1000, Burst: 1500})
	b.AddElements(brakes, Element{Key: Host32(1), Object: "a"})
	commit(t, c, &b)
	b.Reset()
	b.AddQuota(tbl, "a", 200, 0, true)
	if err := c.Commit(&b); !errors.Is(err, unix.EEXIST) {
		t.Errorf("adding a quota twice: %v", err)
	}
	b.Reset()
	b.DelQuota(tbl, "a")
	if err := c.Commit(&b); !errors.Is(err, unix.EBUSY) {
		t.Errorf("deleting a quota in use: %v", err)
	}
	q, err := c.Quota(tbl, "a")
	if diff := cmp.Diff(Quota{Name: "a", Bytes: 100, Consumed: 7, Over: true}, q); err != nil || diff != "" {
		t.Errorf("quota: %v %s", err, diff)
	}
	// A new generation of it takes its place in one step.
	b.Reset()
	b.AddQuota(tbl, "a.2", 200, 0, true)
	b.DelElements(brakes, Element{Key: Host32(1)})
	b.AddElements(brakes, Element{Key: Host32(1), Object: "a.2"})
	b.DelQuota(tbl, "a")
	b.DelLimit(tbl, "l")
	commit(t, c, &b)
	if e := elements(t, c, brakes); len(e) != 1 || e[0].Object != "a.2" {
		t.Errorf("elements %+v", e)
	}
}

// With a full receive queue the answer is lost. That is told as such, and
// later requests are not confused by what was left.
func TestLostAnswer(t *testing.T) {
	c := withTable(t)
	var b Batch
	b.AddElements(marks, numbered(1, 10_000)...)
	commit(t, c, &b)
	c.s.setBuffer(unix.SO_RCVBUF, unix.SO_RCVBUF, 1)
	var w buffer
	m := w.message(subsysNFT<<8|msgGetSetElem, flagRequest|flagDump, familyInet, 0)
	w.str(1, tbl)
	w.str(2, marks.Name)
	w.endMessage(m)
	if err := c.s.send(w.b); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	b.AddQuota(tbl, "a", 1, 0, true)
	if err := c.Commit(&b); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("error %v, want ErrUnknownOutcome", err)
	}
	c.s.setBuffer(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receiveBuffer)
	if _, err := c.Quota(tbl, "a"); err != nil {
		t.Errorf("reading back: %v", err)
	}
}

func TestNoPermission(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	var b Batch
	b.AddTable(Table{Name: tbl})
	withoutCapabilities(t, func() {
		if _, err := Dial(); !errors.Is(err, ErrNoPermission) || !errors.Is(err, os.ErrPermission) {
			t.Errorf("dialing: %v", err)
		}
		if _, err := NewMonitor(); !errors.Is(err, ErrNoPermission) {
			t.Errorf("monitoring: %v", err)
		}
		if err := c.Commit(&b); !errors.Is(err, ErrNoPermission) {
			t.Errorf("committing: %v", err)
		}
		if _, err := c.Tables(); !errors.Is(err, unix.EPERM) {
			t.Errorf("dumping: %v", err)
		}
		if err := c.DeleteMark(1); !errors.Is(err, unix.EPERM) {
			t.Errorf("deleting a mark: %v", err)
		}
	})
	commit(t, c, &b)
}

// withoutCapabilities runs f without effective capabilities on this thread.
func withoutCapabilities(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, none [2]unix.CapUserData
	if err := unix.Capget(&h, &had[0]); err != nil {
		t.Fatal(err)
	}
	none = had
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&h, &none[0]); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Capset(&h, &had[0]); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// What a kernel without nf_tables answers, asked of a subsystem that there is
// not: an error at once, for requests and for batches.
func TestMissingSubsystem(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	const missing = 200
	err := c.request(missing<<8, 0, 0, nil, func(message) error { return nil })
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("request: %v", err)
	}
	if err := c.request(missing<<8, flagDump, 0, nil, func(message) error { return nil }); !errors.Is(err, unix.EINVAL) {
		t.Errorf("dump: %v", err)
	}
}

func TestCloseIsFinal(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.AddTable(Table{Name: tbl})
	if err := c.Commit(&b); !errors.Is(err, os.ErrClosed) {
		t.Errorf("committing: %v", err)
	}
	if _, err := c.Tables(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("dumping: %v", err)
	}
}
