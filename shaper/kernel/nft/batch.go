package nft

import (
	"errors"
	"fmt"
)

const (
	familyInet = 1

	subsysCT  = 1
	subsysNFT = 10

	msgBatchBegin = 0x10
	msgBatchEnd   = 0x11

	msgNewTable   = 0
	msgGetTable   = 1
	msgDelTable   = 2
	msgNewChain   = 3
	msgDelChain   = 5
	msgNewRule    = 6
	msgDelRule    = 8
	msgNewSet     = 9
	msgGetSet     = 10
	msgDelSet     = 11
	msgNewSetElem = 12
	msgGetSetElem = 13
	msgDelSetElem = 14
	msgNewGen     = 15
	msgGetGen     = 16
	msgNewObj     = 18
	msgGetObj     = 19
	msgDelObj     = 20

	flagRequest = 0x1
	flagAck     = 0x4
	flagIntr    = 0x10 // NLM_F_DUMP_INTR
	flagDump    = 0x300
	flagExcl    = 0x200
	flagCreate  = 0x400
	flagAppend  = 0x800

	setInterval = 0x4
	setMap      = 0x8
	setTimeout  = 0x10
	setEval     = 0x20
	setObject   = 0x40
	setConcat   = 0x80

	elemIntervalEnd = 0x1

	ctGet       = 1
	ctDelete    = 2
	ctaMark     = 8
	ctaMarkMask = 21

	quotaInv      = 0x1
	quotaDepleted = 0x2

	maxName    = 255 // NFT_NAME_MAXLEN with its zero
	maxComment = 128 // what nft itself accepts
)

// A Batch collects changes that [Conn.Commit] makes together or not at all.
// The zero value is an empty batch. An error in an argument (a name too long,
// a key of the wrong length) is returned by Commit. Not safe for concurrent
// use. A batch can be committed more than once.
type Batch struct {
	buf  buffer
	ops  []op
	sets uint32
}

// An op says what the message at an offset of the buffer does.
type op struct {
	off         int
	what        string
	table, name string
	first       int // of the elements in it, as the caller counts; -1 if none
}

func (o op) String() string {
	if o.name == "" {
		return o.what + " " + o.table
	}
	return o.what + " " + o.table + " " + o.name
}

// Len is the number of messages in the batch.
func (b *Batch) Len() int { return len(b.ops) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.buf.b, b.buf.err = b.buf.b[:0], nil
	b.ops, b.sets = b.ops[:0], 0
}

// add writes one message.
func (b *Batch) add(what, table, name string, typ, flags uint16, body func(w *buffer)) {
	for _, n := range []string{table, name} {
		if len(n) > maxName {
			b.buf.fail(fmt.Errorf("encoding %s: name of %d bytes is longer than %d", what, len(n), maxName))
			return
		}
	}
	if table == "" {
		b.buf.fail(fmt.Errorf("encoding %s %s: no table", what, name))
		return
	}
	start := b.buf.message(subsysNFT<<8|typ, flagRequest|flags, familyInet, 0)
	body(&b.buf)
	b.buf.endMessage(start)
	b.ops = append(b.ops, op{off: start, what: what, table: table, name: name, first: -1})
}

// AddTable adds a table; one that exists gets the flags. With [Owner], the
// Conn that commits becomes the owner; committing it again does no harm.
func (b *Batch) AddTable(t Table) {
	b.add("add table", t.Name, "", msgNewTable, flagCreate, func(w *buffer) {
		w.str(1, t.Name)
		w.put32(2, uint32(t.Flags))
	})
}

// DelTable deletes a table with everything in it. ENOENT if there is none: to
// begin anew, add it first.
func (b *Batch) DelTable(name string) {
	b.add("delete table", name, "", msgDelTable, 0, func(w *buffer) { w.str(1, name) })
}

// AddChain adds a chain, or sets the policy of the same base chain that exists.
func (b *Batch) AddChain(c Chain) {
	b.add("add chain", c.Table, c.Name, msgNewChain, flagCreate, func(w *buffer) {
		w.str(1, c.Table)
		w.str(3, c.Name)
		if c.Type == "" {
			return
		}
		hook := w.nest(4)
		w.put32(1, uint32(c.Hook))
		w.put32(2, uint32(c.Priority))
		w.end(hook)
		w.put32(5, uint32(c.Policy))
		w.str(7, string(c.Type))
	})
}

