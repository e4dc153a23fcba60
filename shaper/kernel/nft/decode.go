package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"syscall"
	"time"
)

// errInterrupted is NLM_F_DUMP_INTR: the ruleset changed during the dump.
var errInterrupted = errors.New("dump interrupted by a change")

// An answer is the content of an NLMSG_ERROR or NLMSG_DONE.
type answer struct {
	errno  int // positive, 0 is success
	text   string
	offset int // of the refused attribute from the message's beginning, 0 if not known
}

func (a answer) wrap() error {
	if a.text == "" {
		return syscall.Errno(a.errno)
	}
	return fmt.Errorf("%w (%s)", syscall.Errno(a.errno), a.text)
}

const (
	// maxDatagram is beyond the largest that the kernel sends (32 KB dumps).
	maxDatagram = 64 << 10

	nlError = 2
	nlDone  = 3

	flagCapped  = 0x100 // NLM_F_CAPPED: only the header of our message is repeated
	flagAckTLVs = 0x200 // NLM_F_ACK_TLVS
)

func parseError(m message) (answer, error) {
	d := m.data
	if len(d) < 4 {
		if m.typ == nlDone {
			return answer{}, nil
		}
		return answer{}, fmt.Errorf("%w: answer of %d bytes", errMalformed, len(d))
	}
	a := answer{errno: -int(int32(binary.NativeEndian.Uint32(d)))}
	d = d[4:]
	if m.flags&flagAckTLVs == 0 {
		return a, nil
	}
	if m.typ == nlError {
		skip := nlHeaderLen
		if len(d) >= nlHeaderLen && m.flags&flagCapped == 0 {
			if n := binary.NativeEndian.Uint32(d); n < maxDatagram {
				skip = align4(int(n))
			}
		}
		if len(d) < skip {
			return a, nil
		}
		d = d[skip:]
	}
	// The explanation is a courtesy: what is malformed in it is left out.
	_ = attrs(d, func(typ uint16, v []byte) error {
		switch typ {
		case 1:
			a.text = getString(v)
		case 2:
			if len(v) >= 4 {
				a.offset = int(binary.NativeEndian.Uint32(v))
			}
		}
		return nil
	})
	return a, nil
}

// body returns the address family and the attributes of a message.
func (m message) body() (family uint8, a []byte, err error) {
	if len(m.data) < nfHeaderLen {
		return 0, nil, fmt.Errorf("%w: body of %d bytes", errMalformed, len(m.data))
	}
	return m.data[0], m.data[nfHeaderLen:], nil
}

func decodeTable(m message) (TableInfo, error) {
	family, a, err := m.body()
	if err != nil {
		return TableInfo{}, err
	}
	t := TableInfo{Family: family}
	err = attrs(a, func(typ uint16, v []byte) error {
		switch typ {
		case 1:
			t.Name = getString(v)
		case 2:
			return get32(v, (*uint32)(&t.Flags))
		case 7:
			return get32(v, &t.Port)
		}
		return nil
	})
	return t, err
}

// decodeQuota reads an object. ok is false if it is not a quota.
func decodeQuota(m message) (table string, q Quota, ok bool, err error) {
	_, a, err := m.body()
	if err != nil {
		return "", q, false, err
	}
	var (
		kind uint32
		data []byte
	)
	err = attrs(a, func(typ uint16, v []byte) error {
		switch typ {
		case 1:
			table = getString(v)
		case 2:
			q.Name = getString(v)
		case 3:
			return get32(v, &kind)
		case 4:
			data = v
		}
		return nil
	})
	if err != nil || ObjectType(kind) != ObjQuota {
		return table, q, false, err
	}
	err = attrs(data, func(typ uint16, v []byte) error {
		switch typ {
		case 1:
			return get64(v, &q.Bytes)
		case 2:
			var flags uint32
			err := get32(v, &flags)
			q.Over = flags&quotaInv != 0
			q.Depleted = flags&quotaDepleted != 0
			return err
		case 4:
			return get64(v, &q.Consumed)
		}
		return nil
	})
	return table, q, err == nil, err
}

// decodeSetFlags reads a set's flags.
func decodeSetFlags(m message) (flags uint32, err error) {
	_, a, err := m.body()
	if err != nil {
		return 0, err
	}
	err = attrs(a, func(typ uint16, v []byte) error {
		if typ == 3 {
			return get32(v, &flags)
		}
		return nil
	})
	return flags, err
}

// An entry is a listed element: in a set of ranges it may be the key after one.
type entry struct {
	Element
	end bool
}

// decodeElements appends the elements of one message.
func decodeElements(m message, to []entry) ([]entry, error) {
	_, a, err := m.body()
	if err != nil {
		return to, err
	}
	err = attrs(a, func(typ uint16, list []byte) error {
		if typ != 3 {
			return nil
		}
		return attrs(list, func(typ uint16, elem []byte) error {
			if typ != 1 {
				return nil
			}
			e, err := decodeElement(elem)
			to = append(to, e)
			return err
		})
	})
	return to, err
}

func decodeElement(elem []byte) (entry, error) {
	var e entry
	err := attrs(elem, func(typ uint16, v []byte) error {
		switch typ {
		case 1:
			return decodeValue(v, &e.Key)
		case 2:
			return decodeValue(v, &e.Data)
		case 3:
			var flags uint32
			err := get32(v, &flags)
			e.end = flags&elemIntervalEnd != 0
			return err
		case 4:
			return getMilliseconds(v, &e.Timeout)
		case 5:
			return getMilliseconds(v, &e.Expires)
		case 9:
			e.Object = getString(v)
		case 10:
			return decodeValue(v, &e.KeyEnd)
		}
		return nil
	})
	return e, err
}

