package zonegate

import "time"

// A data path that is another machine (a network access server, NAS) is asked
// for and reports by itself: it sends logins to [Gate.Admit] and usage to
// [Gate.Report], and is told what has changed through a [Dispatcher]. What it
// enforces between two reports are the [Terms] that it was given.

// Terms are what a NAS was told to enforce for one session.
type Terms struct {
	// Plan is the version whose rates apply.
	Plan PlanRef
	// Limit is how many octets, up and down together, the session may deliver
	// from its beginning: its slice of what is left of the grant. NoCap means
	// no limit.
	Limit uint64
	// Ends is the end of the grant's time on its service time.
	Ends time.Duration
}

// A Login is a device that asks a NAS to let it in.
type Login struct {
	// NAS names the data path, the Path of the session that it becomes.
	NAS    string
	Device MAC
	// Code is a voucher code as it was typed. Empty is a device that comes in
	// with what it has, after another proof of who it is. Then what it bought
	// for later is only started for a Grant.
	Code string
	// Proves says whether the customer gave a password: it is called with each
	// one that would be right. Those are none and the code again, or the
	// ticket's own where it has one. Only for a Code; nil means that no
	// password is asked.
	Proves func(password string) bool
	// Grant, when not zero, is the only one that may be used.
	Grant GrantID
}

// An Admission is what a NAS has to give to a session.
type Admission struct {
	Session Session
	Plan    Plan
	// TimeLeft is the paid time left, always more than zero.
	TimeLeft time.Duration
	// Counted is what was reported of the session so far; zero for a new one.
	Counted Octets
	// Live says that the session was there before: the NAS asks again for one
	// that it has.
	Live bool
	// Token names the grant; [Gate.GrantOf] takes it back.
	Token string
}

// OctetsLeft is what the session may deliver from now on, always more than
// zero. NoCap means no limit.
func (a Admission) OctetsLeft() uint64 {
	if a.Session.Terms.Limit == NoCap {
		return NoCap
	}
	return a.Session.Terms.Limit - min(a.Session.Terms.Limit, a.Counted.Total())
}

// A ReportKind says at which moment of a session a NAS reports.
type ReportKind uint8

// The moments of a session (Acct-Status-Type, RFC 2866 section 5.1).
const (
	ReportStart ReportKind = iota
	ReportInterim
	ReportStop
)

// A Report is what a NAS says about one of its sessions.
type Report struct {
	NAS  string
	Kind ReportKind
	// Grant is what our token in the report names; zero when it did not come
	// back. The caller has checked the token.
	Grant GrantID
	// Device is zero when the report does not say it.
	Device MAC
	// Key is the NAS's own name of the session. It may be used again after
	// the session's end.
	Key string
	// Handle is what the NAS needs to find the session again, in a form that
	// only the adapter reads.
	Handle string
	// Counted says that the report has counters at all.
	Counted bool
	// Octets is cumulative from the session's beginning.
	Octets Octets
	// Wraps says that each counter has only its low 32 bits.
	Wraps bool
	// Lasted is how long the session had lasted, to the second; zero when the
	// report does not say it. Ago is how old the report is (Acct-Delay-Time).
	Lasted, Ago time.Duration
	// Renews says that this NAS goes on with the same Key, its counters at
	// zero, after each of its stops.
	Renews bool
	// Durable asks for the report to be written down before the answer. A
	// start and a stop always are.
	Durable bool
}

// An Errand is what a NAS must be told about one session.
type Errand struct {
	// Stop means that the session must end. Otherwise it gets Terms, with the
	// rates of Plan and TimeLeft from now.
	Stop     bool
	Session  Session
	Terms    Terms
	Plan     Plan
	TimeLeft time.Duration
	// Counted is what was reported of the session so far.
	Counted Octets
}

// A Dispatcher carries errands to NASes. Dispatch never blocks: what comes of
// an errand it reports to [Gate.Told], and the next report of the session
// brings the errand again until it is done. Safe for concurrent use.
type Dispatcher interface {
	Dispatch(Errand)
}