// DelChain deletes a chain that no rule jumps to, with its rules.
func (b *Batch) DelChain(table, chain string) {
	b.add("delete chain", table, chain, msgDelChain, 0, func(w *buffer) {
		w.str(1, table)
		w.str(3, chain)
	})
}

// AddRule appends a rule to a chain. The comment (up to 128 bytes) may be
// empty. Adding a rule again makes another one: flush the chain first.
func (b *Batch) AddRule(table, chain, comment string, exprs ...Expr) {
	if len(comment) > maxComment {
		b.buf.fail(fmt.Errorf("encoding rule of %s %s: comment of %d bytes is longer than %d",
			table, chain, len(comment), maxComment))
		return
	}
	b.add("add rule to", table, chain, msgNewRule, flagCreate|flagAppend, func(w *buffer) {
		w.str(1, table)
		w.str(2, chain)
		list := w.nest(4)
		for _, e := range exprs {
			if e.err != nil {
				w.fail(fmt.Errorf("encoding rule of %s %s: %w", table, chain, e.err))
			}
			w.b = append(w.b, e.b...)
		}
		w.end(list)
		if comment != "" {
			// libnftnl's user data: type 0 (comment), length, string.
			w.attr(7, string([]byte{0, byte(len(comment) + 1)}), comment, "\x00")
		}
	})
}

// FlushChain deletes the rules of a chain.
func (b *Batch) FlushChain(table, chain string) {
	b.add("flush chain", table, chain, msgDelRule, 0, func(w *buffer) {
		w.str(1, table)
		w.str(2, chain)
	})
}

// AddSet adds a set, map or object map. One that exists must be the same, or
// the batch fails with EEXIST or EOPNOTSUPP (older kernels do not compare).
func (b *Batch) AddSet(s *Set) {
	if err := s.check(); err != nil {
		b.buf.fail(fmt.Errorf("encoding set %s %s: %w", s.Table, s.Name, err))
		return
	}
	b.sets++
	id := b.sets
	b.add("add set", s.Table, s.Name, msgNewSet, flagCreate, func(w *buffer) {
		w.str(1, s.Table)
		w.str(2, s.Name)
		w.put32(3, s.flags())
		w.put32(4, s.keyType())
		w.put32(5, uint32(s.KeyLen()))
		if s.Data != 0 {
			w.put32(6, uint32(s.Data))
			w.put32(7, uint32(s.Data.Len()))
		}
		if s.Object != 0 {
			w.put32(15, uint32(s.Object))
		}
		w.put32(10, id)
		if s.Timeout > 0 {
			w.put64(11, milliseconds(s.Timeout))
		}
		if s.Size > 0 || s.Interval && s.concat() {
			desc := w.nest(9)
			if s.Size > 0 {
				w.put32(1, s.Size)
			}
			if s.Interval && s.concat() {
				fields := w.nest(2)
				for _, t := range s.Key {
					field := w.nest(1)
					w.put32(1, uint32(t.Len()))
					w.end(field)
				}
				w.end(fields)
			}
			w.end(desc)
		}
		w.bytes(13, s.userData())
	})
}

func (s *Set) check() error {
	if len(s.Key) == 0 || len(s.Key) > 5 {
		return fmt.Errorf("%d key types, want 1 to 5", len(s.Key))
	}
	for _, t := range s.Key {
		if t.Len() == 0 {
			return fmt.Errorf("unknown key type %d", t)
		}
	}
	if s.Data != 0 && s.Data.Len() == 0 {
		return fmt.Errorf("unknown data type %d", s.Data)
	}
	if s.Data != 0 && s.Object != 0 {
		return errors.New("both data and object")
	}
	if s.Interval && !s.concat() && s.Key[0].hostOrder() {
		return errors.New("ranges of a key in host order")
	}
	return nil
}

func (s *Set) flags() uint32 {
	var f uint32
	if s.Interval {
		f |= setInterval
		if s.concat() {
			f |= setConcat
		}
	}
	if s.Data != 0 {
		f |= setMap
	}
	if s.Object != 0 {
		f |= setObject
	}
	if s.Timeouts || s.Timeout > 0 {
		f |= setTimeout
	}
	if s.Dynamic {
		f |= setEval
	}
	return f
}

// keyType packs the types of a concatenation six bits each, first on top.
func (s *Set) keyType() uint32 {
	var k uint32
	for _, t := range s.Key {
		k = k<<6 | uint32(t)
	}
	return k
}

