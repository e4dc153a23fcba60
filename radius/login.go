package radius

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"zonegate"
	"zonegate/radius/nas"
	"zonegate/radius/wire"
)

// access answers a login. A refusal is given at once: who waits (FreeRADIUS
// does, for a second) is given up by a RouterOS that listens for 300 ms, and
// its customer never reads why. Guessing is limited by the Gate instead, per
// device and per code.
func (t *translator) access(ctx context.Context, r *request) (wire.Reply, bool) {
	p := r.packet
	if p.EAP() {
		t.count(countEAP)
		if t.quietSetUp.may() {
			t.log.Warn("a NAS asks for WPA-Enterprise; use an open network with a sign-in page", "nas", r.nas.Name, "from", r.from.Addr())
		}
		return p.RefuseEAP(), true
	}
	a := &attempt{Proof: p.Proof(r.nas.Secret), request: r}
	device, ok := deviceOf(p)
	switch a.Method {
	case wire.NoPassword, wire.PAP, wire.CHAP, wire.MSCHAPv2:
	default:
		return t.misconfigured(a, textMethod)
	}
	if !ok {
		if _, there := p.Value(wire.CallingStationID); there {
			return t.misconfigured(a, textBadDevice)
		}
		return t.misconfigured(a, textNoDevice)
	}
	login := zonegate.Login{NAS: r.nas.Path(r.from.Addr()), Device: device}
	user := p.Text(wire.UserName)
	switch {
	case isTicket(user):
		return t.ticketLogin(ctx, a, user, login)
	case isDeviceLogin(p, user, device):
		// The address is all the proof there is: the password that NASes send
		// with it is the address again, nothing, or one word for all. So the
		// device gets only what is its own already.
		if a.Method == wire.MSCHAPv2 && !a.proves(user) && !a.proves("") {
			// Its success needs the password, and that is the NAS's own word.
			return t.misconfigured(a, textMethod)
		}
	case isOtherDevice(user):
		return t.misconfigured(a, textOtherMAC)
	case zonegate.NormalizeCode(user) == "":
		return t.reject(a, textEmpty.in(t.language))
	case !typable(user):
		return t.refused(a, zonegate.ErrWrongCode)
	default:
		login.Code, login.Proves = user, a.provesCode
	}
	admission, err := t.gate.Admit(ctx, login)
	return t.decided(a, admission, err)
}

// quick answers what most logins of a busy zone are: phones that are in already
// and come back.
func (t *translator) quick(r *request) (wire.Reply, bool) {
	p := r.packet
	a := attempt{Proof: p.Proof(r.nas.Secret), request: r}
	switch a.Method {
	case wire.NoPassword, wire.PAP, wire.CHAP:
	default:
		return wire.Reply{}, false
	}
	device, ok := deviceOf(p)
	user := p.Text(wire.UserName)
	if !ok || isTicket(user) {
		return wire.Reply{}, false
	}
	login := zonegate.Login{NAS: r.nas.Path(r.from.Addr()), Device: device}
	if !isDeviceLogin(p, user, device) {
		if isOtherDevice(user) || user == "" || zonegate.NormalizeCode(user) == "" {
			return wire.Reply{}, false
		}
		login.Code, login.Proves = user, a.provesCode
	}
	admission, ok := t.gate.Readmit(login)
	if !ok {
		return wire.Reply{}, false
	}
	return wire.Reply{Code: wire.AccessAccept, Attributes: t.terms(r.nas, admission)}, true
}

// ticketLogin is a customer whom the portal sent: the grant is known, the
// password is good once.
func (t *translator) ticketLogin(ctx context.Context, a *attempt, user string, login zonegate.Login) (wire.Reply, bool) {
	k, ok := t.tickets.take(user, a.request.nas.Name, login.Device, a.proves)
	if !ok {
		return t.reject(a, textTicket.in(t.language))
	}
	login.Grant = k.grant
	admission, err := t.gate.Admit(ctx, login)
	if err != nil {
		if _, answer := t.language.refuse(err); !answer {
			t.tickets.giveBack(k)
		}
	}
	return t.decided(a, admission, err)
}

