package central

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

// Plans is what an RGZ asks of the domain; *zonegate.Gate is one.
type Plans interface {
	SetPlans(ctx context.Context, plans []zonegate.Plan, running bool) error
	Plans() []zonegate.Plan
}

var _ Plans = (*zonegate.Gate)(nil)

// Bounds of a catalogue.
const (
	maxPages   = 50
	maxPlans   = 1000
	pollRGZ    = 10 * time.Minute
	maxHours   = maxSeconds / 3600
	maxMB      = 1_000_000_000
	maxKbps    = 100_000_000
	megabyteSI = 1_000_000
)

// An RGZ keeps a zone's plans those of a server that has nothing but the
// documented billing API. There is no push, no report and no signed time:
// changes come by polling, vouchers by import (see ReadVouchers), and what is
// sold stays on the gateway. Without a clock the dates of its certificate are
// not held against the server, as with a hub (see verifier). Its fields must
// not change once Run was called.
type RGZ struct {
	Endpoint
	Gate  Plans
	Clock Clock
	// Megabyte is how many octets a megabyte of a cap has. Default 1,000,000.
	Megabyte uint64
	// Currency of the prices. Default XOF; the document knows francs CFA
	// alone.
	Currency string
	// Every is about how often the catalogue is read. Default 10 min.
	Every  time.Duration
	Logger *slog.Logger

	mu sync.Mutex
	// own are the plans of the configuration, sold beside those of the server.
	own map[string]zonegate.Plan
	// good is when the catalogue was last read as a whole.
	good    time.Time
	lastErr error
	refused []string
}

// An RGZStatus is how the polling goes.
type RGZStatus struct {
	URL string
	// Read says that the catalogue was read since the start, ReadAgo when.
	Read    bool
	ReadAgo time.Duration
	// LastError is why the latest reading failed; empty if it did not.
	LastError string
	// Refused are plans that make no sense; what was sold under their ids
	// before is still sold.
	Refused []string
}

// Status returns how the polling goes.
func (r *RGZ) Status() RGZStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := RGZStatus{URL: r.URL, Read: !r.good.IsZero(), Refused: append([]string(nil), r.refused...)}
	if s.Read {
		s.ReadAgo = time.Since(r.good)
	}
	if r.lastErr != nil {
		s.LastError = r.lastErr.Error()
	}
	return s
}

// SetOwn sets the plans of the configuration. Those of the server that were on
// sale stay it, also those from before a restart.
func (r *RGZ) SetOwn(ctx context.Context, plans []zonegate.Plan) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := map[string]zonegate.Plan{}
	for _, p := range plans {
		own[p.ID] = p
	}
	for _, p := range r.Gate.Plans() {
		_, was := r.own[p.ID]
		if _, is := own[p.ID]; !is && !was {
			plans = append(plans, p)
		}
	}
	if err := r.Gate.SetPlans(ctx, plans, false); err != nil {
		return err
	}
	r.own = own
	return nil
}

// Run reads the catalogue again and again until the context is done.
func (r *RGZ) Run(ctx context.Context) error {
	log := r.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	every := r.Every
	if every == 0 {
		every = pollRGZ
	}
	again := retry{first: usualPace.retryFirst, most: every}
	for ctx.Err() == nil {
		err := r.Poll(ctx)
		wait := every*9/10 + jitter(every/5)
		if err != nil && ctx.Err() == nil {
			log.Warn("the catalogue could not be taken; what is sold stays as it is", "error", err)
			wait = again.wait(err)
		} else {
			again.reset()
		}
		sleep(ctx, wait)
	}
	return nil
}

// Poll reads the catalogue once and puts it on sale. What cannot be read as a
// whole changes nothing; a plan in it that makes no sense is left as it was
// and named in Status.
func (r *RGZ) Poll(ctx context.Context) error {
	read, err := r.read(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.offer(ctx, read)
	}
	r.lastErr = err
	if err == nil {
		r.good = time.Now()
	}
	return err
}

// read returns the items of all pages.
func (r *RGZ) read(ctx context.Context) ([]json.RawMessage, error) {
	c, err := newClient(r.Endpoint, "", r.Clock, time.Time{}, usualPace)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var items []json.RawMessage
	for n := int64(1); ; n++ {
		path := api.PathForfaits
		if n > 1 {
			path += "?page=" + strconv.FormatInt(n, 10)
		}
		var raw json.RawMessage
		if err := c.call(ctx, http.MethodGet, path, nil, &raw); err != nil {
			return nil, fmt.Errorf("reading page %d of the catalogue: %w", n, err)
		}
		p, err := readPage(raw)
		if err != nil {
			return nil, fmt.Errorf("reading page %d of the catalogue: %w", n, err)
		}
		if n > 1 && p.page.n != n {
			return nil, fmt.Errorf("the catalogue has %d pages, but asked for page %d the server sends page %d", p.pages.n, n, p.page.n)
		}
		items = append(items, p.items...)
		switch {
		case p.pages.n > maxPages || len(items) > maxPlans:
			return nil, fmt.Errorf("the catalogue is too long: %d plans, %d pages", len(items), p.pages.n)
		case p.pages.n > n:
			continue
		case p.total.n > int64(len(items)):
			return nil, fmt.Errorf("the catalogue is cut off: it has %d plans, and %d came", p.total.n, len(items))
		case len(items) == 0:
			return nil, errors.New("the catalogue is empty: what is sold stays on sale")
		}
		return items, nil
	}
}

