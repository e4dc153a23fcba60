package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/disk/faultdisk"
	"zonegate/internal/journal"
)

var (
	hubLink = zonegate.HubLink{Hub: "https://hub.example/api/v1", Site: "site-1", Gateway: "gw-1", CodeKey: zonegate.ZoneKey{7, 8}}
	hubPlan = zonegate.Plan{ID: "7d0c", Version: 3, Name: "Heure", Price: zonegate.Money{Amount: 100, Currency: "XOF"}, Duration: time.Hour, DevicesMax: 1, Hub: "site-1"}

	// hubEvents are of every kind that only a zone with a hub writes.
	hubEvents = []zonegate.Event{
		zonegate.HubLinked{Link: hubLink, Next: 4},
		zonegate.HubLinked{Link: zonegate.HubLink{Hub: "h", Site: "s", Gateway: "g", Applied: 1 << 40, Revoked: true}, Next: 1 << 50},
		zonegate.HubApplied{Seq: 300},
		zonegate.EntriesDelivered{Through: 5},
		zonegate.PlanSet{Plan: hubPlan},
		zonegate.VouchersAdded{Batch: "b", Plan: hubPlan.Ref(), Site: "site-1", Hub: true, Expires: time.Unix(9, 0).UTC(), Keys: []zonegate.VoucherKey{{1}, {2}}},
		zonegate.PurchaseAdded{Purchase: "order-1", Plan: hubPlan.Ref(), Expires: time.Unix(10, 0).UTC(), Key: zonegate.VoucherKey{3}, Claim: zonegate.VoucherKey{4}},
		zonegate.BatchRevoked{Batch: "b"},
		zonegate.SettingSet{Name: "link", Value: `{"down":1}`},
	}
	hubEntry = zonegate.Entry{
		N: 300, At: time.Unix(11, 12).UTC(), Kind: zonegate.EntrySale, Grant: 4,
		Source: zonegate.Source{Kind: "voucher", Ref: "00ff"}, HubCode: true, Batch: "b", Plan: hubPlan.Ref(), Price: hubPlan.Price,
		Device: zonegate.MAC{2, 0, 0, 0, 0, 1}, State: zonegate.Spent, Used: zonegate.Octets{Up: 5, Down: 1 << 40}, Octets: 6, Time: time.Hour, Count: 7,
	}
)

