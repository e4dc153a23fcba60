package store_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// BenchmarkReports is how many redemptions a second are taken, durable and in
// the accounts, from gateways that each have many to send (500 in a report) or
// a few (5), several at once. Every one is of a voucher that the hub made.
func BenchmarkReports(b *testing.B) {
	for _, d := range databases {
		for _, size := range []int{500, 5} {
			b.Run(fmt.Sprintf("%s/%d", d.name, size), func(b *testing.B) {
				w := newWorld(b, d.make(b))
				benchmarkReports(b, w, size)
			})
		}
	}
}

func benchmarkReports(b *testing.B, w *world, size int) {
	r := w.reseller("A", hub.Limits{Vouchers: 1e9, Sites: 1000, Gateways: 1000})
	f := w.forfait(plan("Day", 500))
	senders := map[int]int{500: 8, 5: 200}[size]
	boxes := make([]*box, senders)
	for i := range boxes {
		boxes[i] = w.gateway(w.site(r, fmt.Sprint("s", i)), fmt.Sprint(i))
	}
	each := max(b.N/size/senders, 1) // reports of a gateway
	for _, x := range boxes {
		w.knows(x, f, each*size)
	}
	var wg sync.WaitGroup
	b.ResetTimer()
	begun := time.Now()
	for _, x := range boxes {
		wg.Go(func() {
			for range each {
				if _, err := w.report(x, x.redeemed(f, size)...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(each*senders*size)/time.Since(begun).Seconds(), "entries/s")
	b.ReportMetric(0, "ns/op")
	if got, want := int(w.count("vouchers WHERE used <> 0")), each*senders*size; got != want {
		b.Errorf("%d vouchers are used, want %d", got, want)
	}
}

// knows makes the vouchers that redeemed will use.
func (w *world) knows(x *box, f hub.Forfait, n int) {
	w.Helper()
	then := x.n
	entries := x.redeemed(f, n)
	x.n = then
	keys := make([]string, n)
	for i, e := range entries {
		keys[i] = e.Ref
	}
	w.ok(w.store.Write(w.ctx, func(tx hub.Tx) error {
		if err := tx.AddBatch(hub.Batch{ID: "b-" + x.ID, Reseller: x.Reseller, Site: x.Site, Forfait: f.Plan.ID, Version: 1, Total: n}); err != nil {
			return err
		}
		return tx.AddVouchers("b-"+x.ID, keys)
	}))
}

// redeemed are the next sales of vouchers of the hub's, with usage.
func (b *box) redeemed(f hub.Forfait, n int) []api.Entry {
	out := make([]api.Entry, n)
	at := time.Now().UTC()
	for i := range out {
		b.n++
		sum := sha256.Sum256(fmt.Append(nil, b.ID, b.n))
		out[i] = api.Entry{N: b.n, At: &at, Kind: api.EntrySale, Grant: b.n, Source: "voucher", HubCode: true, Batch: "2602-0000-0000",
			Ref: hex.EncodeToString(sum[:16]), Plan: f.Plan.ID, PlanVersion: f.Plan.Version, Device: hex.EncodeToString(sum[16:]),
			Price: &api.Money{Amount: 500, Currency: "XOF"}}
	}
	return out
}

// BenchmarkHeartbeats is what a heartbeat costs the hub without HTTP: token,
// status, head, signed time.
func BenchmarkHeartbeats(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			w := newWorld(b, d.make(b))
			x := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
			w.forfait(plan("Day", 500))
			b.ResetTimer()
			for range b.N {
				g, err := w.Authenticate(w.ctx, x.Token)
				w.ok(err)
				_, err = w.Heartbeat(w.ctx, g, api.Heartbeat{Instance: x.instance, Boot: "b", Nonce: "AAAAAAAAAAAAAAAAAAAAAA=="})
				w.ok(err)
			}
		})
	}
}
