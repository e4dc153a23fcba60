package journal

import (
	"fmt"
	"path"

	"zonegate/internal/disk"
)

// walk goes through the records of one segment, tells good from torn from
// damaged, and checks the chain.
type walk struct {
	name       string
	data       []byte
	head       header
	unreadable error // the medium refused some of data
	// limit is the sequence at which the records end because the next
	// segment begins there, or because no more were acknowledged. Zero
	// means that nobody knows: this is the last segment.
	limit uint64

	// record gets every good record; the hash is zero where the chain is
	// unknown. damage gets every damage. An error of either ends the walk.
	record func(seq uint64, payload []byte, h Hash) error
	damage func(*DamageError) error

	// results
	next    uint64 // sequence after the last good record
	hash    Hash   // of the last good record
	chained bool   // hash is known
	end     int    // where the good records end
	group   int    // where the last good group begins
	records uint64
	dead    uint64 // intact records from limit on
	tail    Tail
}

func (w *walk) run() error {
	w.next, w.hash = w.head.first, w.head.prev
	w.chained = w.head.flags&flagUnchained == 0
	w.end, w.group = headerSize, headerSize
	pos := headerSize
	var group []record // read, its end not yet seen
	groupSeq, groupPos := w.next, pos
	link := w.hash

	for next := w.next; w.limit == 0 || next < w.limit; {
		r, ok := decodeRecord(w.data, pos)
		if ok && r.seq == next && r.group() == groupSeq {
			if w.chained {
				link = link.Next(r.seq, r.payload)
				r.link = link
			} else if r.end {
				r.link = r.hash
			}
			group = append(group, r)
			pos += r.size
			next++
			if !r.end && next != w.limit {
				continue
			}
			good, err := w.commit(group)
			if err != nil {
				return err
			}
			if good {
				w.group = groupPos
			}
			w.next, w.end, link = next, pos, w.hash
			group, groupSeq, groupPos = group[:0], next, pos
			continue
		}

		if w.limit == 0 && w.unreadable == nil && !w.laterGroup(pos, groupSeq) {
			w.torn(groupPos, groupSeq)
			return nil
		}

		// What was read of the group is good: each record has its sum.
		if err := w.deliver(group); err != nil {
			return err
		}
		d := &DamageError{Segment: w.name, Offset: int64(pos), Seq: next, Next: w.limit, Err: w.unreadable}
		d.Reason = w.reason(pos, next)
		var on record
		search(w.data, pos, next, func(r record) bool {
			on = r
			return false
		})
		found := on.size > 0 && (w.limit == 0 || on.seq < w.limit)
		if found {
			d.Next = on.seq
		}
		if err := w.damage(d); err != nil {
			return err
		}
		w.chained = false
		if !found {
			w.next, w.end = max(next, w.limit), pos
			return nil
		}
		next, pos = on.seq, on.off
		group, groupSeq, groupPos = group[:0], on.group(), pos
		w.next, w.end = next, pos
	}

	for w.dead = 0; ; w.dead++ {
		r, ok := decodeRecord(w.data, pos)
		if !ok {
			return nil
		}
		pos += r.size
	}
}

// commit takes a whole group over, and answers whether it fits the chain.
func (w *walk) commit(group []record) (good bool, err error) {
	last := group[len(group)-1]
	if w.chained && last.end && last.link != last.hash {
		// Somebody changed the group and mended the sums: which record it
		// was cannot be told.
		w.hash = last.hash
		return false, w.damage(&DamageError{
			Segment: w.name, Offset: int64(group[0].off), Seq: group[0].seq, Next: last.seq + 1,
			Reason: "the hash chain does not fit: records were altered",
		})
	}
	if err := w.deliver(group); err != nil {
		return false, err
	}
	w.hash = last.link
	if last.end {
		w.hash, w.chained = last.hash, true
	}
	return true, nil
}

func (w *walk) deliver(group []record) error {
	for _, r := range group {
		w.records++
		if err := w.record(r.seq, r.payload, r.link); err != nil {
			return err
		}
	}
	return nil
}

// laterGroup looks for a record of a group that began after seq: then the
// group at seq had been synced.
func (w *walk) laterGroup(pos int, seq uint64) (found bool) {
	search(w.data, pos, seq+1, func(r record) bool {
		found = r.group() > seq
		return !found
	})
	return found
}

func (w *walk) reason(pos int, next uint64) string {
	switch r, ok := decodeRecord(w.data, pos); {
	case w.unreadable != nil:
		return "the medium cannot be read: " + w.unreadable.Error()
	case ok && r.seq != next:
		return "another record stands in its place: records were removed or reordered"
	case ok:
		return "the record belongs to another group"
	case pos >= len(w.data) || allZero(w.data[pos:]):
		return "the segment ends too early: records or a whole segment are missing"
	}
	return "the record's checksum is wrong"
}

// torn notes what lies behind the last good group.
func (w *walk) torn(pos int, seq uint64) {
	used := lastUsed(w.data[min(pos, len(w.data)):])
	if used == 0 {
		return
	}
	w.tail = Tail{Segment: w.name, Offset: int64(pos), Bytes: int64(used), Seq: seq, Altered: w.altered(pos, seq)}
}

// altered reports that the group at pos is all there: a power cut loses
// whole sectors, and a lost sector of a new group reads as zeros.
func (w *walk) altered(pos int, seq uint64) bool {
	const sector = 512
	end := pos
	for done := false; !done; {
		r, ok := frame(w.data, end)
		if !ok || r.group() != seq {
			return false
		}
		end += r.size
		done = r.end
	}
	for at := pos; at < end; at = (at/sector + 1) * sector {
		if allZero(w.data[at:min(end, (at/sector+1)*sector)]) {
			return false
		}
	}
	return true
}

// walkFile reads the segment s, walks it up to limit and returns the walk,
// which is nil only with an error. before is the walk of the segment before
// it, or nil. A wrong header is damage that loses nothing by itself.
func walkFile(fs disk.FS, dir string, s segment, limit uint64, before *walk,
	record func(seq uint64, payload []byte, h Hash) error, damage func(*DamageError) error) (*walk, error) {
	data, unreadable, err := readFile(fs, path.Join(dir, s.name), maxSegmentRead)
	if err != nil {
		return nil, fmt.Errorf("reading journal: %w", err)
	}
	w := &walk{name: s.name, data: data, unreadable: unreadable, limit: limit, record: record, damage: damage}
	w.head, err = decodeHeader(data, s.first)
	reason := ""
	switch {
	case err != nil:
		w.head = header{first: s.first, flags: flagUnchained}
		reason = err.Error()
	case before != nil && before.chained && w.head.flags&flagUnchained == 0 && before.hash != w.head.prev:
		reason = "the hash chain does not fit the segment before: one of the two was exchanged"
	}
	if reason != "" {
		d := &DamageError{Segment: s.name, Seq: s.first, Next: s.first, Reason: reason, Err: unreadable}
		if err := damage(d); err != nil {
			return w, err
		}
	}
	return w, w.run()
}