// TestStoredForms pins what is on disk: a journal, a snapshot or a backup that
// was written once must be read for ever. A form that changes needs a kind or a
// version of its own.
func TestStoredForms(t *testing.T) {
	p := plans[0]
	p.Rate = zonegate.Rate{CIRUp: 1, CIRDown: 2, MIRUp: 3, MIRDown: 4}
	record := func(events []zonegate.Event) func() []byte {
		return func() []byte {
			raw, err := encodeRecord(zonegate.Record{Seq: 3, At: zonegate.Instant{Boot: "b", Mono: 5, Wall: time.Unix(7, 8).UTC(), Trusted: true}, Events: events})
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
	v := zonegate.Voucher{Key: zonegate.VoucherKey{1}, Plan: p.Ref(), Batch: "b", Site: "s", Expires: time.Unix(9, 0).UTC(), Revoked: true, Grant: 3}
	ticket, bought, own := v, v, p
	ticket.Secret = "sealed"
	bought.Hub, bought.Purchase, bought.Twin = true, "order-1", zonegate.VoucherKey{2}
	own.Hub = ""
	m := meta{Meta: zonegate.Meta{
		Seq: 9, Key: zonegate.ZoneKey{1}, LastGrant: 2, LastSession: 3,
		Clock: zonegate.ServiceClock{Calendar: 4, Online: 5, Last: zonegate.Instant{Boot: "b", Mono: 6, Wall: time.Unix(7, 0).UTC()}, Anchor: time.Unix(8, 0).UTC(), AnchorAt: 9, AnchorBoot: "b"},
	}, hash: [16]byte{10}}
	joined := m
	joined.Hub, joined.FormerKey, joined.LastEntry, joined.Delivered = hubLink, zonegate.ZoneKey{11}, 12, 13
	for _, c := range []struct {
		name string
		form func() []byte
		want string
	}{
		{"records of a zone", record(ownEvents(p)), goldenOwnEvents},
		{"records of a zone with a hub", record(hubEvents), goldenHubEvents},
		{"plan", func() []byte { return sealPlan(own) }, goldenPlan},
		{"plan of the hub", func() []byte { return sealPlan(hubPlan) }, goldenHubPlan},
		{"voucher", func() []byte { return sealVoucher(v) }, goldenVoucher},
		{"ticket", func() []byte { return sealVoucher(ticket) }, goldenTicket},
		{"voucher of the hub", func() []byte { return sealVoucher(bought) }, goldenHubVoucher},
		{"meta", func() []byte { return sealMeta(m) }, goldenMeta},
		{"meta with a hub", func() []byte { return sealMeta(joined) }, goldenHubMeta},
		{"entry", func() []byte { return sealEntry(hubEntry) }, goldenEntry},
		{"setting", func() []byte { return sealSetting("link", "{}") }, goldenSetting},
	} {
		if got := hex.EncodeToString(c.form()); got != c.want {
			t.Errorf("%s: the stored form is\n%s\nand was\n%s", c.name, got, c.want)
		}
	}
	for _, x := range []zonegate.Voucher{v, ticket, bought} {
		if got, err := openVoucher(sealVoucher(x)); err != nil || got != x {
			t.Errorf("%+v %v", got, err)
		}
	}
	for _, x := range []zonegate.Plan{own, hubPlan} {
		if got, err := openPlan(sealPlan(x)); err != nil || got != x {
			t.Errorf("%+v %v", got, err)
		}
	}
	for _, x := range []meta{m, joined} {
		if got, err := openMeta(sealMeta(x)); err != nil || !reflect.DeepEqual(got, x) {
			t.Errorf("%+v %v", got, err)
		}
	}
	if got, err := openEntry(sealEntry(hubEntry)); err != nil || got != hubEntry {
		t.Errorf("%+v %v", got, err)
	}
	if name, text, err := openSetting(sealSetting("link", "{}")); err != nil || name != "link" || text != "{}" {
		t.Errorf("%q %q %v", name, text, err)
	}
	for _, version := range []byte{0, hubVoucherVersion + 1, 255} {
		if _, err := openVoucher(seal(version, nil)); !errors.Is(err, errFormat) {
			t.Errorf("a voucher of version %d: %v", version, err)
		}
	}
}

func (l *life) join() {
	l.t.Helper()
	if err := l.gate.JoinHub(l.t.Context(), hubLink, 1); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) push(seq uint64, c zonegate.HubChange) {
	l.t.Helper()
	if err := l.gate.TakePush(l.t.Context(), seq, c); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) outbox() []zonegate.Entry {
	l.t.Helper()
	list, err := l.gate.Outbox(0, 1<<20)
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// Everything of the hub's is there after a restart, from the state file, from
// journal and snapshot, and from a backup.
func TestHubComesBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		snapshot bool
		hurt     func(*testing.T, *Options)
	}{
		{"saved", false, func(*testing.T, *Options) {}},
		{"replayed", false, func(t *testing.T, o *Options) {
			if err := os.RemoveAll(o.StateDir); err != nil {
				t.Fatal(err)
			}
		}},
		{"from a snapshot", true, func(t *testing.T, o *Options) {
			if err := os.RemoveAll(o.StateDir); err != nil {
				t.Fatal(err)
			}
		}},
		{"from a backup", false, func(t *testing.T, o *Options) {
			s, err := Open(*o)
			if err != nil {
				t.Fatal(err)
			}
			var backup bytes.Buffer
			if err := errors.Join(s.Backup(&backup), s.Close()); err != nil {
				t.Fatal(err)
			}
			*o = options(t)
			o.StateDir = o.Dir
			if err := Restore(o.Dir, o.StateDir, bytes.NewReader(backup.Bytes()), int64(backup.Len())); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			if c.snapshot {
				o.SnapshotAbove = 1
			}
			l := begin(t, o)
			if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
				t.Fatal(err)
			}
			l.join()
			hubs := hubLink.CodeKey
			l.push(1, zonegate.PlanPushed{Plan: hubPlan})
			l.push(2, zonegate.BatchPushed{Batch: "b", Plan: hubPlan, Keys: []zonegate.VoucherKey{hubs.VoucherKey("CODE0001"), hubs.VoucherKey("CODE0002")}})
			l.push(3, zonegate.GrantPushed{Grant: "order-1", Plan: hubPlan, Device: device(1)})
			l.push(4, zonegate.GrantPushed{Grant: "order-2", Plan: hubPlan, Key: hubs.VoucherKey("CLAIM123")})
			l.push(5, zonegate.SettingPushed{Name: zonegate.SettingBrand, Value: "{}"})
			if err := l.redeem("CODE0001", device(2)); err != nil {
				t.Fatal(err)
			}
			if err := l.gate.Revoke(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if err := l.gate.Delivered(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			want := l.outbox()
			if len(want) != 3 {
				t.Fatalf("outbox %+v", want)
			}
			l.end()
			c.hurt(t, &o)

			l = begin(t, o)
			defer l.end()
			if err := l.gate.Expire(t.Context()); err != nil { // answered after the start
				t.Fatal(err)
			}
			// The start closes the revoked grant's session: there is no data path.
			got := l.outbox()
			if len(got) != 4 || !slices.Equal(got[:3], want) || got[3].Kind != zonegate.EntryEnded {
				t.Errorf("outbox %+v\nbefore %+v", got, want)
			}
			if h, ok := l.gate.Hub(); !ok || h.Applied != 5 || h.CodeKey != hubs {
				t.Errorf("joined to %+v", h)
			}
			if v, ok := l.gate.Setting(zonegate.SettingBrand); !ok || v != "{}" {
				t.Errorf("setting %q", v)
			}
			l.push(6, zonegate.GrantPushed{Grant: "order-1", Plan: hubPlan, Device: device(3)})
			if st := l.gate.Standing(device(3)); st.Grant != nil {
				t.Errorf("a purchase came twice: %+v", st.Grant)
			}
			for i, code := range []string{"CODE0002", "CLAIM123"} {
				if err := l.redeem(code, device(4+i)); err != nil {
					t.Errorf("%s: %v", code, err)
				}
			}
			if err := l.redeem("CODE0001", device(2)); err != nil {
				t.Errorf("a used code: %v", err)
			}
		})
	}
}

// What is delivered leaves the file, in whatever order it was saved.
func TestDeliveredLeavesTheFile(t *testing.T) {
	o := options(t)
	var held []int
	for n := range 4 {
		l := begin(t, o)
		if n == 0 {
			if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
				t.Fatal(err)
			}
			l.join()
		}
		for range 300 {
			l.sell(1)
		}
		if err := l.gate.Delivered(t.Context(), uint64(n*250)); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			link := hubLink
			link.CodeKey = zonegate.ZoneKey{99}
			if err := l.gate.JoinHub(t.Context(), link, 1); err != nil {
				t.Fatal(err)
			}
			l.sell(1)
		}
		l.end()
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.Entries(0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, len(list))
		s.Close()
	}
	if want := []int{300, 350, 400, 1}; !slices.Equal(held, want) {
		t.Errorf("%v entries are held, want %v", held, want)
	}
}

