package nft

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// track makes conntrack entries of a mark, of both families.
func track(t *testing.T, mark uint32, n int) {
	t.Helper()
	for i := range n {
		src, dst := fmt.Sprintf("10.0.%d.%d", mark%256, i+1), "192.0.2.1"
		if i%2 == 1 {
			src, dst = fmt.Sprintf("2001:db8::%x:%x", mark%256, i+1), "2001:db8::1"
		}
		run(t, "conntrack", "-I", "-p", "udp", "-s", src, "-d", dst, "--sport", "1000", "--dport", "53",
			"-t", "600", "-m", fmt.Sprint(mark))
	}
}

func TestConntrackMarks(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	if marks, err := c.Marks(); err != nil || len(marks) != 0 {
		t.Fatalf("marks of a new namespace: %v, %v", marks, err)
	}
	if err := c.DeleteMark(7); err != nil {
		t.Fatalf("deleting what is not there: %v", err)
	}
	const high = 0xfedcba98 // not the same in the other byte order
	track(t, 0, 2)
	track(t, 7, 5)
	track(t, high, 4)
	assert := func(want map[uint32]int) {
		t.Helper()
		marks, err := c.Marks()
		if diff := cmp.Diff(want, marks); err != nil || diff != "" {
			t.Errorf("marks: %v (-want +got)\n%s", err, diff)
		}
		for _, m := range []uint32{7, high, 0x98badcfe, 8} {
			has, err := c.HasMark(m)
			if err != nil || has != (want[m] > 0) {
				t.Errorf("has mark %#x: %v, %v", m, has, err)
			}
		}
	}
	assert(map[uint32]int{7: 5, high: 4})
	if err := c.DeleteMark(7); err != nil {
		t.Fatal(err)
	}
	assert(map[uint32]int{high: 4})
	if err := c.DeleteMark(high); err != nil {
		t.Fatal(err)
	}
	assert(map[uint32]int{})
	if has, err := c.HasMark(0); err != nil || !has {
		t.Errorf("unmarked entries are gone: %v, %v", has, err)
	}
}
