package nft

import "fmt"

// Conntrack messages have family 0 and version 0: both address families.

func markFilter(mark uint32) func(w *buffer) {
	return func(w *buffer) {
		w.put32(ctaMark, mark)
		w.put32(ctaMarkMask, 0xffffffff)
	}
}

// DeleteMark deletes the conntrack entries with a mark, both address families.
// The kernel filters: no entry is copied. A kernel without conntrack marks
// answers EOPNOTSUPP and deletes nothing.
func (c *Conn) DeleteMark(mark uint32) error {
	err := c.request(subsysCT<<8|ctDelete, 0, 0, markFilter(mark), func(message) error { return nil })
	if err != nil {
		return fmt.Errorf("deleting conntrack entries of mark %d: %w", mark, err)
	}
	return nil
}

// HasMark tells whether a conntrack entry with this mark exists. The kernel
// filters.
func (c *Conn) HasMark(mark uint32) (bool, error) {
	found := false
	err := c.dump(subsysCT<<8|ctGet, 0, markFilter(mark),
		func() { found = false },
		func(m message) error {
			got, err := decodeMark(m)
			found = found || err == nil && got == mark
			return err
		})
	if err != nil {
		return false, fmt.Errorf("looking for conntrack entries of mark %d: %w", mark, err)
	}
	return found, nil
}

// Marks returns how many conntrack entries have each mark, without mark 0. It
// reads all entries: use a Conn of its own if that must not delay batches.
func (c *Conn) Marks() (map[uint32]int, error) {
	var marks map[uint32]int
	err := c.dump(subsysCT<<8|ctGet, 0, nil,
		func() { marks = map[uint32]int{} },
		func(m message) error {
			mark, err := decodeMark(m)
			if mark != 0 {
				marks[mark]++
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("reading conntrack marks: %w", err)
	}
	return marks, nil
}
