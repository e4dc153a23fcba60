package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zonegate"
	"zonegate/internal/control"
	"zonegate/radius/nas"
)

// findings collects what a test says.
type findings []control.Finding

func (f *findings) add(severity, subject, fix, format string, args ...any) {
	*f = append(*f, control.Finding{Severity: severity, Subject: subject, Detail: fmt.Sprintf(format, args...), Fix: fix})
}

func (f *findings) good(subject, format string, args ...any) {
	f.add("info", subject, "", format, args...)
}

func (f *findings) odd(subject, fix, format string, args ...any) {
	f.add("warning", subject, fix, format, args...)
}

func (f *findings) bad(subject, fix, format string, args ...any) {
	f.add("error", subject, fix, format, args...)
}

// A nasTest is what a test of a NAS looks at.
type nasTest struct {
	nas nas.NAS
	// seen is the NAS as it is shown, all what is known of the server.
	seen    control.NAS
	all     control.NASes
	enabled bool
	plans   []zonegate.Plan
	failed  failedErrands
	// probe asks the NAS for a sign of life over CoA.
	probe func(context.Context) error
}

// failedErrands are those that a NAS did not take.
type failedErrands struct{ ends, changes int }

func (t *nasTest) run(ctx context.Context) findings {
	var f findings
	t.server(&f)
	t.secret(&f)
	if t.packets(&f) {
		t.signatures(&f)
		t.accounting(&f)
	}
	t.overshoot(&f)
	t.coa(ctx, &f)
	t.errands(&f)
	return f
}

func (t *nasTest) server(f *findings) {
	switch {
	case !t.enabled:
		f.bad("server", "remove enabled = false under [radius], and restart", "it is switched off")
	case t.all.Problem != "":
		f.bad("server", "stop what has the port (another RADIUS server?), or set radius.auth_port and radius.acct_port", "%s", t.all.Problem)
	case len(t.all.Listening) == 0:
		f.bad("server", "give this machine an address of radius.listen or on its LAN; ip addr shows them", "it listens nowhere: this machine has none of its addresses")
	default:
		f.good("server", "listens at %s", strings.Join(t.all.Listening, ", "))
	}
}

func (t *nasTest) secret(f *findings) {
	if err := t.nas.Secret.Weak(); err != nil {
		f.odd("secret", fmt.Sprintf("nas remove %s, add it again without --secret-file, and put the drawn secret into it", t.nas.Name), "%v", err)
	}
}

// wrongSecret counts packets that another secret has made.
func (t *nasTest) wrongSecret() uint64 {
	p := t.seen.Packets
	return p["wrong_message_authenticator"] + p["wrong_authenticator"]
}

// packets says whether good ones come, and reports whether any do.
func (t *nasTest) packets(f *findings) bool {
	p, good := t.seen.Packets, goodPackets(t.seen.Packets)
	switch {
	case p["received"] == 0:
		fix := "in the NAS, set the RADIUS server to an address and port of the line above; let its firewall and ours pass UDP"
		if n := t.all.Packets["unknown_nas"]; n > 0 {
			fix = fmt.Sprintf("%d packets came from addresses that are not in the book, the log names them: is one of them this NAS? then add it with that address", n)
		}
		f.odd("packets", fix, "none has come from %s since the daemon started", t.seen.Address)
	case t.wrongSecret() > 0 && good == 0:
		f.bad("packets", "put the same secret into the NAS, or nas remove and nas add with its secret in --secret-file",
			"%d came, made with another secret", t.wrongSecret())
	case t.wrongSecret() > 0:
		f.odd("packets", "see that all RADIUS settings of the NAS have the same secret, and that no other machine uses its address",
			"%d were made with another secret", t.wrongSecret())
	case good == 0 && p["wrong_port"] > 0:
		f.bad("packets", "set the NAS's ports: logins and accounting are the other way round", "%d came to the wrong port", p["wrong_port"])
	case good == 0 && p["unsigned"] == 0 && p["unsigned_proxy_state"] == 0:
		f.bad("packets", "look at the counters: zonegate nas list", "%d came and none was good", p["received"])
	case p["overload"] > 0:
		f.odd("packets", "look whether the flash has become slow, and who asks so often", "%d found no room", p["overload"])
	case p["no_answer"] > 0 && p["no_answer"] >= good/20:
		f.odd("packets", "look at the daemon's log and at zonegate status", "%d of %d could not be answered", p["no_answer"], good)
	default:
		f.good("packets", "%d good ones, the last %s", good, ago(t.seen.Seen))
	}
	return p["received"] > 0
}

// ago says roughly how long something is past.
func ago(t *time.Time) string {
	if t == nil {
		return "just now"
	}
	return time.Since(*t).Round(time.Second).String() + " ago"
}

