package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/internal/disk"
	"zonegate/internal/disk/faultdisk"
	"zonegate/internal/journal"
)

// noPath is a data path without customers.
type noPath struct{}

func (noPath) Apply(context.Context, []zonegate.Order) error                        { return nil }
func (noPath) Change(context.Context, []zonegate.Order, []zonegate.SessionID) error { return nil }
func (noPath) Usage(context.Context) ([]zonegate.Usage, error)                      { return nil, nil }

type stillClock struct{ mono time.Duration }

func (c *stillClock) Now() zonegate.Instant {
	return zonegate.Instant{Boot: "boot", Mono: c.mono, Wall: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Trusted: true}
}

// life is a gate over a store, from power-on to power-off.
type life struct {
	t      *testing.T
	store  *Store
	gate   *zonegate.Gate
	cancel context.CancelFunc
	ended  chan error
}

func begin(t *testing.T, o Options) *life {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	g := zonegate.NewGate(s.State(), s, s, noPath{}, &stillClock{mono: time.Minute},
		zonegate.Options{RefusalTime: -1, Guessing: zonegate.Guessing{PerDevice: 1 << 20, ZoneRate: 1 << 20}})
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{t, s, g, cancel, make(chan error, 1)}
	go func() { l.ended <- g.Run(ctx) }()
	return l
}

var plans = []zonegate.Plan{
	{ID: "day", Name: "Jour", Price: zonegate.Money{Amount: 200, Currency: "XOF"}, Duration: 24 * time.Hour, DataCap: 1e9, DevicesMax: 1},
}

// end stops the gate in order and compares the state with a replay.
func (l *life) end() {
	l.t.Helper()
	l.cancel()
	if err := <-l.ended; err != nil {
		l.t.Errorf("the gate ended with %v", err)
	}
	l.verify()
	if err := l.store.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *life) verify() {
	l.t.Helper()
	r, err := l.store.Verify()
	if err != nil {
		l.t.Errorf("verifying: %v", err)
	}
	for _, p := range r.Problems {
		l.t.Errorf("verifying: %s", p)
	}
}

// cut is the end of a life without a last word.
func (l *life) cut() {
	l.cancel()
	<-l.ended
	l.store.Close()
}

func device(i int) zonegate.MAC { return zonegate.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)} }

func (l *life) sell(n int) []string {
	l.t.Helper()
	codes, err := l.gate.CreateVouchers(l.t.Context(), zonegate.Batch{Name: "b", Plan: "day"}, n)
	if err != nil {
		l.t.Fatal(err)
	}
	return codes
}

func (l *life) redeem(code string, d zonegate.MAC) error {
	_, err := l.gate.Redeem(l.t.Context(), zonegate.Redemption{Code: code, Device: d})
	return err
}

func options(t *testing.T) Options {
	t.Helper()
	// In RAM where there is some: bbolt syncs more than a test has time for.
	dir, err := os.MkdirTemp("/dev/shm", "zonegate-store")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Options{Dir: filepath.Join(dir, "data"), StateDir: filepath.Join(dir, "state")}
}

func TestStateComesBack(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	codes := l.sell(3)
	if err := l.redeem(codes[0], device(1)); err != nil {
		t.Fatal(err)
	}
	want := l.gate.Standing(device(1))
	l.end()

	l = begin(t, o)
	defer l.end()
	got := l.gate.Standing(device(1))
	if got.Grant == nil || !reflect.DeepEqual(*got.Grant, *want.Grant) {
		t.Errorf("after a restart %+v, before %+v", got.Grant, want.Grant)
	}
	if err := l.redeem(codes[1], device(2)); err != nil {
		t.Errorf("an unused voucher after a restart: %v", err)
	}
	if n := l.gate.Health().Unused; n != 1 {
		t.Errorf("%d unused vouchers", n)
	}
}

// TestSecondOwnerIsRefused protects the journal from two writers.
func TestSecondOwnerIsRefused(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	defer l.end()
	if _, err := Open(o); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("a second owner: %v", err)
	}
}