// A journal from before there was a hub is read and goes on with one.
func TestJournalFromBeforeTheHub(t *testing.T) {
	fs := faultdisk.New(1)
	j, err := journal.Open(fs, "/data", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(goldenFirstRecord)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([][]byte{raw}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.FS, o.Dir = fs, "/data"
	l := begin(t, o)
	defer l.end()
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	l.join()
	l.sell(1)
	if list := l.outbox(); len(list) != 1 {
		t.Errorf("outbox %+v", list)
	}
}

// TestWeekOffline is 20,000 entries that no hub took: where they are, and what a
// save and a snapshot of them cost.
func TestWeekOffline(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	l.join()
	const sales = 10000
	var keys []zonegate.VoucherKey
	for i := range sales {
		keys = append(keys, hubLink.CodeKey.VoucherKey(fmt.Sprintf("WEEK%05d", i)))
	}
	l.push(1, zonegate.BatchPushed{Batch: "b", Plan: hubPlan, Keys: keys})
	ask := make(chan int)
	done := make(chan error)
	for range 64 {
		go func() {
			var err error
			for i := range ask {
				err = errors.Join(err, l.redeem(fmt.Sprintf("week%05d", i), device(i)))
			}
			done <- err
		}()
	}
	for i := range sales {
		ask <- i
	}
	close(ask)
	for range 64 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	l.end()

	o.SnapshotAbove = 1
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.State().Changed().Entries); n != 0 {
		t.Errorf("%d saved entries are in memory", n)
	}
	list, err := s.Entries(0, 1<<20)
	if err != nil || len(list) != 2*sales {
		t.Fatalf("%d entries %v", len(list), err)
	}
	size := 0
	for i, e := range list {
		if e.N != uint64(i+1) {
			t.Fatalf("entry %d is %+v", i+1, e)
		}
		size += len(sealEntry(e))
	}
	began := time.Now()
	if err := s.Save(s.State().Changed()); err != nil {
		t.Fatal(err)
	}
	snapshot := time.Since(began)
	began = time.Now()
	pages := 0
	for after := uint64(0); after < 2*sales; pages++ {
		page, err := s.Entries(after, 500)
		if err != nil || len(page) != 500 {
			t.Fatalf("%d entries after %d: %v", len(page), after, err)
		}
		after = page[499].N
	}
	files, err := filepath.Glob(filepath.Join(o.Dir, "*.snap"))
	if err != nil || len(files) == 0 {
		t.Fatalf("snapshots %q %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries of %d octets each; save with snapshot of %.1f MB in %v; read in %d pages in %v",
		2*sales, size/2/sales, float64(info.Size())/1e6, snapshot, pages, time.Since(began))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	l = begin(t, o)
	defer l.end()
	began = time.Now()
	for {
		page, err := l.gate.Outbox(0, 500)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if err := l.gate.Delivered(t.Context(), page[len(page)-1].N); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("emptied in %v", time.Since(began))
	if text := strings.Join(l.store.Findings(), "\n"); strings.Contains(text, "DAMAGE") {
		t.Error(text)
	}
}

// What was written in 2026, before there was a hub and with the first one.
const (
	goldenOwnEvents   = "0101620a010e080116010102000000000000000000000000000000000000000000000000000000000000020364617900044a6f7572900303584f468080f89492a5278094ebdc030102030400010000030178036461790001730112000201000000000000000000000000000000020000000000000000000000000000000403000000000000000000000000000000050107766f756368657202616201000000000000000000000000000000036461790002000000000906010701020000000002080102000000000102000000000209018080808080808080108080c58bc6d1010a0103646179000b01030c808080800801020000000002036e6173160179036461790000000204000000000000000000000000000000020061050000000000000000000000000000000162100701020000000002036e61730364617900808080808080808080018080c58bc6d1011107083830303030303031020168120703646179000502130714071507038080808080200d040e0401808080808080808080010f01040506"
	goldenHubEvents   = "0101620a010e080109191a68747470733a2f2f6875622e6578616d706c652f6170692f763106736974652d310467772d3107080000000000000000000000000000000000000000000000000000000000000000041901680173016700000000000000000000000000000000000000000000000000000000000000008080808080200180808080808080021aac021b0517043764306303054865757265c80103584f468080c58bc6d10100000000000001000006736974652d3118016204376430630306736974652d310112000201000000000000000000000000000000020000000000000000000000000000001c076f726465722d3104376430630301140003000000000000000000000000000000040000000000000000000000000000001d01621e046c696e6b0a7b22646f776e223a317d"
	goldenPlan        = "010364617900044a6f7572900303584f468080f89492a5278094ebdc030102030400010000b212e326"
	goldenHubPlan     = "02043764306303054865757265c80103584f468080c58bc6d10100000000000001000006736974652d3102853f42"
	goldenVoucher     = "0101000000000000000000000000000000036461790001620173011200010387cc50d6"
	goldenTicket      = "02010000000000000000000000000000000364617900016201730112000103067365616c6564443809a7"
	goldenHubVoucher  = "03010000000000000000000000000000000364617900016201730112000103076f726465722d3102000000000000000000000000000000011fe866"
	goldenMeta        = "01090a00000000000000000000000000000001000000000000000000000000000000000000000000000000000000000000000203080a01620c010e00000110001201627416d9e8"
	goldenHubMeta     = "02090a00000000000000000000000000000001000000000000000000000000000000000000000000000000000000000000000203080a01620c010e00000110001201621a68747470733a2f2f6875622e6578616d706c652f6170692f763106736974652d310467772d31070800000000000000000000000000000000000000000000000000000000000000000b000000000000000000000000000000000000000000000000000000000000000c0dee1c4224"
	goldenEntry       = "01ac0201160c010407766f75636865720430306666010162043764306303c80103584f460200000000010205808080808020068080c58bc6d1010723aebbad"
	goldenSetting     = "01046c696e6b027b7dc0485fe5"
	goldenFirstRecord = "0101620a010e080101010102000000000000000000000000000000000000000000000000000000000000"
)