// userData tells nft the byte order of key and data (libnftnl's types 0 and 1;
// 1 host, 2 big-endian, 0 mixed), in host order itself.
func (s *Set) userData() []byte {
	order := func(host bool) []byte {
		if host {
			return Host32(1)
		}
		return Host32(2)
	}
	key := Host32(0)
	if !s.concat() {
		key = order(s.Key[0].hostOrder())
	}
	u := append([]byte{0, 4}, key...)
	if s.Data != 0 {
		u = append(append(u, 1, 4), order(s.Data.hostOrder())...)
	}
	return u
}

// DelSet deletes a set that no rule uses.
func (b *Batch) DelSet(table, name string) {
	b.add("delete set", table, name, msgDelSet, 0, func(w *buffer) {
		w.str(1, table)
		w.str(2, name)
	})
}

// FlushSet deletes all elements of a set.
func (b *Batch) FlushSet(table, name string) {
	b.add("flush set", table, name, msgDelSetElem, 0, func(w *buffer) {
		w.str(1, table)
		w.str(2, name)
	})
}

// AddQuota adds a quota object with a limit and what is consumed of it
// already (at most the limit), in bytes. With over it matches packets beyond the limit. EEXIST if
// the name is taken: a quota is never changed in place, because a depleted one
// counts what it matches.
func (b *Batch) AddQuota(table, name string, limit, consumed uint64, over bool) {
	if consumed > limit {
		b.buf.fail(fmt.Errorf("encoding quota %s %s: %d bytes consumed of %d", table, name, consumed, limit))
		return
	}
	b.object("add quota", table, name, ObjQuota, func(w *buffer) {
		var flags uint32
		if over {
			flags = quotaInv
		}
		w.put64(1, limit)
		w.put32(2, flags)
		w.put64(4, consumed)
	})
}

// AddLimit adds a byte-rate limit object. EEXIST if the name is taken.
func (b *Batch) AddLimit(table string, l Limit) {
	b.object("add limit", table, l.Name, ObjLimit, func(w *buffer) {
		w.limit(l.Rate, l.Burst, limitBytes, l.Over)
	})
}

// AddCounter adds a counter object. EEXIST if the name is taken.
func (b *Batch) AddCounter(table, name string) {
	b.object("add counter", table, name, ObjCounter, func(*buffer) {})
}

func (b *Batch) object(what, table, name string, typ ObjectType, data func(w *buffer)) {
	b.add(what, table, name, msgNewObj, flagCreate|flagExcl, func(w *buffer) {
		w.str(1, table)
		w.str(2, name)
		w.put32(3, uint32(typ))
		start := w.nest(4)
		data(w)
		w.end(start)
	})
}

// DelQuota deletes a quota object that no rule and no element refers to.
func (b *Batch) DelQuota(table, name string) { b.DelObject(table, name, ObjQuota) }

// DelLimit deletes a limit object that no rule and no element refers to.
func (b *Batch) DelLimit(table, name string) { b.DelObject(table, name, ObjLimit) }

// DelObject deletes an object: ENOENT if missing, EBUSY if referred to. A
// batch works in order, so delete the elements first.
func (b *Batch) DelObject(table, name string, typ ObjectType) {
	b.add("delete object", table, name, msgDelObj, 0, func(w *buffer) {
		w.str(1, table)
		w.str(2, name)
		w.put32(3, uint32(typ))
	})
}

// A Failure is one message that the kernel refused.
type Failure struct {
	// Index is the message's place in the batch, -1 for the batch as a whole.
	Index int
	// Op says what the message does: "add rule to zonegate gate".
	Op string
	// Err is the kernel's error number.
	Err error
	// Message is the kernel's own explanation, often empty.
	Message string
	// Element is the place of the refused element among those of the call, -1
	// if not known (the kernel does not always say).
	Element int
}

func (f Failure) Error() string {
	s := f.Op + ": " + f.Err.Error()
	if f.Element >= 0 {
		s = fmt.Sprintf("%s (element %d)", s, f.Element)
	}
	if f.Message != "" {
		s += " (" + f.Message + ")"
	}
	return s
}

func (f Failure) Unwrap() error { return f.Err }

// A BatchError says why a batch was not applied. Nothing of it was.
// errors.Is finds the error number of every failure.
type BatchError struct {
	Failures []Failure // in the order of the batch, at least one
}

func (e *BatchError) Error() string {
	s := "committing nftables batch: " + e.Failures[0].Error()
	if n := len(e.Failures); n > 1 {
		s = fmt.Sprintf("%s, and %d more", s, n-1)
	}
	return s
}

func (e *BatchError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f
	}
	return errs
}