func TestStateFileIsBuiltAgain(t *testing.T) {
	for name, hurt := range map[string]func(path string) error{
		"gone": os.Remove,
		"garbage": func(p string) error {
			return os.WriteFile(p, bytes.Repeat([]byte("no database "), 10000), 0o600)
		},
		"cut short": func(p string) error { return os.Truncate(p, 5000) },
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"flipped bits": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for i := 100; i < len(b); i += 97 {
				b[i] ^= 4
			}
			return os.WriteFile(p, b, 0o600)
		},
	} {
		for _, snapshot := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, snapshot %v", name, snapshot), func(t *testing.T) {
				o := options(t)
				if snapshot {
					o.SnapshotAbove = 1
				}
				l := begin(t, o)
				if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
					t.Fatal(err)
				}
				codes := l.sell(50)
				for i := range 20 {
					if err := l.redeem(codes[i], device(i)); err != nil {
						t.Fatal(err)
					}
				}
				l.end()
				if err := hurt(filepath.Join(o.StateDir, stateName)); err != nil {
					t.Fatal(err)
				}
				l = begin(t, o)
				defer l.end()
				for i := range 20 {
					if st := l.gate.Standing(device(i)); st.Grant == nil || st.Grant.Cap != 1e9 {
						t.Fatalf("customer %d lost the grant: %+v", i, st)
					}
				}
				if n := l.gate.Health().Unused; n != 30 {
					t.Errorf("%d unused vouchers", n)
				}
				if name != "gone" && !strings.Contains(strings.Join(l.store.Findings(), "\n"), "built again") {
					t.Errorf("findings do not tell: %q", l.store.Findings())
				}
			})
		}
	}
}

