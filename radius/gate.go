package radius

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"zonegate"
	"zonegate/radius/wire"
)

// A Gate takes the decisions; *zonegate.Gate is one. Its methods are called
// concurrently.
type Gate interface {
	// Readmit answers a login for a session that is there, if that needs no
	// decision, and never waits.
	Readmit(zonegate.Login) (zonegate.Admission, bool)
	// Admit decides about a login, at once.
	Admit(context.Context, zonegate.Login) (zonegate.Admission, error)
	// Report takes accounting. It returns when the report may be answered.
	Report(context.Context, zonegate.Report) error
	// Restarted says that a data path began anew, or went down, that long ago.
	Restarted(ctx context.Context, nas string, ago time.Duration) error
	// GrantOf returns the grant that an Admission's Token names.
	GrantOf(token string) (zonegate.GrantID, bool)
}

// A Witness is told of each report that the Gate has taken: by it a NAS shows
// whether what it was told has had its effect. Seen never blocks and is called
// concurrently.
type Witness interface {
	Seen(zonegate.Report)
}

// What the responder counts, beside what the transport drops. The names are
// stable: counters and documents use them.
const (
	// Not answered.
	countNoStatus    = "no_acct_status_type"
	countNoSession   = "no_acct_session_id"
	countNoIdentity  = "no_nas_identity"
	countNotRecorded = "not_recorded"
	countNotDecided  = "not_decided"
	// Answered.
	countMisconfigured = "misconfigured"
	countEAP           = "eap_refused"
	countForeign       = "foreign_session"
	countOtherStatus   = "other_acct_status_type"
)

// A translator is the responder that turns packets into calls of the Gate and
// its decisions into replies. It keeps nothing of its own.
type translator struct {
	gate    Gate
	tickets *Tickets
	// witness may be nil.
	witness  Witness
	language Language
	// strict has interims written down before they are answered, at every NAS.
	strict bool
	// interim is what NASes are asked for whose entry does not say. idle ends
	// a session that moves nothing; zero leaves that to the NAS.
	interim, idle time.Duration
	log           *slog.Logger
	// count counts one of the names above.
	count func(name string)
	// What is wrong with a NAS must not hide what is wrong with us.
	quietFault, quietSetUp quiet
}

// silent counts a request that is not answered.
func (t *translator) silent(name string) (wire.Reply, bool) {
	t.count(name)
	return wire.Reply{}, false
}

// fault says what is wrong with us. What the Gate says itself, or what only
// means that it is late or at its end, is not said again.
func (t *translator) fault(r *request, err error) {
	if !unanswered(err) && t.quietFault.may() {
		t.log.Error("a request could not be decided and is not answered", "nas", r.nas.Name, "from", r.from.Addr(), "error", err)
	}
}

// complain says what is wrong with the set-up of a NAS.
func (t *translator) complain(r *request, what text) {
	t.count(countMisconfigured)
	if t.quietSetUp.may() {
		t.log.Warn("a NAS asks in a way that cannot be answered", "nas", r.nas.Name, "from", r.from.Addr(), "reason", what.english)
	}
}

// unanswered says that an error is about us and not about the customer: the
// storage cannot be written, the gate stops, or the time is over. Then there is
// no answer at all. A NAS with a second server asks that one; an Access-Reject
// would stop it from doing so, would be taken for a verdict by a NAS that asks
// again for live sessions (pfSense would cut a customer who has paid), and
// would be repeated by the duplicate cache. It is also what RFC 5997 section
// 4.2 has a server do that cannot serve, so Status-Server and this say the same.
func unanswered(err error) bool {
	for _, e := range []error{zonegate.ErrNotDurable, zonegate.ErrStopped, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// quiet lets one line a minute through: whatever is wrong with one request is
// wrong with the thousands after it, and the counters have them all.
type quiet struct{ next atomic.Int64 }

var started = time.Now()

func (q *quiet) may() bool {
	now := int64(time.Since(started))
	next := q.next.Load()
	return now >= next && q.next.CompareAndSwap(next, now+int64(time.Minute))
}
