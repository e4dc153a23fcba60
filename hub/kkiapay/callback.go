package kkiapay

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"zonegate/hub"
	"zonegate/hub/provider"
)

// secretHeader is what the webhook shows who it is with.
var secretHeader = http.CanonicalHeaderKey("x-kkiapay-secret")

// ReadCallback implements hub.CallbackReader for the webhook, and for the
// browser that KKiaPay sends back to the return address: that one has no
// secret, and no more than two names in its query, which anybody may write.
// Both are hints: what the transaction itself says of its reference and amount
// decides.
func (c *Client) ReadCallback(header, query map[string][]string, body []byte) (hub.Hint, error) {
	if len(header[secretHeader]) == 0 && len(body) == 0 {
		if h := returned(query); h.ProviderRef != "" && h.Reference != "" {
			return h, nil
		}
	}
	if !c.authentic(header[secretHeader], body) {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: %w", c.o.Name, hub.ErrUnauthorized)
	}
	in, err := provider.ParseObject(body)
	if err != nil {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: %w", c.o.Name, err)
	}
	h := hub.Hint{Reference: referenceIn(in), ProviderRef: in.Text("transactionId", "transaction_id"),
		Raw: provider.Redact(string(body), c.o.WebhookSecret(), c.o.Private(), c.o.Secret())}
	if h.ProviderRef == "" {
		return hub.Hint{}, fmt.Errorf("reading a callback of %s: it has no transactionId", c.o.Name)
	}
	return h, nil
}

// authentic compares in constant time.
func (c *Client) authentic(shown []string, body []byte) bool {
	want := c.o.WebhookSecret()
	if len(shown) != 1 || want == "" {
		return false
	}
	got := shown[0]
	if c.o.WebhookHMAC {
		mac := hmac.New(sha256.New, []byte(want))
		mac.Write(body)
		want, got = hex.EncodeToString(mac.Sum(nil)), strings.ToLower(got)
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// returned reads the query of a browser that comes back: ours has the
// reference, KKiaPay appends transaction_id, with a second question mark if it
// sees no query.
func returned(query map[string][]string) hub.Hint {
	one := func(name string) string {
		if vs := query[name]; len(vs) == 1 {
			return provider.Clean(vs[0])
		}
		return ""
	}
	h := hub.Hint{Reference: one("reference"), ProviderRef: one("transaction_id"), Raw: provider.CallbackRaw(query, nil)}
	if ref, rest, found := strings.Cut(h.Reference, "?"); found {
		h.Reference = ref
		if id, ok := strings.CutPrefix(rest, "transaction_id="); ok && h.ProviderRef == "" {
			h.ProviderRef = id
		}
	}
	return h
}

// referenceIn finds our reference in a transaction: in the data that we gave,
// which come back as an object, as JSON in a string, or encoded once more; or
// as the partner's id.
func referenceIn(in provider.Object) string {
	for _, name := range []string{"stateData", "state", "data"} {
		if o, ok := in.Object(name); ok {
			if ref := o.Text("reference"); ref != "" {
				return ref
			}
			continue
		}
		if ref := unpack(in.Exact(name)); ref != "" {
			return ref
		}
	}
	return in.Text("partnerId")
}

// maxPacked is how often data may be encoded.
const maxPacked = 4

func unpack(text string) string {
	for range maxPacked {
		if o, err := provider.ParseObject([]byte(text)); err == nil {
			return o.Text("reference")
		}
		var in string
		if json.Unmarshal([]byte(text), &in) != nil {
			return ""
		}
		text = in
	}
	return ""
}
