package nft

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The TestEncode tests need no kernel: they also run under qemu-user for
// machines of either byte order.

// wireBytes makes bytes of a list of fields: "h2:" and "h4:" numbers are in host
// order, "s:" is text, the rest is hexadecimal as on the wire.
func wireBytes(t *testing.T, fields string) []byte {
	t.Helper()
	var b []byte
	for f := range strings.FieldsSeq(fields) {
		kind, value, ok := strings.Cut(f, ":")
		if ok && kind == "s" {
			b = append(b, value...)
			continue
		}
		if !ok {
			value = f
		}
		v, err := hex.DecodeString(value)
		if err != nil {
			t.Fatalf("field %q: %v", f, err)
		}
		switch {
		case !ok:
			b = append(b, v...)
		case kind == "h2":
			b = binary.NativeEndian.AppendUint16(b, binary.BigEndian.Uint16(v))
		case kind == "h4":
			b = binary.NativeEndian.AppendUint32(b, binary.BigEndian.Uint32(v))
		default:
			t.Fatalf("field %q", f)
		}
	}
	return b
}

func compare(t *testing.T, name string, got []byte, fields string) {
	t.Helper()
	if want := wireBytes(t, fields); !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot  %x\nwant %x", name, got, want)
	}
}

func TestEncodeMessages(t *testing.T) {
	set := &Set{Table: "t", Name: "m", Key: []DataType{TypeMark}, Data: TypeClassID, Timeout: time.Second}
	objects := &Set{Table: "t", Name: "o", Key: []DataType{TypeEther}, Object: ObjQuota}
	nets := &Set{Table: "t", Name: "n", Key: []DataType{TypeIPv4}, Interval: true}
	for _, tc := range []struct {
		name string
		make func(b *Batch)
		want string
	}{{
		"table", func(b *Batch) { b.AddTable(Table{Name: "t", Flags: Owner | Persist}) },
		`h4:00000024 h2:0a00 h2:0401 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0008 h2:0002 00000006`,
	}, {
		"base chain", func(b *Batch) {
			b.AddChain(Chain{Table: "t", Name: "c", Type: Filter, Hook: Forward, Priority: -10, Policy: PolicyAccept})
		},
		`h4:0000004c h2:0a03 h2:0401 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0003 s:c 00 0000
		 h2:0014 h2:8004 h2:0008 h2:0001 00000002 h2:0008 h2:0002 fffffff6
		 h2:0008 h2:0005 00000001
		 h2:000b h2:0007 s:filter 00 00`,
	}, {
		"map", func(b *Batch) { b.AddSet(set) },
		`h4:00000070 h2:0a09 h2:0401 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:m 00 0000
		 h2:0008 h2:0003 00000018
		 h2:0008 h2:0004 00000013
		 h2:0008 h2:0005 00000004
		 h2:0008 h2:0006 00000017
		 h2:0008 h2:0007 00000004
		 h2:0008 h2:000a 00000001
		 h2:000c h2:000b 00000000000003e8
		 h2:0010 h2:000d 00 04 h4:00000001 01 04 h4:00000001`,
	}, {
		"map element", func(b *Batch) {
			b.AddElements(set, Element{Key: Host32(0x01020304), Data: Host32(0x00010258), Timeout: time.Microsecond})
		},
		`h4:00000050 h2:0a0c h2:0401 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:m 00 0000
		 h2:002c h2:8003
		   h2:0028 h2:8001
		     h2:000c h2:8001 h2:0008 h2:0001 h4:01020304
		     h2:000c h2:8002 h2:0008 h2:0001 h4:00010258
		     h2:000c h2:0004 0000000000000001`,
	}, {
		"object map element", func(b *Batch) {
			b.AddElements(objects, Element{Key: HW([6]byte{2, 0, 0, 0xa, 0xb, 0xc}), Object: "q"})
		},
		`h4:00000044 h2:0a0c h2:0401 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:o 00 0000
		 h2:0020 h2:8003
		   h2:001c h2:8001
		     h2:0010 h2:8001 h2:000a h2:0001 0200000a0b0c 0000
		     h2:0006 h2:0009 s:q 00 0000`,
	}, {
		"range", func(b *Batch) {
			b.DelElements(nets, Element{Key: []byte{10, 0, 0, 0}, KeyEnd: []byte{10, 255, 255, 255}})
		},
		`h4:00000050 h2:0a0e h2:0001 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:n 00 0000
		 h2:002c h2:8003
		   h2:0010 h2:8001 h2:000c h2:8001 h2:0008 h2:0001 0a000000
		   h2:0018 h2:8001 h2:000c h2:8001 h2:0008 h2:0001 0b000000 h2:0008 h2:0003 00000001`,
	}, {
		"quota", func(b *Batch) { b.AddQuota("t", "q", 0x1122334455667788, 0x0102030405060708, true) },
		`h4:00000050 h2:0a12 h2:0601 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:q 00 0000
		 h2:0008 h2:0003 00000002
		 h2:0024 h2:8004
		   h2:000c h2:0001 1122334455667788
		   h2:0008 h2:0002 00000001
		   h2:000c h2:0004 0102030405060708`,
	}, {
		"limit", func(b *Batch) { b.AddLimit("t", Limit{Name: "l", Rate: 125000, Burst: 16000, Over: true}) },
		`h4:00000060 h2:0a12 h2:0601 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:l 00 0000
		 h2:0008 h2:0003 00000004
		 h2:0034 h2:8004
		   h2:000c h2:0001 000000000001e848
		   h2:000c h2:0002 0000000000000001
		   h2:0008 h2:0003 00003e80
		   h2:0008 h2:0004 00000001
		   h2:0008 h2:0005 00000001`,
	}, {
		"rule", func(b *Batch) { b.AddRule("t", "c", "hi", Masquerade()) },
		`h4:00000048 h2:0a06 h2:0c01 h4:00000000 h4:00000000 01 00 0000
		 h2:0006 h2:0001 s:t 00 0000
		 h2:0006 h2:0002 s:c 00 0000
		 h2:0018 h2:8004 h2:0014 h2:8001 h2:0009 h2:0001 s:masq 00 000000 h2:0004 h2:8002
		 h2:0009 h2:0007 00 03 s:hi 00 000000`,
	}} {
		var b Batch
		tc.make(&b)
		if b.buf.err != nil || b.Len() != 1 {
			t.Errorf("%s: %d messages, %v", tc.name, b.Len(), b.buf.err)
			continue
		}
		compare(t, tc.name, b.buf.b, tc.want)
	}
}

