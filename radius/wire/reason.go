package wire

// A Reason says why a packet is dropped. Its name is stable: counters and
// documents use it.
type Reason uint8

// Valid is a packet that is not dropped.
const Valid Reason = 0

// What [Parse] refuses.
const (
	// TooShort has fewer than 20 octets, or says so.
	TooShort Reason = iota + 1
	// TooLong says that it has more than 4096 octets.
	TooLong
	// Truncated says that it is longer than what arrived.
	Truncated
	// UnknownCode is none that is spoken here.
	UnknownCode
	// BadAttribute has type 0, a length below 2, or does not fit in the packet.
	BadAttribute
	// TooManyAttributes has more than [MaxAttributes].
	TooManyAttributes
	// BadMA has a Message-Authenticator of a wrong length or more than one.
	BadMA
	// UnsignedEAP is an EAP-Message without Message-Authenticator (RFC 3579
	// section 3.1).
	UnsignedEAP
	// MixedEAP is an EAP-Message beside a password of another method (RFC 3579
	// section 3.3).
	MixedEAP
	// UnsignedStatus is a Status-Server without Message-Authenticator (RFC
	// 5997 section 3).
	UnsignedStatus
)

// What is found out with the secret.
const (
	// WrongMA is a Message-Authenticator that does not go with the secret.
	WrongMA Reason = iota + 11
	// WrongAuthenticator is a Request or Response Authenticator that does not
	// go with the secret.
	WrongAuthenticator
	// Unexpected is an answer to nothing that was asked.
	Unexpected
)

var reasonNames = [...]string{
	Valid: "valid", TooShort: "too_short", TooLong: "too_long", Truncated: "truncated",
	UnknownCode: "unknown_code", BadAttribute: "bad_attribute", TooManyAttributes: "too_many_attributes",
	BadMA: "bad_message_authenticator", UnsignedEAP: "unsigned_eap", MixedEAP: "mixed_eap",
	UnsignedStatus: "unsigned_status", WrongMA: "wrong_message_authenticator",
	WrongAuthenticator: "wrong_authenticator", Unexpected: "unexpected",
}

// Reasons is how many there are, Valid among them.
const Reasons = len(reasonNames)

// String is the stable name, in lower case with underscores.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown_reason"
}

// Error makes a Reason an error, for those who ask for a packet and get none.
func (r Reason) Error() string { return "radius packet dropped: " + r.String() }
