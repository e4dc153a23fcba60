package api

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kinds of a Push, each with the type of its body.
const (
	KindPlan         = "plan.set"        // PlanSet
	KindPlanGone     = "plan.withdrawn"  // PlanWithdrawn
	KindBatch        = "batch.issued"    // BatchIssued
	KindBatchRevoked = "batch.revoked"   // BatchRevoked
	KindGrant        = "grant.issued"    // GrantIssued
	KindGrantRevoked = "grant.revoked"   // GrantRevoked
	KindRevoked      = "gateway.revoked" // GatewayRevoked
	KindBrand        = "portal.brand"    // Brand
	KindGarden       = "garden.set"      // Garden; on trial
	KindLink         = "link.set"        // Link; on trial
	KindMessage      = "message.set"     // Message
)

// A Push is one change that the hub wants made. Seq only grows; a gateway
// takes each once, in order.
type Push struct {
	Seq uint64 `json:"seq"`
	// Site is whom it is for; "*" is every site.
	Site string    `json:"site"`
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
	Body Raw       `json:"body"`
}

// A Signed is a push as it travels: the octets that were signed, and the
// hub's Ed25519 signature over "zonegate push 1\n" and them (RFC 8032). The
// push is never encoded again, so there is no canonical form to disagree on.
type Signed struct {
	Payload   []byte `json:"payload"`   // base64 of the JSON of a Push
	Signature []byte `json:"signature"` // base64
}

// Pushes are a page of the event stream for gateways that poll.
type Pushes struct {
	Items []Signed `json:"items"`
	Head  uint64   `json:"head"`
}

const pushDomain = "zonegate push 1\n"

// Sign makes a push travel.
func Sign(key ed25519.PrivateKey, p Push) (Signed, error) {
	payload, err := json.Marshal(p)
	if err != nil {
		return Signed{}, fmt.Errorf("encoding a push: %w", err)
	}
	return Signed{payload, ed25519.Sign(key, append([]byte(pushDomain), payload...))}, nil
}

// ErrForged is a push that the hub did not sign, or that is for another site.
var ErrForged = errors.New("the push was not signed by the hub for this site")

// Open checks who signed a push and whom it is for.
func (s Signed) Open(key ed25519.PublicKey, site string) (Push, error) {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append([]byte(pushDomain), s.Payload...), s.Signature) {
		return Push{}, ErrForged
	}
	var p Push
	if err := json.Unmarshal(s.Payload, &p); err != nil {
		return Push{}, fmt.Errorf("reading a push: %w", err)
	}
	if p.Site != "*" && p.Site != site {
		return Push{}, ErrForged
	}
	return p, nil
}

// ParseKey reads a public key of an Enrolled.
func ParseKey(s string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("the hub's key must be 32 octets in base64")
	}
	return b, nil
}

// Bodies of pushes.
type (
	// A PlanSet puts a version of a plan on sale. Running says that grants of
	// it that are not finished go over to it too, without being cut.
	PlanSet struct {
		Plan    Plan `json:"plan"`
		Running bool `json:"running,omitempty"`
	}

	// A PlanWithdrawn takes a plan off sale. What was bought keeps its value.
	PlanWithdrawn struct {
		ID      string `json:"id"`
		Version uint32 `json:"version"` // of the withdrawn state
	}

	// A BatchIssued makes codes valid: all of a batch, or one part of it. The
	// keys are VoucherKeys under the site's CodeKey (16 octets, base64 each).
	BatchIssued struct {
		Batch   string     `json:"batch"`
		Plan    Plan       `json:"plan"`
		Expires *time.Time `json:"expires,omitempty"`
		Keys    [][]byte   `json:"keys"`
	}

	// A BatchRevoked makes the unused codes of a batch worthless.
	BatchRevoked struct {
		Batch  string `json:"batch"`
		Reason string `json:"reason,omitempty"`
	}

	// A GrantIssued is a purchase. With a Device it is that device's at once;
	// otherwise its Key (the VoucherKey of a claim code) redeems it. With an
	// Intent it was paid for by a payment of this gateway.
	GrantIssued struct {
		Grant   string     `json:"grant"` // the hub's id of it
		Intent  string     `json:"intent,omitempty"`
		Plan    Plan       `json:"plan"`
		Device  string     `json:"device,omitempty"`
		Key     []byte     `json:"key,omitempty"`
		Expires *time.Time `json:"expires,omitempty"` // activate before
	}

	// A GrantRevoked ends a grant of the hub's.
	GrantRevoked struct {
		Grant  string `json:"grant"`
		Reason string `json:"reason,omitempty"`
	}

	// A GatewayRevoked takes the gateway off the hub. Running grants are
	// honoured; nothing of the hub's is sold any more.
	GatewayRevoked struct {
		Reason string `json:"reason,omitempty"`
	}

	// A Brand is how the portal looks. Empty fields are those of the
	// gateway's configuration.
	Brand struct {
		Name     string `json:"name,omitempty"`
		Contact  string `json:"contact,omitempty"`
		Language string `json:"language,omitempty"`
	}

	// A Garden is what strangers may reach; names as in the configuration.
	Garden struct {
		Domains []string `json:"domains"`
	}

	// A Link is what the uplink gives, in bit/s.
	Link struct {
		Down uint64 `json:"down"`
		Up   uint64 `json:"up"`
	}

	// A Message is shown on the portal until it is replaced by an empty one.
	Message struct {
		FR string `json:"fr"`
		EN string `json:"en"`
	}
)

// Outcomes of an Ack.
const (
	Applied    = "applied"
	Refused    = "refused"
	RolledBack = "rolled_back" // applied, and taken back because the gateway lost the hub or its health
)

// An Ack says what became of a push.
type Ack struct {
	Seq     uint64 `json:"seq"`
	Outcome string `json:"outcome"`
	// Reason is for people; empty if applied.
	Reason string `json:"reason,omitempty"`
	// Have is the version of the plan that the gateway has, where the push had
	// an older one.
	Have uint32 `json:"have,omitempty"`
}

// Acks are sent when the changes are durable on the gateway.
type Acks struct {
	Instance string `json:"instance"`
	Acks     []Ack  `json:"acks"`
}