func TestEncodeSetTypes(t *testing.T) {
	for _, tc := range []struct {
		set      Set
		flags    uint32
		key, len uint32
		user     string
	}{
		{Set{Key: []DataType{TypeMark}, Object: ObjQuota, Timeouts: true}, 0x50, 19, 4, "0004 h4:00000001"},
		{Set{Key: []DataType{TypeEther}, Data: TypeMark}, 0x08, 9, 6, "0004 h4:00000002 0104 h4:00000001"},
		{Set{Key: []DataType{TypeIPv6}, Interval: true}, 0x04, 8, 16, "0004 h4:00000002"},
		{Set{Key: []DataType{TypeEther, TypeIPv4}}, 0, 9<<6 | 7, 12, "0004 h4:00000000"},
		{Set{Key: []DataType{TypeProto, TypePort}, Interval: true, Dynamic: true}, 0xa4, 12<<6 | 13, 8, "0004 h4:00000000"},
	} {
		if tc.set.flags() != tc.flags || tc.set.keyType() != tc.key || tc.set.KeyLen() != int(tc.len) {
			t.Errorf("%v: flags %#x, type %d, length %d", tc.set.Key, tc.set.flags(), tc.set.keyType(), tc.set.KeyLen())
		}
		compare(t, "user data", tc.set.userData(), tc.user)
	}
}