// offer sells what was read, beside the configuration's plans. The caller
// holds mu.
func (r *RGZ) offer(ctx context.Context, items []json.RawMessage) error {
	before := map[string]zonegate.Plan{}
	for _, p := range r.Gate.Plans() {
		before[p.ID] = p
	}
	r.refused = nil
	var plans []zonegate.Plan
	for _, p := range r.own {
		plans = append(plans, p)
	}
	listed := map[string]bool{}
	nameless := false
	for i, raw := range items {
		id := planID(raw)
		if id == "" {
			nameless = true
			r.refused = append(r.refused, fmt.Sprintf("plan %d of the catalogue has no id", i+1))
			continue
		}
		if _, taken := r.own[id]; taken || listed[id] {
			r.refused = append(r.refused, fmt.Sprintf("plan %.64s: the id stands twice, in the catalogue or also in the configuration", id))
			continue
		}
		listed[id] = true
		p, err := r.plan(id, raw)
		if err != nil {
			r.refused = append(r.refused, err.Error())
			var was bool
			if p, was = before[id]; !was {
				continue
			}
		}
		plans = append(plans, p)
	}
	if nameless {
		// Whoever it is may have been sold here: nothing is withdrawn.
		for id, p := range before {
			if _, own := r.own[id]; !own && !listed[id] {
				plans = append(plans, p)
			}
		}
	}
	if err := r.Gate.SetPlans(ctx, plans, false); err != nil {
		return fmt.Errorf("putting the catalogue on sale: %w", err)
	}
	return nil
}

type page struct {
	items              []json.RawMessage
	total, page, pages number
}

// readPage reads the envelope, or a list without one.
func readPage(raw json.RawMessage) (page, error) {
	one := number{1, true}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return page{items: list, page: one, pages: one}, nil
	}
	var envelope struct {
		Items *[]json.RawMessage `json:"items"`
		Total number             `json:"total"`
		Page  number             `json:"page"`
		Pages number             `json:"pages"`
	}
	envelope.Page, envelope.Pages = one, one
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return page{}, err
	}
	if envelope.Items == nil {
		return page{}, errors.New("it has no items")
	}
	return page{*envelope.Items, envelope.Total, envelope.Page, envelope.Pages}, nil
}

func planID(raw json.RawMessage) string {
	var only struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &only) != nil || checkID("plan", only.ID) != nil {
		return ""
	}
	return only.ID
}

// plan reads one forfait, numbers however they are written.
func (r *RGZ) plan(id string, raw json.RawMessage) (zonegate.Plan, error) {
	var f struct {
		Name  string `json:"name"`
		Price number `json:"price_fcfa"`
		Hours number `json:"duration_hours"`
		Cap   number `json:"data_limit_mb"`
		CIR   number `json:"cir_kbps"`
		MIR   number `json:"mir_kbps"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return zonegate.Plan{}, fmt.Errorf("plan %s: %w", id, err)
	}
	for _, v := range []struct {
		name     string
		n        number
		most     int64
		required bool
	}{
		{"price_fcfa", f.Price, maxPrice, true}, {"duration_hours", f.Hours, maxHours, true},
		{"data_limit_mb", f.Cap, maxMB, false}, {"cir_kbps", f.CIR, maxKbps, true}, {"mir_kbps", f.MIR, maxKbps, true},
	} {
		switch {
		case v.required && !v.n.set:
			return zonegate.Plan{}, fmt.Errorf("plan %s: %s is missing", id, v.name)
		case v.n.n < 0 || v.n.n > v.most:
			return zonegate.Plan{}, fmt.Errorf("plan %s: %s is %d, which makes no sense", id, v.name, v.n.n)
		}
	}
	name := strings.TrimSpace(f.Name)
	if name == "" {
		return zonegate.Plan{}, fmt.Errorf("plan %s: it has no name", id)
	}
	if err := checkText("the name", name, maxName); err != nil {
		return zonegate.Plan{}, fmt.Errorf("plan %s: %w", id, err)
	}
	currency, megabyte := r.Currency, r.Megabyte
	if currency == "" {
		currency = "XOF"
	}
	if megabyte == 0 {
		megabyte = megabyteSI
	}
	cir, mir := uint64(f.CIR.n)*1000, uint64(f.MIR.n)*1000
	p := zonegate.Plan{
		ID: id, Name: name, Price: zonegate.Money{Amount: f.Price.n, Currency: currency},
		Duration: time.Duration(f.Hours.n) * time.Hour, DataCap: uint64(f.Cap.n) * megabyte,
		Rate:       zonegate.Rate{CIRUp: cir, CIRDown: cir, MIRUp: mir, MIRDown: mir},
		DevicesMax: 1,
	}
	return p, p.Validate()
}

// A number is a whole number as some servers write it: 500, 500.0, "500". Null
// and "" are none.
type number struct {
	n   int64
	set bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		text = strings.TrimSpace(text)
	}
	if text == "null" || text == "" {
		*n = number{}
		return nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	v, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0") != "" {
		return fmt.Errorf("%.20q is no whole number", text)
	}
	*n = number{v, true}
	return nil
}
