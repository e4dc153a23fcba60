package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"zonegate/internal/lab"
)

// A payScale is how many customers the rows of the portal have.
type payScale struct{ starts, pages int }

var fullPay = payScale{starts: 200, pages: 30}

// payCurrency is that of FlexPay, which has the fewest calls.
const payCurrency = "CDF"

// A payer is a customer of the crowd with a browser without pictures. It uses
// no connection twice.
type payer struct {
	client *http.Client
	phone  string
	plan   string
	form   url.Values
	page   string // of the payment
}

// withPayers builds a lab with that many customers before the page on which
// the forfait is paid.
func (b *bench) withPayers(ctx context.Context, n int, f func(*lab.Lab, []*payer) error) error {
	disk, err := os.MkdirTemp("/var/tmp", "zonelab-pay-") // begun payments are durable first
	if err != nil {
		return fmt.Errorf("making a data directory: %w", err)
	}
	defer os.RemoveAll(disk)
	opts := lab.Options{Central: lab.CentralHub, Money: true, Currency: payCurrency, Phones: 1, Crowd: n, DataDir: disk}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		payers := make([]*payer, n)
		for i := range payers {
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: lab.Member(i).IPv4.AsSlice()}}
			payers[i] = &payer{phone: fmt.Sprintf("0812%06d", 100+i), plan: l.Info.Hub.Forfait.ID, client: &http.Client{
				Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					return l.DialFrom(ctx, "crowd", from, network, addr)
				}},
				Timeout:       30 * time.Second,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}}
		}
		for {
			text, _, err := payers[0].get(ctx, lab.PortalURL)
			if err == nil && strings.Contains(text, "/pay?plan="+payers[0].plan) {
				break
			}
			if err := wait(ctx, 100*time.Millisecond); err != nil {
				return errors.Join(err, errors.New("the portal offers no payment"))
			}
		}
		for _, p := range payers {
			if err := p.open(ctx); err != nil {
				return err
			}
		}
		return f(l, payers)
	})
}

// get returns a page, or where it leads.
func (p *payer) get(ctx context.Context, address string) (text, to string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", "", err
	}
	return p.do(r)
}