// decodeValue copies a plain value out of the receive buffer. A verdict, which
// this package does not put into maps, leaves it empty.
func decodeValue(v []byte, to *[]byte) error {
	return attrs(v, func(typ uint16, v []byte) error {
		if typ == 1 {
			*to = bytes.Clone(v)
		}
		return nil
	})
}

func getMilliseconds(v []byte, to *time.Duration) error {
	var ms uint64
	if err := get64(v, &ms); err != nil {
		return err
	}
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	*to = time.Duration(min(ms, most)) * time.Millisecond
	return nil
}

// joinEntries makes elements of what was listed of a set with these flags.
func joinEntries(list []entry, flags uint32) []Element {
	elems := make([]Element, 0, len(list))
	if flags&setInterval == 0 || flags&setConcat != 0 {
		for _, e := range list {
			if bytes.Equal(e.Key, e.KeyEnd) {
				e.KeyEnd = nil
			}
			elems = append(elems, e.Element)
		}
		if flags&setInterval != 0 {
			sort.Slice(elems, func(i, j int) bool { return bytes.Compare(elems[i].Key, elems[j].Key) < 0 })
		}
		return elems
	}
	// A range is listed as its first key and the first key after it. Where two
	// ranges touch, the end of one comes before the beginning of the other.
	sort.Slice(list, func(i, j int) bool {
		if c := bytes.Compare(list[i].Key, list[j].Key); c != 0 {
			return c < 0
		}
		return list[i].end && !list[j].end
	})
	for i, e := range list {
		if e.end {
			continue
		}
		last := bytes.Repeat([]byte{0xff}, len(e.Key))
		if i+1 < len(list) {
			last = before(list[i+1].Key)
		}
		if !bytes.Equal(last, e.Key) {
			e.KeyEnd = last
		}
		elems = append(elems, e.Element)
	}
	return elems
}

// elementAt finds which of the elements passed to AddElements or DelElements
// lies at an offset of message i, -1 if none.
func (b *Batch) elementAt(i, offset int) int {
	if offset <= 0 || b.ops[i].first < 0 {
		return -1
	}
	msg := b.buf.b[b.ops[i].off:]
	msg = msg[:binary.NativeEndian.Uint32(msg)]
	pos, at, n := nlHeaderLen+nfHeaderLen, -1, b.ops[i].first
	_ = attrs(msg[pos:], func(typ uint16, v []byte) error {
		inner := pos + 4
		pos = inner + align4(len(v))
		if typ != 3 {
			return nil
		}
		return attrs(v, func(_ uint16, v []byte) error {
			if offset >= inner && offset < inner+4+align4(len(v)) {
				at = n
			}
			inner += 4 + align4(len(v))
			n++
			return nil
		})
	})
	return at
}

func decodeGeneration(m message) (gen uint32, err error) {
	_, a, err := m.body()
	if err != nil {
		return 0, err
	}
	err = attrs(a, func(typ uint16, v []byte) error {
		if typ == 1 {
			return get32(v, &gen)
		}
		return nil
	})
	return gen, err
}

// decodeMark reads the mark of a conntrack entry, 0 if it has none.
func decodeMark(m message) (mark uint32, err error) {
	_, a, err := m.body()
	if err != nil {
		return 0, err
	}
	err = attrs(a, func(typ uint16, v []byte) error {
		if typ == ctaMark {
			return get32(v, &mark)
		}
		return nil
	})
	return mark, err
}

// An EventKind says what happened.
type EventKind int

const (
	// TableAdded: Table was added or its flags changed.
	TableAdded EventKind = iota + 1
	// TableDeleted: Table is gone.
	TableDeleted
	// QuotaDepleted: packets have used up Quota, in Table. Sent once per
	// object, and not for one that was added with nothing left. The kernel does
	// not say of which family the table is.
	QuotaDepleted
	// Generation: a batch was committed by anybody.
	Generation
	// Overrun: events were lost. Read the tables again.
	Overrun
)

// An Event is a change in the namespace's nftables.
type Event struct {
	Kind   EventKind
	Table  string // TableAdded, TableDeleted, QuotaDepleted
	Family uint8  // of the table: TableAdded, TableDeleted
	Quota  Quota  // QuotaDepleted
	// Port is the netlink port of who did it (see Conn.Port), 0 for the kernel.
	Port uint32
	// Process is the name of who did it: Generation.
	Process string
}

// decodeEvent reads a notification. ok is false if it is of no interest.
func decodeEvent(m message) (e Event, ok bool, err error) {
	e.Port = m.port
	switch m.typ {
	case subsysNFT<<8 | msgNewTable, subsysNFT<<8 | msgDelTable:
		t, err := decodeTable(m)
		e.Kind, e.Table, e.Family = TableAdded, t.Name, t.Family
		if m.typ == subsysNFT<<8|msgDelTable {
			e.Kind = TableDeleted
		}
		return e, err == nil, err
	case subsysNFT<<8 | msgNewObj:
		// Also sent when somebody adds an object. The packet path has no port.
		table, q, ok, err := decodeQuota(m)
		e.Kind, e.Table, e.Quota = QuotaDepleted, table, q
		return e, ok && q.Depleted && m.port == 0, err
	case subsysNFT<<8 | msgNewGen:
		e.Kind = Generation
		_, a, err := m.body()
		if err == nil {
			err = attrs(a, func(typ uint16, v []byte) error {
				if typ == 3 {
					e.Process = getString(v)
				}
				return nil
			})
		}
		return e, err == nil, err
	}
	return e, false, nil
}
