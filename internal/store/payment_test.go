package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"zonegate"
)

var (
	payNews = zonegate.News{
		State: zonegate.IntentPending, Transaction: "tx-1", Flow: zonegate.FlowRedirect, URL: "https://pay.example/1", Reason: "why", Unsure: true,
	}

	// payEvents are of every kind that only a zone with payments writes.
	payEvents = []zonegate.Event{
		zonegate.IntentMade{
			ID: zonegate.IntentID{1, 2}, Device: zonegate.MAC{2, 0, 0, 0, 0, 1}, NAS: "nas", Plan: hubPlan.Ref(), Price: hubPlan.Price,
			Channel: "MTN_MOMO", Phone: "22997000001", Claim: zonegate.VoucherKey{3},
		},
		zonegate.IntentTold{ID: zonegate.IntentID{1, 2}, News: payNews, Purchase: "rgz:tx-1"},
	}
	storedIntent = zonegate.Intent{
		ID: zonegate.IntentID{1, 2}, Device: zonegate.MAC{2, 0, 0, 0, 0, 1}, NAS: "nas", Plan: hubPlan.Ref(), Price: zonegate.Money{Amount: 1 << 40, Currency: "CDF"},
		Channel: "MTN_MOMO", Phone: "**01", Claim: zonegate.VoucherKey{3}, Opened: time.Hour, Made: time.Unix(9, 8).UTC(), News: payNews, Purchase: "p",
	}
)

const (
	// What was written in 2026, with the first payments.
	goldenPayEvents = "0101620a0000021f01020000000000000000000000000000020000000001036e6173043764306303c80103584f46084d544e5f4d4f4d4f0b3232393937303030303031030000000000000000000000000000002001020000000000000000000000000000010474782d310872656469726563741568747470733a2f2f7061792e6578616d706c652f3103776879010872677a3a74782d31"
	goldenIntent    = "0101020000000000000000000000000000020000000001036e617304376430630380808080804003434446084d544e5f4d4f4d4f042a2a3031030000000000000000000000000000008080c58bc6d101011208010474782d310872656469726563741568747470733a2f2f7061792e6578616d706c652f31037768790101704c124fd1"
)

// The stored forms of payments are read for ever, as those before them.
func TestStoredPayments(t *testing.T) {
	raw, err := encodeRecord(zonegate.Record{Seq: 3, At: zonegate.Instant{Boot: "b", Mono: 5}, Events: payEvents})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(raw); got != goldenPayEvents {
		t.Errorf("the records are\n%s\nand were\n%s", got, goldenPayEvents)
	}
	if got, err := decodeRecord(3, raw); err != nil || !reflect.DeepEqual(got.Events, payEvents) {
		t.Errorf("%+v %v", got.Events, err)
	}
	for n := range len(raw) {
		if _, err := decodeRecord(3, raw[:n]); !errors.Is(err, errFormat) {
			t.Errorf("%d octets of a record: %v", n, err)
		}
	}
	sealed := sealIntent(storedIntent)
	if got := hex.EncodeToString(sealed); got != goldenIntent {
		t.Errorf("an intent is\n%s\nand was\n%s", got, goldenIntent)
	}
	if got, err := openIntent(sealed); err != nil || got != storedIntent {
		t.Errorf("%+v %v", got, err)
	}
	wrong := &encoder{}
	wrong.uint(recordVersion)
	wrong.instant(zonegate.Instant{})
	wrong.uint(1)
	wrong.uint(kindIntentTold)
	wrong.raw(make([]byte, 16))
	wrong.uint(uint64(zonegate.IntentRefunded) + 1)
	wrong.raw(make([]byte, 8))
	if _, err := decodeRecord(3, wrong.b); !errors.Is(err, errFormat) {
		t.Errorf("a state that does not exist: %v", err)
	}
}

// Payments are there after a restart, from the state file, from journal and
// snapshot, and from a backup; what was dropped is not.
func TestPaymentsComeBack(t *testing.T) {
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
			l.join()
			l.push(1, zonegate.PlanPushed{Plan: hubPlan})
			ids := []zonegate.IntentID{{1}, {2}, {3}}
			for i, id := range ids {
				_, err := l.gate.OpenIntent(t.Context(), zonegate.IntentRequest{
					ID: id, Device: device(i), Plan: hubPlan.ID, Channel: "MTN_MOMO", Phone: "2299700000" + string(rune('0'+i)),
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := l.gate.TellIntent(t.Context(), ids[1], payNews); err != nil {
				t.Fatal(err)
			}
			in, _ := l.gate.Intent(ids[2])
			l.push(2, zonegate.GrantPushed{Grant: "order-1", Plan: hubPlan, Device: in.Device, Key: in.Claim, Intent: in.ID.String()})
			code := l.gate.ClaimCode(in.ID)
			want := map[zonegate.IntentID]zonegate.Intent{}
			for _, id := range ids {
				in, _ := l.gate.Intent(id)
				in.Age = 0
				want[id] = in
			}
			l.end()
			c.hurt(t, &o)

			l = begin(t, o)
			defer l.end()
			for _, id := range ids {
				in, _ := l.gate.Intent(id)
				in.Age = 0
				if in != want[id] {
					t.Errorf("payment %v is\n%+v, was\n%+v", id, in, want[id])
				}
			}
			if got := l.gate.ClaimCode(in.ID); got != code {
				t.Errorf("the claim code is %q, was %q", got, code)
			}
			if err := l.redeem(code, device(7)); err != nil {
				t.Error(err)
			}
			l.push(3, zonegate.GrantPushed{Grant: "order-1", Plan: hubPlan, Device: in.Device, Key: in.Claim, Intent: in.ID.String()})
			if st := l.gate.Standing(in.Device); st.Grant != nil {
				t.Errorf("it came twice: %+v", st.Grant)
			}
		})
	}
}

// A state file from before there were payments is used, not built again.
func TestStateFileFromBeforePayments(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	l.join()
	l.push(1, zonegate.PlanPushed{Plan: hubPlan})
	l.end()
	name := o.StateDir + "/" + stateName
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucket(sectionIntent)) })
	if err := errors.Join(err, db.Close(), writeSum(name)); err != nil {
		t.Fatal(err)
	}
	l = begin(t, o)
	defer l.end()
	if f := l.store.Findings(); len(f) > 0 {
		t.Errorf("findings %q", f)
	}
	_, err = l.gate.OpenIntent(t.Context(), zonegate.IntentRequest{ID: zonegate.IntentID{1}, Device: device(1), Plan: hubPlan.ID, Channel: "X"})
	if err != nil {
		t.Error(err)
	}
}

// What was dropped leaves the file.
func TestDroppedIntentLeavesTheFile(t *testing.T) {
	o := options(t)
	l := begin(t, o)
	l.end()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := s.State().Changed().Meta
	other := storedIntent
	other.ID = zonegate.IntentID{9}
	for i, c := range []struct {
		put  []zonegate.Intent
		drop []zonegate.IntentID
		want int
	}{
		{[]zonegate.Intent{storedIntent, other}, nil, 2},
		{nil, []zonegate.IntentID{other.ID, {77}}, 1},
	} {
		if err := s.Save(zonegate.Changes{Meta: m, Intents: c.put, Dropped: c.drop}); err != nil {
			t.Fatal(err)
		}
		loaded, err := s.state.load()
		if err != nil || len(loaded.Intents) != c.want || loaded.Intents[0] != storedIntent {
			t.Errorf("%d: %+v %v", i, loaded.Intents, err)
		}
	}
}
