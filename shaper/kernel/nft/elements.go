package nft

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// AddElements adds elements to s. One that is there already with the same
// data is no error and keeps its timeout on kernels before 6.12; with other
// data the batch fails with EEXIST. To change an element, delete it and add it
// in the same batch: no packet sees it missing.
func (b *Batch) AddElements(s *Set, elems ...Element) {
	b.elements("add elements to", s, msgNewSetElem, flagCreate, elems)
}

// DelElements deletes elements by Key (and KeyEnd). If one is missing, the
// batch fails with ENOENT.
func (b *Batch) DelElements(s *Set, elems ...Element) {
	b.elements("delete elements of", s, msgDelSetElem, 0, elems)
}

// elements writes as many messages as the 16-bit length of a list needs.
func (b *Batch) elements(what string, s *Set, typ, flags uint16, elems []Element) {
	if err := s.check(); err != nil {
		b.buf.fail(fmt.Errorf("encoding elements of %s %s: %w", s.Table, s.Name, err))
		return
	}
	adding := typ == msgNewSetElem
	for i := 0; i < len(elems); {
		first := i
		b.add(what, s.Table, s.Name, typ, flags, func(w *buffer) {
			w.str(1, s.Table)
			w.str(2, s.Name)
			list := w.nest(3)
			for ; i < len(elems) && len(w.b)-list < maxAttr; i++ {
				if err := w.element(s, &elems[i], adding); err != nil {
					w.fail(fmt.Errorf("encoding element %d of %s %s: %w", i, s.Table, s.Name, err))
				}
			}
			w.end(list)
		})
		if b.buf.err != nil {
			return
		}
		if !s.Interval || s.concat() { // else there are two entries per element
			b.ops[len(b.ops)-1].first = first
		}
	}
}

// element writes a list entry; of a range in a set with a single key type two,
// the second being the first key after it.
func (w *buffer) element(s *Set, e *Element, adding bool) error {
	if len(e.Key) != s.KeyLen() {
		return fmt.Errorf("key of %d bytes, want %d", len(e.Key), s.KeyLen())
	}
	last := e.Key
	if e.KeyEnd != nil {
		last = e.KeyEnd
		if !s.Interval {
			return errors.New("range in a set without ranges")
		}
		if len(last) != len(e.Key) {
			return fmt.Errorf("last key of %d bytes, want %d", len(last), len(e.Key))
		}
		if !s.concat() && bytes.Compare(last, e.Key) < 0 {
			return errors.New("range ends before it begins")
		}
	}
	if adding && s.Data != 0 && len(e.Data) != s.Data.Len() {
		return fmt.Errorf("data of %d bytes, want %d", len(e.Data), s.Data.Len())
	}
	if adding && (s.Object != 0) != (e.Object != "") || len(e.Object) > maxName {
		return fmt.Errorf("object name %q", e.Object)
	}
	start := w.nest(1)
	w.value(1, e.Key)
	if s.Interval && s.concat() {
		w.value(10, last)
	}
	if adding {
		if s.Data != 0 {
			w.value(2, e.Data)
		}
		if s.Object != 0 {
			w.str(9, e.Object)
		}
		if e.Timeout > 0 {
			w.put64(4, milliseconds(e.Timeout))
		}
	}
	w.end(start)
	if s.Interval && !s.concat() {
		if after, ok := next(last); ok {
			start := w.nest(1)
			w.value(1, after)
			w.put32(3, elemIntervalEnd)
			w.end(start)
		}
	}
	return nil
}

// value writes nested nft_data with a plain value.
func (w *buffer) value(typ uint16, v []byte) {
	start := w.nest(typ)
	w.bytes(1, v)
	w.end(start)
}

// next returns the key after k; ok is false after the last.
func next(k []byte) (after []byte, ok bool) {
	after = slices.Clone(k)
	for i := len(after) - 1; i >= 0; i-- {
		after[i]++
		if after[i] != 0 {
			return after, true
		}
	}
	return nil, false
}

// before is the key before k.
func before(k []byte) []byte {
	p := slices.Clone(k)
	for i := len(p) - 1; i >= 0; i-- {
		p[i]--
		if p[i] != 0xff {
			break
		}
	}
	return p
}

// milliseconds rounds up: 0 would mean for ever.
func milliseconds(d time.Duration) uint64 {
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}