func (t *nasTest) signatures(f *findings) {
	p := t.seen.Packets
	const turnOn = "turn Message-Authenticator on in the NAS (RouterOS: require-message-auth=yes-for-request-resp)"
	switch {
	case p["unsigned"] > 0:
		f.bad("signature", turnOn+", or add it again with --require-message-auth no",
			"%d logins without a Message-Authenticator were dropped", p["unsigned"])
	case p["unsigned_proxy_state"] > 0:
		f.bad("signature", turnOn+", also in the proxy before it", "%d logins through a proxy without a Message-Authenticator were dropped", p["unsigned_proxy_state"])
	case p["access_requests"] == 0:
	case t.nas.MustSign():
		f.good("signature", "every login must have one")
	case t.nas.RequireMA == nas.RequireNo:
		f.odd("signature", turnOn+", and add it again without --require-message-auth no", "none is asked for: on the way a refusal can be made an acceptance (CVE-2024-3596)")
	case !t.nas.Single():
		f.odd("signature", "if all its machines sign, add it again with --require-message-auth yes", "a range of machines is never remembered to sign")
	default:
		f.odd("signature", turnOn, "its logins have none: on the way a refusal can be made an acceptance (CVE-2024-3596)")
	}
}

func (t *nasTest) accounting(f *findings) {
	p := t.seen.Packets
	switch {
	case p["accounting_requests"] > 0:
		f.good("accounting", "%d reports", p["accounting_requests"])
	case p["access_accepts"] > 0:
		f.bad("accounting", "turn accounting on in the NAS, at the accounting port of the server with the same secret",
			"it has let %d in and reports nothing: no usage is counted", p["access_accepts"])
	}
}

// capped says that a make stops a session at its data cap by itself.
func capped(v nas.Vendor) bool {
	switch v {
	case nas.MikroTik, nas.CoovaChilli, nas.Uspot, nas.PfSense:
		return true
	}
	return false
}

// overshoot says how much can pass above a cap.
func (t *nasTest) overshoot(f *findings) {
	if capped(t.nas.Vendor) {
		return
	}
	interval := t.nas.InterimOrDefault()
	var most uint64
	some := false
	for _, p := range t.plans {
		if p.DataCap == 0 {
			continue
		}
		some = true
		if p.Rate.MIRDown == 0 {
			f.odd("caps", "give capped plans a mir_kbps; --interim 60s keeps it short", "it does not stop at a cap by itself: all that passes in %s can be above it", interval)
			return
		}
		most = max(most, p.Rate.MIRDown/8*uint64(interval/time.Second))
	}
	if some {
		detail := fmt.Sprintf("it does not stop at a cap by itself: up to %.0f MB of downloads can pass above one in %s", float64(most)/1e6, interval)
		if interval > nas.MinInterim {
			f.odd("caps", "add it again with --interim 60s, which makes that less", "%s", detail)
		} else {
			f.good("caps", "%s", detail)
		}
	}
}

// errands says what the NAS should have done and perhaps did not.
func (t *nasTest) errands(f *findings) {
	const fix = "end them on the NAS itself; turn CoA on, see above, and its next report tries again"
	if n := t.failed.ends; n > 0 {
		f.bad("sessions", fix, "%d that should have ended may go on", n)
	}
	if n := t.failed.changes; n > 0 {
		f.odd("changes", fix, "%d sessions go on with their former limits", n)
	}
}

// coaFixes say how to turn it on.
var coaFixes = map[nas.Vendor]string{
	nas.MikroTik:    "/radius incoming set accept=yes port=3799",
	nas.CoovaChilli: "HS_COAPORT=3799 in its configuration, and HS_RADIUS the address of this machine",
	nas.Uspot:       "option das_secret with the same secret in /etc/config/uspot",
	nas.Hostapd:     "radius_das_port=3799 and radius_das_client with our address and the secret in hostapd.conf",
}

func (t *nasTest) coa(ctx context.Context, f *findings) {
	port, ok := t.nas.CanBeTold()
	switch {
	case t.nas.Vendor.Profile().Polled:
		f.good("CoA", "it takes none; it must ask again for connected users every minute")
		return
	case !ok && capped(t.nas.Vendor):
		f.odd("CoA", "turn it on in the NAS, and add it again without --no-coa", "it is off: a revoked or ended grant stays online until the session ends by itself")
		return
	case !ok:
		f.bad("CoA", "turn it on in the NAS, and add it again without --no-coa", "it is off, and the NAS knows no cap: nothing ends a session whose data is used up")
		return
	case !t.nas.Single():
		f.good("CoA", "port %d at each of its machines", port)
		return
	}
	if err := t.probe(ctx); err != nil {
		fix := coaFixes[t.nas.Vendor]
		if fix == "" {
			fix = "turn on dynamic authorisation (RFC 5176) in the NAS, with the same secret, or set --coa-port"
		}
		f.odd("CoA", fix, "port %d: %v", port, err)
		return
	}
	f.good("CoA", "port %d answers", port)
}