func (p *payer) do(r *http.Request) (text, to string, err error) {
	r.Header.Set("Accept", "text/html")
	a, err := p.client.Do(r)
	if err != nil {
		return "", "", err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode >= 400 {
		err = fmt.Errorf("%s: %s: %.300s", r.URL.Path, a.Status, body)
	}
	return string(body), a.Header.Get("Location"), err
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// open shows the page where the forfait is paid, and fills it in.
func (p *payer) open(ctx context.Context) error {
	text, to, err := p.get(ctx, lab.PortalURL+"pay?plan="+p.plan)
	if err != nil {
		return err
	}
	p.form = url.Values{"phone": {p.phone}}
	for _, m := range hidden.FindAllStringSubmatch(text, -1) {
		p.form.Set(m[1], m[2])
	}
	if p.form.Get("i") == "" {
		return fmt.Errorf("there is no form to pay with, but a way to %q: %.300s", to, text)
	}
	return nil
}

// pay presses the button, and notes where it led.
func (p *payer) pay(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, lab.PortalURL+"pay", strings.NewReader(p.form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	text, to, err := p.do(r)
	if err != nil {
		return err
	}
	u, err := r.URL.Parse(to)
	if err != nil || !strings.HasPrefix(u.Path, "/pay/") {
		return fmt.Errorf("the button led to %q: %.300s", to, text)
	}
	p.page = u.String()
	return nil
}

func runMoneyPortal(ctx context.Context, b *bench) error { return b.moneyPortal(ctx, fullPay) }

// moneyPortal measures the portal's answer while the provider hangs, and while
// the hub does. A gateway has at most 200 payments open.
func (b *bench) moneyPortal(ctx context.Context, o payScale) error {
	for _, c := range []struct {
		what string
		hang func(*lab.Lab) error
	}{
		{"the provider hangs", func(l *lab.Lab) error {
			return tellProviders(ctx, l, "PUT", "/faults", map[string]any{"kind": "hang", "path": "/flexpay/paymentService"}, nil)
		}},
		{"the hub hangs", func(l *lab.Lab) error { return l.FreezeHub(true) }},
	} {
		err := b.withPayers(ctx, o.starts, func(l *lab.Lab, payers []*payer) error {
			if err := c.hang(l); err != nil {
				return err
			}
			var took []time.Duration
			for _, p := range payers {
				begun := time.Now()
				if err := p.pay(ctx); err != nil {
					return err
				}
				took = append(took, time.Since(begun))
			}
			p99 := percentile(took, 99)
			b.add(fmt.Sprintf("a payment is begun, from the button to the answer, while %s: p99 of %d", c.what, len(took)), "at most 100 ms",
				fmt.Sprintf("%s (p50 %s, most %s)", ms(p99), ms(percentile(took, 50)), ms(percentile(took, 100))), p99 <= 100*time.Millisecond)
			return l.FreezeHub(false)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tellProviders calls the control API of the simulated providers.
func tellProviders(ctx context.Context, l *lab.Lab, method, path string, body, into any) error {
	client, err := l.HubClient()
	if err != nil {
		return err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, lab.PayURL+"/_control"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("telling the providers: %w", err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode >= 300 {
		err = fmt.Errorf("telling the providers: %s %s: %s: %s", method, path, a.Status, got)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(got, into)
	}
	return err
}

func runMoneyPage(ctx context.Context, b *bench) error { return b.moneyPage(ctx, fullPay) }

// moneyPage measures from the provider's answer until the customer's page, which
// loads itself again, says that he is online.
func (b *bench) moneyPage(ctx context.Context, o payScale) error {
	return b.withPayers(ctx, o.pages, func(l *lab.Lab, payers []*payer) error {
		if err := tellProviders(ctx, l, "PUT", "/delay", map[string]int{"ms": -1}, nil); err != nil {
			return err
		}
		took := make([]time.Duration, len(payers))
		g, ctx := errgroup.WithContext(ctx)
		for i, p := range payers {
			g.Go(func() (err error) {
				// Not all at once, as customers.
				if err := wait(ctx, rand.N(time.Duration(len(payers))*300*time.Millisecond)); err != nil {
					return err
				}
				took[i], err = p.watch(ctx, l)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		p99 := percentile(took, 99)
		b.add(fmt.Sprintf("a customer confirms, from the provider's answer until his page says that he is online: p99 of %d", len(took)), "at most 3 s",
			fmt.Sprintf("%.2f s (p50 %.2f s)", p99.Seconds(), percentile(took, 50).Seconds()), p99 <= 3*time.Second)
		return nil
	})
}

var refreshes = regexp.MustCompile(`http-equiv="refresh" content="(\d+);url=`)

// watch begins a payment and shows its page as a browser does, while the
// customer confirms somewhere in between. It returns how long after that the
// page led to the one that says "online".
func (p *payer) watch(ctx context.Context, l *lab.Lab) (time.Duration, error) {
	if err := p.pay(ctx); err != nil {
		return 0, err
	}
	confirmed := make(chan error, 1)
	var at time.Time
	go func() { confirmed <- p.confirm(ctx, l, &at) }()
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		text, to, err := p.get(limit, p.page)
		if err != nil {
			return 0, fmt.Errorf("looking at the payment: %w", err)
		}
		if strings.Contains(to, "/status") {
			shown := time.Now()
			if err := <-confirmed; err != nil {
				return 0, err
			}
			return shown.Sub(at), nil
		}
		m := refreshes.FindStringSubmatch(text)
		if m == nil {
			return 0, fmt.Errorf("the page does not load itself again: %.300s", text)
		}
		seconds, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, err
		}
		if err := wait(limit, time.Duration(seconds)*time.Second); err != nil {
			return 0, fmt.Errorf("the customer has confirmed and is not online: %w", err)
		}
	}
}

// confirm has the customer confirm once he is asked, and notes when.
func (p *payer) confirm(ctx context.Context, l *lab.Lab, at *time.Time) error {
	for {
		var list []struct{ ID, Phone string }
		if err := tellProviders(ctx, l, "GET", "/charges?open=1", nil, &list); err != nil {
			return err
		}
		for _, c := range list {
			if strings.HasSuffix(c.Phone, p.phone[1:]) {
				if err := wait(ctx, rand.N(2*time.Second)); err != nil {
					return err
				}
				*at = time.Now()
				return tellProviders(ctx, l, "POST", "/charges/"+c.ID+"/approve", nil, nil)
			}
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("nobody asked the customer: %w", err)
		}
	}
}