// decided turns the Gate's decision into an answer, or into none: see
// [unanswered].
func (t *translator) decided(a *attempt, admission zonegate.Admission, err error) (wire.Reply, bool) {
	if err != nil {
		return t.refused(a, err)
	}
	return wire.Reply{
		Code:       wire.AccessAccept,
		Attributes: append(t.terms(a.request.nas, admission), a.Success(a.proved)...),
	}, true
}

// terms is what a NAS must enforce, in its own words.
func (t *translator) terms(n nas.NAS, a zonegate.Admission) []wire.Attribute {
	interim := n.InterimOrDefault()
	if n.Interim == 0 && t.interim != 0 {
		interim = t.interim
	}
	return n.Vendor.Accept(a, nas.Settings{Interim: interim, Idle: t.idle, Class: classPrefix + a.Token})
}

func (t *translator) refused(a *attempt, err error) (wire.Reply, bool) {
	says, ok := t.language.refuse(err)
	if !ok {
		t.fault(a.request, err)
		return t.silent(countNotDecided)
	}
	t.log.Debug("a login is refused", "nas", a.request.nas.Name, "method", a.Method.String(), "error", err)
	return t.reject(a, says)
}

// misconfigured rejects what no customer can do better. The reseller finds the
// reason in the NAS's log and in ours.
func (t *translator) misconfigured(a *attempt, says text) (wire.Reply, bool) {
	t.complain(a.request, says)
	return t.reject(a, says.in(t.language))
}

func (t *translator) reject(a *attempt, says string) (wire.Reply, bool) {
	return wire.Reply{
		Code:       wire.AccessReject,
		Attributes: append([]wire.Attribute{wire.Text(wire.ReplyMessage, says)}, a.Failure(says)...),
	}, true
}

// An attempt is one login with what it brings for a proof.
type attempt struct {
	wire.Proof
	request *request
	// proved is the password that was found to be right.
	proved string
}

// proves checks one password, in a time that does not depend on where it is
// wrong. RFC 2865 section 4.1 wants a password in every request, but there are
// NASes, and FreeRADIUS's client, that leave out an empty one: none at all is
// an empty one, and opens what an empty one opens.
func (a *attempt) proves(password string) bool {
	if !a.Proves(password) && (a.Method != wire.NoPassword || password != "") {
		return false
	}
	a.proved = password
	return true
}

// provesCode is proves for a login with a code. The code is the user name, in
// clear, so it is no secret when it comes again as the password; PAP shows
// whether it was only typed in another way, CHAP and MS-CHAP hide that.
func (a *attempt) provesCode(password string) bool {
	if a.proves(password) {
		return true
	}
	code := zonegate.NormalizeCode(a.request.packet.Text(wire.UserName))
	typed, clear := a.Clear()
	return clear && password == code && zonegate.NormalizeCode(typed) == code
}

// deviceOf returns the customer's device: Calling-Station-Id, which some NASes
// follow by the name of the network (RFC 3580 section 3.21). Without it a login
// cannot be bound to anything.
func deviceOf(p *wire.Packet) (zonegate.MAC, bool) {
	m, _, ok := wire.ParseStation(p.Text(wire.CallingStationID))
	return m, ok
}

// isDeviceLogin says that a NAS asks for a device, not for a customer who typed
// something: the user name is the device's address in any spelling, perhaps
// with a suffix (CoovaChilli's macsuffix), or it is a Call-Check (RFC 2865
// section 5.6).
func isDeviceLogin(p *wire.Packet, user string, device zonegate.MAC) bool {
	if s, ok := p.Uint32(wire.ServiceType); ok && s == wire.ServiceCallCheck {
		return true
	}
	for _, n := range []int{17, 14, 13, 12} {
		if len(user) < n {
			continue
		}
		if m, ok := wire.ParseMAC(user[:n]); ok && m == device {
			return true
		}
	}
	return false
}

// isOtherDevice says that a user name is the address of a device that does not
// ask. It is no code and no guess of the customer. Groups of four or six and no
// groups at all are not looked at: codes are printed like that.
func isOtherDevice(user string) bool {
	_, ok := wire.ParseMAC(user)
	return ok && (len(user) == 17 || strings.IndexByte(user, '.') >= 0)
}

// typable says that somebody can have typed it: text without control
// characters.
func typable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