func TestEncodeExpressions(t *testing.T) {
	load := func(key string) string {
		return `h2:0024 h2:8001 h2:0009 h2:0001 s:meta 00 000000 h2:0014 h2:8002 h2:0008 h2:0002 ` + key + ` h2:0008 h2:0001 00000001 `
	}
	ctLoad := func(key string) string {
		return `h2:0020 h2:8001 h2:0007 h2:0001 s:ct 00 00 h2:0014 h2:8002 h2:0008 h2:0002 ` + key + ` h2:0008 h2:0001 00000001 `
	}
	cmp4 := func(op, data string) string {
		return `h2:002c h2:8001 h2:0008 h2:0001 s:cmp 00 h2:0020 h2:8002 h2:0008 h2:0001 00000001 h2:0008 h2:0002 ` + op +
			` h2:000c h2:8003 h2:0008 h2:0001 ` + data + ` `
	}
	for _, tc := range []struct {
		name string
		expr Expr
		want string
	}{
		{"meta mark", MetaMarkIs(0x01020304), load("00000003") + cmp4("00000000", "h4:01020304")},
		{"ct mark", CTMarkIsNot(0x01020304), ctLoad("00000003") + cmp4("00000001", "h4:01020304")},
		{"ip daddr", Daddr(netip.MustParsePrefix("192.0.2.1/32")), load("0000000f") +
			// One byte is padded in its attribute, not in its length.
			`h2:002c h2:8001 h2:0008 h2:0001 s:cmp 00 h2:0020 h2:8002 h2:0008 h2:0001 00000001 h2:0008 h2:0002 00000000
			   h2:000c h2:8003 h2:0005 h2:0001 02 000000
			 h2:0034 h2:8001 h2:000c h2:0001 s:payload 00 h2:0024 h2:8002
			   h2:0008 h2:0001 00000001 h2:0008 h2:0002 00000001 h2:0008 h2:0003 00000010 h2:0008 h2:0004 00000004 ` +
			cmp4("00000000", "c0000201")},
		{"ct state", CTState(StateEstablished | StateRelated), ctLoad("00000000") +
			`h2:0044 h2:8001 h2:000c h2:0001 s:bitwise 00 h2:0034 h2:8002
			   h2:0008 h2:0001 00000001 h2:0008 h2:0002 00000001 h2:0008 h2:0003 00000004
			   h2:000c h2:8004 h2:0008 h2:0001 h4:00000006
			   h2:000c h2:8005 h2:0008 h2:0001 h4:00000000 ` +
			cmp4("00000001", "h4:00000000")},
		{"lookup", LookupNot("s", R1),
			`h2:002c h2:8001 h2:000b h2:0001 s:lookup 00 00 h2:001c h2:8002
			   h2:0006 h2:0001 s:s 00 0000 h2:0008 h2:0002 00000001 h2:0008 h2:0005 00000001`},
		{"map", Map("s", R1, R2),
			`h2:002c h2:8001 h2:000b h2:0001 s:lookup 00 00 h2:001c h2:8002
			   h2:0006 h2:0001 s:s 00 0000 h2:0008 h2:0002 00000001 h2:0008 h2:0003 00000002`},
		{"object map", ObjectMap("s", R1),
			`h2:0024 h2:8001 h2:000b h2:0001 s:objref 00 00 h2:0014 h2:8002
			   h2:0008 h2:0003 00000001 h2:0006 h2:0004 s:s 00 0000`},
		{"jump", Jump("c"),
			`h2:0038 h2:8001 h2:000e h2:0001 s:immediate 00 0000 h2:0024 h2:8002
			   h2:0008 h2:0001 00000000
			   h2:0018 h2:8002 h2:0014 h2:8002 h2:0008 h2:0001 fffffffd h2:0006 h2:0002 s:c 00 0000`},
		{"reject", Reject(AdminProhibited),
			`h2:0024 h2:8001 h2:000b h2:0001 s:reject 00 00 h2:0014 h2:8002
			   h2:0008 h2:0001 00000002 h2:0005 h2:0002 03 000000`},
		{"iiftype", LoadEtherSaddr(R2), load("00000008") +
			`h2:002c h2:8001 h2:0008 h2:0001 s:cmp 00 h2:0020 h2:8002 h2:0008 h2:0001 00000001 h2:0008 h2:0002 00000000
			   h2:000c h2:8003 h2:0006 h2:0001 h2:0001 0000
			 h2:0034 h2:8001 h2:000c h2:0001 s:payload 00 h2:0024 h2:8002
			   h2:0008 h2:0001 00000002 h2:0008 h2:0002 00000000 h2:0008 h2:0003 00000006 h2:0008 h2:0004 00000006`},
	} {
		if tc.expr.err != nil {
			t.Errorf("%s: %v", tc.name, tc.expr.err)
			continue
		}
		compare(t, tc.name, tc.expr.b, tc.want)
	}
}

