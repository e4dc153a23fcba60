package wire

// A Reply is what is answered to a request. Message-Authenticator and
// Proxy-State are no part of it: they are added where it is written.
type Reply struct {
	Code       Code
	Attributes []Attribute
}
