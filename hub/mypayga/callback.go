package mypayga

import (
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"

	"zonegate/hub"
	"zonegate/hub/provider"
)

// signed are the fields that a callback's hash is made of, in this order and
// with nothing between them.
var signed = []string{"order_status", "unique_id", "amount", "payment_token", "payment_method", "message", "client_phone"}

// ReadCallback implements hub.CallbackReader. The document does not say what is
// in it; the fields are those of the newer API, sent with POST or GET. With a
// CallbackSecret the hash must be theirs; it proves nothing more than who is
// talking, and the payment is looked up either way.
func (c *Client) ReadCallback(header, query map[string][]string, body []byte) (hub.Hint, error) {
	in, err := provider.Callback(header, query, body)
	if err != nil {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: %w", c.o.Name, err)
	}
	if c.o.CallbackSecret != nil {
		key := c.o.CallbackSecret()
		mac := hmac.New(sha512.New, []byte(key))
		for _, name := range signed {
			mac.Write([]byte(in.Exact(name)))
		}
		want := hex.EncodeToString(mac.Sum(nil))
		if key == "" || subtle.ConstantTimeCompare([]byte(strings.ToLower(in.Text("hash"))), []byte(want)) != 1 {
			return hub.Hint{}, fmt.Errorf("reading a callback of %s: %w", c.o.Name, hub.ErrUnauthorized)
		}
	}
	h := hub.Hint{Reference: in.Text("unique_id", "uniqueID", "mpga_uniqueId", "merchand_ref"), ProviderRef: in.Text("payment_token", "payment_ref"),
		Raw: provider.CallbackRaw(query, body, c.o.Secret())}
	if h.Reference == "" && h.ProviderRef == "" {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: it has no reference and no token", c.o.Name)
	}
	return h, nil
}