// TestEverySingleFlippedBit of the state file is noticed or harmless: no
// balance may change.
func TestFlippedBitsChangeNoBalance(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	codes := l.sell(20)
	for i := range 10 {
		if err := l.redeem(codes[i], device(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.end()
	path := filepath.Join(o.StateDir, stateName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		bad := bytes.Clone(good)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		c := s.State().Whole()
		if len(c.Grants) != 10 {
			t.Fatalf("%d grants", len(c.Grants))
		}
		for _, g := range c.Grants {
			if g.Cap != 1e9 || g.Used.Total() != 0 {
				t.Fatalf("a balance changed: %+v", g)
			}
		}
		s.Close()
	}
}

func TestDamagedRecordCostsOnlyItself(t *testing.T) {
	fs := faultdisk.New(3)
	o := options(t)
	o.FS, o.Dir = fs, "/data"
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	codes := l.sell(10)
	for i := range 5 {
		if err := l.redeem(codes[i], device(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.cut()
	files, err := fs.List("/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".seg") {
			fs.FlipBit("/data/"+f.Name, 700, 3)
		}
	}
	if err := os.Remove(filepath.Join(o.StateDir, stateName)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	text := strings.Join(s.Findings(), "\n")
	if !strings.Contains(text, "DAMAGE") {
		t.Errorf("findings do not tell: %s", text)
	}
	if n := len(s.State().Whole().Grants); n < 4 {
		t.Errorf("%d of 5 grants are left", n)
	}
}

// TestAlteredEndIsReported tells failing flash from a power cut.
func TestAlteredEndIsReported(t *testing.T) {
	fs := faultdisk.New(9)
	o := options(t)
	o.FS, o.Dir, o.Journal = fs, "/data", journal.Options{Prealloc: journal.PreallocOff}
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	l.sell(5)
	l.cut()
	if err := os.RemoveAll(o.StateDir); err != nil {
		t.Fatal(err)
	}
	files, err := fs.List("/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".seg") {
			fs.FlipBit("/data/"+f.Name, f.Size-40, 3)
		}
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if text := strings.Join(s.Findings(), "\n"); !strings.Contains(text, "DAMAGE") {
		t.Errorf("findings do not tell: %s", text)
	}
}

func TestFullDiskStopsSalesAndNothingElse(t *testing.T) {
	for name, fault := range map[string]struct {
		on, off func(*faultdisk.Disk)
	}{
		"full":      {func(d *faultdisk.Disk) { d.SetFree(0) }, func(d *faultdisk.Disk) { d.SetFree(-1) }},
		"read-only": {func(d *faultdisk.Disk) { d.SetReadOnly(true) }, func(d *faultdisk.Disk) { d.SetReadOnly(false) }},
		"sync fails": {func(d *faultdisk.Disk) {
			d.Fail(faultdisk.Fault{Op: faultdisk.OpSync, Times: -1, Torn: true})
		}, func(d *faultdisk.Disk) { d.Heal() }},
	} {
		t.Run(name, func(t *testing.T) {
			fs := faultdisk.New(5)
			o := options(t)
			o.FS, o.Dir = fs, "/data"
			// Without prepared room every append needs new space.
			o.Journal = journal.Options{Prealloc: journal.PreallocOff, Reserve: -1}
			l := begin(t, o)
			if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
				t.Fatal(err)
			}
			codes := l.sell(3)
			if err := l.redeem(codes[0], device(0)); err != nil {
				t.Fatal(err)
			}
			fault.on(fs)
			var err error
			for i := 0; err == nil && i < 2000; i++ {
				// A little may still fit into the last block.
				_, err = l.gate.CreateVouchers(t.Context(), zonegate.Batch{Plan: "day"}, 10)
			}
			if !errors.Is(err, zonegate.ErrNotDurable) {
				t.Fatalf("selling: %v", err)
			}
			if err := l.redeem(codes[1], device(1)); !errors.Is(err, zonegate.ErrNotDurable) {
				t.Fatalf("redeeming: %v", err)
			}
			if st := l.gate.Standing(device(0)); !st.Online {
				t.Fatal("a running customer went offline")
			}
			l.cut()
			fault.off(fs)
			after := fs.Crash()
			o.FS = after
			l = begin(t, o)
			defer l.end()
			if st := l.gate.Standing(device(0)); st.Grant == nil {
				t.Error("an acknowledged sale is lost")
			}
			if st := l.gate.Standing(device(1)); st.Grant != nil {
				t.Error("a refused sale came back")
			}
			if err := l.redeem(codes[1], device(1)); err != nil {
				t.Errorf("the refused code later: %v", err)
			}
		})
	}
}

// powerCuts runs lives that each end in a power cut, and returns what was
// acknowledged and lost.
func powerCuts(t *testing.T, seed uint64, noSync bool) (lost []string) {
	r := rand.New(rand.NewPCG(seed, 1))
	fs := faultdisk.New(seed)
	fs.SetNoSync(noSync)
	o := options(t)
	o.Dir = "/data"
	o.Journal = journal.Options{SegmentSize: 4096}
	if r.IntN(2) == 0 {
		o.SnapshotAbove = 8192
	}
	sold := map[string]int{} // code -> device, acknowledged
	var codes []string
	ready := false
	for n := range 6 {
		o.FS = fs
		if r.IntN(3) == 0 {
			// The state file was in RAM.
			os.Remove(filepath.Join(o.StateDir, stateName))
		}
		s, err := Open(o)
		if err != nil {
			if noSync {
				return append(lost, err.Error())
			}
			t.Fatalf("seed %d, life %d: %v", seed, n, err)
		}
		s.Close()
		l := begin(t, o)
		if !ready {
			ready = l.gate.SetPlans(t.Context(), plans, false) == nil
		}
		for code, d := range sold {
			if st := l.gate.Standing(device(d)); st.Grant == nil {
				lost = append(lost, code)
			}
		}
		fs.CutAfter(r.IntN(60))
		for range 40 {
			if r.IntN(4) == 0 || len(codes) == 0 {
				if c, err := l.gate.CreateVouchers(t.Context(), zonegate.Batch{Plan: "day"}, 1+r.IntN(20)); err == nil {
					codes = append(codes, c...)
				}
				continue
			}
			code := codes[r.IntN(len(codes))]
			if _, ok := sold[code]; ok {
				continue
			}
			d := len(sold) + 100*n
			if l.redeem(code, device(d)) == nil {
				sold[code] = d
			}
		}
		l.cut()
		fs = fs.Crash()
		fs.SetNoSync(noSync)
	}
	return lost
}

func TestPowerCutsLoseNothingAcknowledged(t *testing.T) {
	for seed := range uint64(25) {
		if lost := powerCuts(t, seed, false); len(lost) > 0 {
			t.Errorf("seed %d: %d acknowledged sales are gone", seed, len(lost))
		}
	}
}

// TestPowerCutsNeedSync proves that the test above can fail.
func TestPowerCutsNeedSync(t *testing.T) {
	for seed := range uint64(25) {
		if len(powerCuts(t, seed, true)) > 0 {
			return
		}
	}
	t.Error("a journal that never syncs survived every power cut")
}

func TestBackupMovesAZone(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	codes := l.sell(5)
	if err := l.redeem(codes[0], device(1)); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := l.store.Backup(&backup); err != nil {
		t.Fatal(err)
	}
	l.end()

	// A damaged backup changes nothing.
	other := options(t)
	other.StateDir = other.Dir
	l = begin(t, other)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	own := l.sell(1)
	l.end()
	before := listing(t, other.Dir)
	for _, bad := range [][]byte{nil, backup.Bytes()[:backup.Len()/2], flip(backup.Bytes(), backup.Len()/2), []byte("no backup")} {
		if err := Restore(other.Dir, other.StateDir, bytes.NewReader(bad), int64(len(bad))); err == nil {
			t.Fatal("a damaged backup was restored")
		}
	}
	if after := listing(t, other.Dir); !reflect.DeepEqual(before, after) {
		t.Errorf("a refused restore changed the directory: %v, before %v", after, before)
	}
	// A running gateway is not overwritten.
	l = begin(t, other)
	if err := Restore(other.Dir, other.StateDir, bytes.NewReader(backup.Bytes()), int64(backup.Len())); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("restoring under a running gateway: %v", err)
	}
	l.end()
	if err := Restore(other.Dir, other.StateDir, bytes.NewReader(backup.Bytes()), int64(backup.Len())); err != nil {
		t.Fatal(err)
	}
	l = begin(t, other)
	defer l.end()
	if st := l.gate.Standing(device(1)); st.Grant == nil {
		t.Error("a customer did not move with the backup")
	}
	if err := l.redeem(codes[1], device(2)); err != nil {
		t.Errorf("a voucher did not move with the backup: %v", err)
	}
	if err := l.redeem(own[0], device(3)); err == nil {
		t.Error("a voucher of the replaced state is still good")
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func listing(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			out[p] = i.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerifyFindsAChangedBalance(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	codes := l.sell(2)
	if err := l.redeem(codes[0], device(1)); err != nil {
		t.Fatal(err)
	}
	l.end()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	g, _, err := s.Grant(1)
	if err != nil {
		t.Fatal(err)
	}
	g.Cap *= 2
	head, _ := s.state.head()
	c := zonegate.Changes{Grants: []zonegate.Grant{g}}
	from, _ := s.state.load()
	c.Meta = from.Meta
	if err := s.state.save(c, head.Hash); err != nil {
		t.Fatal(err)
	}
	s.Close()
	r, err := Verify(o)
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "differs") {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestProbeChoosesRAMWhereFilesCannotBeMapped(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, RAMDir: filepath.Join(t.TempDir(), "ram")}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s.volatile {
		t.Errorf("a directory that can be mapped was not used: %q", s.Findings())
	}
}

// ownEvents are of every kind that a zone without a hub writes.
func ownEvents(p zonegate.Plan) []zonegate.Event {
	return []zonegate.Event{
		zonegate.ZoneFounded{Key: zonegate.ZoneKey{1, 2}},
		zonegate.PlanSet{Plan: p},
		zonegate.VouchersAdded{Batch: "x", Plan: p.Ref(), Site: "s", Expires: time.Unix(9, 0).UTC(), Keys: []zonegate.VoucherKey{{1}, {2}}},
		zonegate.VoucherRevoked{Key: zonegate.VoucherKey{3}},
		zonegate.GrantIssued{Grant: 1, Source: zonegate.Source{Kind: "voucher", Ref: "ab"}, Voucher: zonegate.VoucherKey{1}, Plan: p.Ref(), Device: device(9)},
		zonegate.GrantActivated{Grant: 1},
		zonegate.DeviceAdded{Grant: 1, Device: device(2)},
		zonegate.GrantMoved{Grant: 1, From: device(1), To: device(2)},
		zonegate.ToppedUp{Grant: 1, Octets: 1 << 60, Time: time.Hour},
		zonegate.GrantReplanned{Grant: 1, Plan: p.Ref()},
		zonegate.GrantEnded{Grant: 1, State: zonegate.Expired},
		zonegate.SessionOpened{Session: 1 << 31, Grant: 1, Device: device(2), Path: "nas"},
		zonegate.VouchersAdded{Batch: "y", Plan: p.Ref(), Keys: []zonegate.VoucherKey{{4}, {5}}, Secrets: []string{"\x00a", "b"}},
		zonegate.SessionOpened{Session: 7, Grant: 1, Device: device(2), Path: "nas", Terms: zonegate.Terms{Plan: p.Ref(), Limit: 1 << 63, Ends: time.Hour}},
		zonegate.SessionReported{Session: 7, Key: "80000001", Handle: "\x01h"},
		zonegate.SessionTold{Session: 7, Terms: zonegate.Terms{Plan: p.Ref(), Limit: 5, Ends: 1}},
		zonegate.SessionLost{Session: 7},
		zonegate.SessionResumed{Session: 7},
		zonegate.SessionOver{Session: 7, Octets: zonegate.Octets{Up: 3, Down: 1 << 40}},
		zonegate.SessionStopped{Session: 4},
		zonegate.SessionClosed{Session: 4, Octets: zonegate.Octets{Up: 1, Down: 1 << 63}},
		zonegate.UsageCounted{Sessions: []zonegate.SessionOctets{{Session: 4, Octets: zonegate.Octets{Up: 5, Down: 6}}}},
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	at := zonegate.Instant{Boot: "b", Mono: 5, Wall: time.Unix(7, 8).UTC(), Trusted: true}
	p := plans[0]
	p.Rate = zonegate.Rate{CIRUp: 1, CIRDown: 2, MIRUp: 3, MIRDown: 4}
	events := slices.Concat(ownEvents(p), hubEvents)
	raw, err := encodeRecord(zonegate.Record{Seq: 3, At: at, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(3, raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Events, events) || !reflect.DeepEqual(got.At, at) {
		t.Errorf("got  %+v\nwant %+v", got, events)
	}
	for i := range raw {
		if _, err := decodeRecord(3, raw[:i]); err == nil {
			t.Errorf("a record cut at %d is read", i)
		}
	}
}

// A state written before sessions had terms, and vouchers passwords, is read.
func TestFormerEntities(t *testing.T) {
	e := &encoder{}
	e.uint(7)
	e.uint(8)
	e.raw([]byte{1, 2, 3, 4, 5, 6})
	e.string("")
	e.octets(zonegate.Octets{Up: 1, Down: 2})
	e.bool(true)
	x, err := openSession(seal(1, e.b))
	want := zonegate.Session{ID: 7, Grant: 8, Device: zonegate.MAC{1, 2, 3, 4, 5, 6}, Octets: zonegate.Octets{Up: 1, Down: 2}, Stopped: true}
	if err != nil || x != want {
		t.Errorf("%+v %v", x, err)
	}
	full := want
	full.Path, full.Key, full.Handle, full.Opened, full.Lost, full.Over = "ap", "k", "h", 5, true, true
	full.Terms = zonegate.Terms{Plan: plans[0].Ref(), Limit: 3, Ends: 4}
	if x, err := openSession(sealSession(full)); err != nil || x != full {
		t.Errorf("%+v %v", x, err)
	}
	for _, secret := range []string{"", "sealed"} {
		v := zonegate.Voucher{Key: zonegate.VoucherKey{1}, Plan: plans[0].Ref(), Batch: "b", Secret: secret}
		if got, err := openVoucher(sealVoucher(v)); err != nil || got != v {
			t.Errorf("%+v %v", got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	raw, _ := encodeRecord(zonegate.Record{Events: []zonegate.Event{zonegate.PlanSet{Plan: plans[0]}}})
	f.Add(raw)
	f.Add(sealGrant(zonegate.Grant{ID: 1, Devices: []zonegate.MAC{{1}}}))
	hub, _ := encodeRecord(zonegate.Record{Events: hubEvents})
	f.Add(hub)
	f.Add(sealEntry(hubEntry))
	paid, _ := encodeRecord(zonegate.Record{Events: payEvents})
	f.Add(paid)
	f.Add(sealIntent(storedIntent))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRecord(1, b); err == nil {
			if _, err := encodeRecord(r); err != nil {
				t.Error(err)
			}
		}
		openGrant(b)
		openVoucher(b)
		openMeta(b)
		openPlan(b)
		openSession(b)
		openSales(b)
		openEntry(b)
		openSetting(b)
		openIntent(b)
	})
}

// TestReadOnlyAtStartServesWhoHasPaid is a router whose file system was
// mounted read-only after a fault: its customers go on, sales wait.
func TestReadOnlyAtStartServesWhoHasPaid(t *testing.T) {
	fs := faultdisk.New(11)
	o := options(t)
	o.FS, o.Dir = fs, "/data"
	l := begin(t, o)
	if err := l.gate.SetPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
	codes := l.sell(2)
	if err := l.redeem(codes[0], device(1)); err != nil {
		t.Fatal(err)
	}
	l.end()

	fs.SetReadOnly(true)
	l = begin(t, o)
	if st := l.gate.Standing(device(1)); !st.Online {
		t.Error("a paid customer is not served")
	}
	if err := l.redeem(codes[1], device(2)); !errors.Is(err, zonegate.ErrNotDurable) {
		t.Errorf("a sale on a read-only disk: %v", err)
	}
	l.cut()

	fs.SetReadOnly(false)
	l = begin(t, o)
	defer l.end()
	if err := l.redeem(codes[1], device(2)); err != nil {
		t.Errorf("a sale when the disk can be written again: %v", err)
	}
}
