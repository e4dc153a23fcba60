package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"zonegate/hub"
)

// BenchmarkPayments is how many payments a second are started, charged, called
// back, looked up, booked and pushed, each with its own customer, at a provider
// that answers at once. Then the day is reconciled, and once more with the
// provider's statement: for each payment that must not take longer with more
// of them.
func BenchmarkPayments(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			s := newShop(newWorld(b, d.make(b)))
			s.till.start = func(c hub.Charge) (hub.Started, error) { return hub.Started{ProviderRef: "n" + c.Phone}, nil }
			s.till.look = func(p hub.Payment) (hub.Observation, error) {
				return hub.Observation{Found: true, State: hub.PaymentSucceeded, Amount: p.Price, Reference: p.Reference, ProviderRef: p.ProviderRef, Raw: `{"status":0}`}, nil
			}
			boxes := []*box{s.box}
			for i := range 9 {
				boxes = append(boxes, s.gateway(s.world.site(s.reseller, fmt.Sprint("s", i)), fmt.Sprint("g", i)))
			}
			const customers = 200 // at the same time
			var wg sync.WaitGroup
			b.ResetTimer()
			begun := time.Now()
			for i := range customers {
				wg.Go(func() {
					for n := i; n < b.N; n += customers {
						q := s.forIntent(n)
						q.Phone = fmt.Sprint(22901_00000000 + n)
						p, err := s.StartPayment(s.ctx, boxes[n%len(boxes)].Gateway, q)
						if err != nil {
							b.Error(err)
							return
						}
						if err := s.TakeHint(s.ctx, "till", hub.Hint{ProviderRef: "n" + q.Phone, Raw: p.Status}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "payments/s")
			b.ReportMetric(0, "ns/op")
			day, lines := s.clock.Now().Format(time.DateOnly), []string{"provider_ref,amount,currency,status"}
			for n := range b.N {
				lines = append(lines, fmt.Sprintf("n%d,500,XOF,succeeded", 22901_00000000+n))
			}
			begun = time.Now()
			_, err := s.Reconcile(s.ctx, s.admin, day)
			s.ok(err)
			b.ReportMetric(float64(time.Since(begun).Microseconds())/float64(b.N), "us/reconciled")
			begun = time.Now()
			_, r, err := s.ImportStatement(s.ctx, s.admin, "till", day, strings.NewReader(strings.Join(lines, "\n")+"\n"))
			if s.ok(err); !r.Clean() {
				b.Errorf("findings: %+v", r.Findings)
			}
			b.ReportMetric(float64(time.Since(begun).Microseconds())/float64(b.N), "us/stated")
			if s.count("grants") != uint64(b.N) || s.count("payments WHERE state = 'succeeded'") != uint64(b.N) {
				b.Errorf("%d grants of %d payments", s.count("grants"), b.N)
			}
			s.wantBalances(s.sold(int64(b.N)))
		})
	}
}
