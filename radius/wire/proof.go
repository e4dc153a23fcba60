package wire

import (
	"crypto/md5"
	"encoding/binary"

	"layeh.com/radius"
)

// A Method is how an Access-Request proves who asks.
type Method uint8

// The methods. Only those up to MSCHAPv2 can be checked.
const (
	// NoPassword has no password of any kind, as in Call-Check requests.
	NoPassword Method = iota
	PAP
	CHAP
	MSCHAPv2
	// Unreadable is a password in a form that no RFC knows, or in two forms.
	Unreadable
	// MSCHAPv1 is not spoken: it is broken, and every NAS that has it has
	// version 2 also.
	MSCHAPv1
	// EAP is refused by [Packet.RefuseEAP].
	EAP
)

var methodNames = [...]string{NoPassword: "none", PAP: "pap", CHAP: "chap", MSCHAPv2: "mschapv2",
	Unreadable: "unreadable", MSCHAPv1: "mschapv1", EAP: "eap"}

// String is the stable name, in lower case.
func (m Method) String() string {
	if int(m) < len(methodNames) {
		return methodNames[m]
	}
	return "unknown"
}

// A Proof is what an Access-Request brings to prove that the customer knows a
// password.
type Proof struct {
	Method Method

	password []byte // PAP
	chap     []byte // CHAP-Password: identifier and MD5
	vector   []byte // the challenge of CHAP
	mschap   mschap
}

// Proof reads what the request brings. PAP without Message-Authenticator with a
// wrong secret is not noticed: it gives a password that nobody has.
func (p *Packet) Proof(secret []byte) Proof {
	pap, isPAP := p.Value(UserPassword)
	chap, isCHAP := p.Value(CHAPPassword)
	ms, isMS := p.VendorValue(Microsoft, MSCHAP2Response)
	_, isMS1 := p.VendorValue(Microsoft, MSCHAPResponse)
	unreadable := Proof{Method: Unreadable}
	switch {
	case p.eap:
		return Proof{Method: EAP}
	case isPAP && isCHAP, isPAP && isMS, isCHAP && isMS:
		return unreadable
	case isPAP:
		password, err := radius.UserPassword(pap, secret, p.Authenticator[:])
		if err != nil {
			return unreadable
		}
		return Proof{Method: PAP, password: password}
	case isCHAP:
		// RFC 2865 section 5.3: without CHAP-Challenge the Request
		// Authenticator is the challenge.
		challenge, ok := p.Value(CHAPChallenge)
		if !ok {
			challenge = p.Authenticator[:]
		}
		if len(chap) != 1+md5.Size || len(challenge) == 0 {
			return unreadable
		}
		return Proof{Method: CHAP, chap: chap, vector: challenge}
	case isMS:
		challenge, _ := p.VendorValue(Microsoft, MSCHAPChallenge)
		m, ok := newMSCHAP(challenge, ms, p.Text(UserName))
		if !ok {
			return unreadable
		}
		return Proof{Method: MSCHAPv2, mschap: m}
	case isMS1:
		return Proof{Method: MSCHAPv1}
	}
	return Proof{Method: NoPassword}
}

// Proves reports whether the customer knows this password. It is false where
// there is nothing to check: see [NoPassword].
func (q Proof) Proves(password string) bool {
	switch q.Method {
	case PAP:
		return equal(q.password, []byte(password))
	case CHAP:
		d := digesters.Get().(*digester)
		defer digesters.Put(d)
		return equal(d.md5(q.chap[:1], []byte(password), q.vector), q.chap[1:])
	case MSCHAPv2:
		return q.mschap.proves(password)
	}
	return false
}

// Clear is the password itself, which only PAP shows.
func (q Proof) Clear() (password string, ok bool) {
	return string(q.password), q.Method == PAP
}

// Success is what an Access-Accept must have for this method, given the
// password that was proved: MS-CHAP2-Success, or nothing.
func (q Proof) Success(password string) []Attribute {
	if q.Method != MSCHAPv2 {
		return nil
	}
	return []Attribute{VendorOctets(Microsoft, MSCHAP2Success, q.mschap.success(password))}
}

// Failure is what an Access-Reject must have for this method: MS-CHAP-Error
// with a message, or nothing.
func (q Proof) Failure(message string) []Attribute {
	if q.Method != MSCHAPv2 {
		return nil
	}
	return []Attribute{VendorOctets(Microsoft, MSCHAPError, q.mschap.failure(message))}
}

// Codes of EAP (RFC 3748 section 4).
const (
	eapResponse = 2
	eapFailure  = 4
)

// RefuseEAP is the Access-Reject that ends an EAP conversation: it carries an
// EAP-Failure with the identifier of the EAP-Response (RFC 3579 section 2.6.3,
// RFC 3748 section 4.2), and nothing for a customer to read (section 2.6.5).
// EAP is never spoken here.
func (p *Packet) RefuseEAP() Reply {
	r := Reply{Code: AccessReject}
	m, ok := p.Value(EAPMessage)
	if ok && len(m) >= 4 && m[0] == eapResponse {
		failure := binary.BigEndian.AppendUint16([]byte{eapFailure, m[1]}, 4)
		r.Attributes = []Attribute{Octets(EAPMessage, failure)}
	}
	return r
}