// A list of elements is split where a 16-bit length ends, and comes back whole.
func TestEncodeSplitsElements(t *testing.T) {
	set := &Set{Table: "t", Name: "m", Key: []DataType{TypeMark}, Timeouts: true}
	var elems []Element
	for i := range 10_000 {
		elems = append(elems, Element{Key: Host32(uint32(i)), Timeout: time.Duration(i+1) * time.Millisecond})
	}
	var b Batch
	b.AddElements(set, elems...)
	if b.buf.err != nil || b.Len() < 4 {
		t.Fatalf("%d messages, %v", b.Len(), b.buf.err)
	}
	var list []entry
	n := 0
	for m, err := range messages(b.buf.b) {
		if err != nil {
			t.Fatal(err)
		}
		if b.ops[n].first != len(list) {
			t.Errorf("message %d begins at element %d, want %d", n, b.ops[n].first, len(list))
		}
		n++
		if list, err = decodeElements(m, list); err != nil {
			t.Fatal(err)
		}
	}
	if n != b.Len() || len(list) != len(elems) {
		t.Fatalf("%d elements in %d messages, want %d in %d", len(list), n, len(elems), b.Len())
	}
	for i, e := range list {
		if k, ok := FromHost32(e.Key); !ok || k != uint32(i) || e.Timeout != elems[i].Timeout {
			t.Fatalf("element %d: %+v", i, e)
		}
	}
}

func TestEncodeDecodesAnswers(t *testing.T) {
	// ENOENT with text and offset, after the whole of our message or its header.
	text := `h2:0008 h2:0001 s:why 00 h2:0008 h2:0002 h4:00000024`
	for _, tc := range []struct {
		name, data string
		flags      uint16
		want       answer
	}{
		{"acknowledgement", "h4:00000000 h4:00000014 h2:0a00 h2:0005 h4:00000001 h4:00000000", 0x100, answer{}},
		{"plain", "h4:fffffffe h4:00000014 h2:0a00 h2:0005 h4:00000001 h4:00000000 01000000", 0, answer{errno: 2}},
		{"capped", "h4:fffffffe h4:00000014 h2:0a00 h2:0005 h4:00000001 h4:00000000 " + text, 0x300, answer{2, "why", 0x24}},
		{"whole", "h4:fffffffe h4:00000014 h2:0a00 h2:0005 h4:00000001 h4:00000000 01000000 " + text, 0x200, answer{2, "why", 0x24}},
	} {
		got, err := parseError(message{typ: nlError, flags: tc.flags, data: wireBytes(t, tc.data)})
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
	}
}

func TestEncodeKeys(t *testing.T) {
	compare(t, "concatenation", Concat(HW([6]byte{1, 2, 3, 4, 5, 6}), Net16(0x0102), Host32(0x01020304)),
		"010203040506 0000 0102 0000 h4:01020304")
	compare(t, "mapped address", Addr(netip.MustParseAddr("::ffff:192.0.2.1")), "c0000201")
	first, last := PrefixRange(netip.MustParsePrefix("10.1.255.3/15"))
	compare(t, "first", first, "0a000000")
	compare(t, "last", last, "0a01ffff")
	if k, ok := next([]byte{1, 0xff, 0xff}); !ok || !bytes.Equal(k, []byte{2, 0, 0}) || !bytes.Equal(before(k), []byte{1, 0xff, 0xff}) {
		t.Errorf("next %x, before it %x", k, before(k))
	}
	if k, ok := next([]byte{0xff, 0xff}); ok {
		t.Errorf("next after the last: %x", k)
	}
	for d, want := range map[time.Duration]uint64{0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v is %d ms, want %d", d, got, want)
		}
	}
}
