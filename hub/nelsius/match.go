package nelsius

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"zonegate/hub"
	"zonegate/hub/provider"
)

const (
	pageSize = 100
	maxPages = 20
	// A withdrawal is ours if it was made this much before or after we asked:
	// clocks differ, and calls take their time.
	early = 5 * time.Minute
	late  = 10 * time.Minute
)

// page is one of the list, newest first, and whether there are more.
func (c *Client) page(ctx context.Context, n, size int) ([]provider.Object, bool, error) {
	q := url.Values{"per_page": {strconv.Itoa(size)}, "page": {strconv.Itoa(n)}}
	a, err := c.call(ctx, "listing withdrawals", http.MethodGet, q, nil, "withdrawals")
	if err != nil {
		return nil, false, err
	}
	if !a.ok() || !a.data.Has("data") {
		return nil, false, fmt.Errorf("%w: listing withdrawals: the list cannot be read", hub.ErrAmbiguous)
	}
	last, err := strconv.Atoi(a.data.Text("last_page"))
	return a.data.List("data"), err == nil && n < last, nil
}

// lastID is the number of the newest withdrawal; 0 if there is none.
func (c *Client) lastID(ctx context.Context) (int64, error) {
	items, _, err := c.page(ctx, 1, 1)
	if err != nil || len(items) == 0 {
		return 0, err
	}
	return number(items[0]), nil
}

func number(item provider.Object) int64 {
	n, _ := strconv.ParseInt(id(item, "id", "withdrawal_id"), 10, 64)
	return n
}

// match finds the withdrawal of an order whose answer was lost: the only one
// with a higher number than after, of the same amount, number and operator, made
// when it was asked for. ErrNotFound for none; two that fit are ErrAmbiguous.
func (c *Client) match(ctx context.Context, o hub.PayoutOrder, after int64) (hub.PayoutObservation, error) {
	var found []provider.Object
	for n := 1; n <= maxPages; n++ {
		items, more, err := c.page(ctx, n, pageSize)
		if err != nil {
			return hub.PayoutObservation{}, err
		}
		old := false
		for _, item := range items {
			made := timeOf(item, "created_at")
			old = old || !made.IsZero() && made.Before(o.Made.Add(-early))
			if number(item) > after && amountOf(item) == o.Amount && phoneOf(item) == o.Phone && item.Text("operator") == o.Operator &&
				!made.Before(o.Made.Add(-early)) && !made.After(o.Made.Add(late)) {
				found = append(found, item)
			}
		}
		if old || !more {
			break
		}
	}
	switch len(found) {
	case 0:
		return hub.PayoutObservation{}, hub.ErrNotFound
	case 1:
		return observed(found[0], ""), nil
	}
	return hub.PayoutObservation{}, fmt.Errorf("%w: %d withdrawals in the list of %s fit", hub.ErrAmbiguous, len(found), c.o.Name)
}
