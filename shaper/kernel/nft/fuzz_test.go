package nft

import (
	"testing"
	"time"
)

// FuzzDecode feeds arbitrary datagrams to everything that reads the kernel's.
func FuzzDecode(f *testing.F) {
	var b Batch
	b.AddTable(Table{Name: "t", Flags: Owner})
	b.AddQuota("t", "q", 1<<40, 5, true)
	b.AddLimit("t", Limit{Name: "l", Rate: 1})
	set := &Set{Table: "t", Name: "s", Key: []DataType{TypeMark}, Data: TypeClassID, Timeouts: true}
	nets := &Set{Table: "t", Name: "n", Key: []DataType{TypeIPv4}, Interval: true}
	svc := &Set{Table: "t", Name: "c", Key: []DataType{TypeProto, TypePort}, Interval: true}
	b.AddSet(set)
	b.AddElements(set, Element{Key: Host32(1), Data: Host32(2), Timeout: time.Hour})
	b.AddElements(nets, Element{Key: []byte{10, 0, 0, 0}, KeyEnd: []byte{10, 0, 0, 9}})
	b.AddElements(svc, Element{Key: Concat([]byte{6}, Net16(1)), KeyEnd: Concat([]byte{6}, Net16(9))})
	f.Add(b.buf.b)
	for m := range messages(b.buf.b) {
		f.Add(m.data)
	}
	var w buffer
	for _, typ := range []uint16{nlError, nlDone, subsysNFT<<8 | msgNewGen, subsysCT << 8} {
		start := w.message(typ, flagCapped|flagAckTLVs, 0, 0)
		w.put32(1, 0)
		w.put32(ctaMark, 7)
		w.put32(3, 0)
		w.endMessage(start)
	}
	f.Add(w.b)
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []entry
		for m, err := range messages(data) {
			if err != nil {
				break
			}
			// None of these may panic; what they return is checked elsewhere.
			_, _ = decodeTable(m)
			_, _, _, _ = decodeQuota(m)
			_, _ = decodeGeneration(m)
			_, _ = decodeMark(m)
			_, _, _ = decodeEvent(m)
			_, _ = parseError(m)
			flags, _ := decodeSetFlags(m)
			list, _ = decodeElements(m, list)
			for _, f := range []uint32{flags, setInterval, setInterval | setConcat} {
				if n := len(joinEntries(list, f)); n > len(list) {
					t.Errorf("%d elements of %d entries", n, len(list))
				}
			}
		}
	})
}
