package radius_test

import (
	"bytes"
	"net/netip"
	"strings"

	"zonegate/internal/lab/fakenas"
)

var elsewhere = netip.AddrFrom4([4]byte{127, 0, 0, 99})

var probes = []probe{
	// Logins.
	{name: "PAP, signed", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()
	}},
	{name: "PAP, signature last", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		f.identity(r)
		r.Password(f.password)
		r.Sign()
		return r.End()
	}},
	{name: "PAP, unsigned", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		f.identity(r)
		r.Password(f.password)
		return r.End()
	}},
	{name: "CHAP to the authenticator", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.CHAP(7, f.password, nil)
		return r.End()
	}},
	{name: "CHAP to a challenge", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.CHAP(7, f.password, []byte("sixteen octets.."))
		return r.End()
	}},
	{name: "CHAP to a challenge of another length", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.CHAP(0, f.password, []byte("a challenge that is longer than that"))
		return r.End()
	}},
	{name: "CHAP with a wrong password", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.CHAP(7, "wrong", nil)
		return r.End()
	}},
	{name: "a wrong password", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.Password("wrong")
		return r.End()
	}},
	{name: "a long wrong password", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.Password(strings.Repeat("wrong", 20))
		return r.End()
	}},
	{name: "an unknown user", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		r.Text(fakenas.UserName, "nobody")
		f.nas(r)
		r.Password("nobody")
		return r.End()
	}},
	{name: "a login without a user name", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.nas(r)
		r.Password(f.password)
		return r.End()
	}},
	{name: "a code without any password", want: reject, ours: accept,
		why: "a voucher is its code alone; an empty password opens it, and some NASes leave an empty one out",
		build: func(f *fixture, r *fakenas.Request) []byte {
			f.begin(r, 1)
			r.Sign()
			f.identity(r)
			return r.End()
		}},
	{name: "an unknown user without any password", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		r.Text(fakenas.UserName, "nobody")
		f.nas(r)
		return r.End()
	}},

	// What proves the sender.
	{name: "a wrong signature", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		p := r.End()
		p[25] ^= 1 // inside of the first attribute's value
		return p
	}},
	{name: "a signature of zeros", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		p := r.End()
		clear(p[22:38])
		return p
	}},
	{name: "a signature with another secret", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		other := *f
		other.secret = []byte("another secret of the lab")
		other.access(r, 1)
		return r.End()
	}},
	{name: "a signature of 15 octets", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, append([]byte{fakenas.MessageAuthenticator, 17}, make([]byte, 15)...)...)
	}},
	{name: "a signature of 17 octets", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, append([]byte{fakenas.MessageAuthenticator, 19}, make([]byte, 17)...)...)
	}},
	{name: "two signatures", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		r.Sign()
		return r.End()
	}},
	{name: "an unknown NAS", want: dropped, from: elsewhere, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()
	}},
	{name: "an unknown NAS asks for the status", want: dropped, from: elsewhere, build: func(f *fixture, r *fakenas.Request) []byte {
		f.status(r, 1)
		r.Sign()
		return r.End()
	}},

	// The form of a packet.
	{name: "no octet at all", want: dropped, build: func(*fixture, *fakenas.Request) []byte { return []byte{} }},
	{name: "10 octets", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()[:10]
	}},
	{name: "19 octets", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return setLength(r.End()[:19], 19)
	}},
	{name: "a length below 20", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return setLength(r.End(), 19)
	}},
	{name: "a length above the datagram", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		p := r.End()
		return setLength(p, len(p)+1)
	}},
	{name: "a length above 4096", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		return setLength(append(raw(f, r), make([]byte, 5000)...), 4097)
	}},
	{name: "padding after a login", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return append(r.End(), 0, 0, 0, 0)
	}},
	{name: "a header alone", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		return r.End()
	}},
	{name: "an attribute of type 0", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 0, 4, 'a', 'b') }},
	{name: "an attribute of length 0", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 25, 0) }},
	{name: "an attribute of length 1", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 25, 1) }},
	{name: "an attribute beyond the packet", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 25, 9, 'a') }},
	{name: "half an attribute header", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 25) }},
	{name: "RFC 2865 section 7.3 as printed", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, 24, 16, '3', '2', '7', '6', '9', '4', '3', '0')
	}},
	{name: "an empty attribute", want: accept, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 25, 2) }},
	{name: "1990 attributes", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, bytes.Repeat([]byte{25, 2}, 1990)...) }},
	{name: "201 attributes", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, bytes.Repeat([]byte{18, 3, 'x'}, 196)...)
	}},
	{name: "200 attributes", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, bytes.Repeat([]byte{18, 3, 'x'}, 195)...)
	}},
	{name: "an unknown attribute", want: accept, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 250, 5, 'x', 'y', 'z') }},
	{name: "a vendor's attribute of length 0", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, 26, 8, 0, 0, 0x3a, 0x8c, 1, 0)
	}},
	{name: "a vendor's attribute beyond its frame", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		return raw(f, r, 26, 8, 0, 0, 0x3a, 0x8c, 1, 99)
	}},
	{name: "a vendor's frame without a vendor", want: accept, build: func(f *fixture, r *fakenas.Request) []byte { return raw(f, r, 26, 4, 0, 0) }},

	// Codes.
	{name: "code 0", want: dropped, build: code(0)},
	{name: "code 53", want: dropped, build: code(53)},
	{name: "code 255", want: dropped, build: code(255)},
	{name: "an Access-Accept", want: dropped, build: code(fakenas.AccessAccept)},
	{name: "an Access-Reject", want: dropped, build: code(fakenas.AccessReject)},
	{name: "an Access-Challenge", want: dropped, build: code(fakenas.AccessChallenge)},
	{name: "an Accounting-Response", want: dropped, acct: true, build: code(fakenas.AccountingResponse)},
	{name: "a Disconnect-Request", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		r.Begin(fakenas.DisconnectRequest, 1, f.secret)
		f.identity(r)
		return r.End()
	}},
	{name: "a CoA-Request", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		r.Begin(fakenas.CoARequest, 1, f.secret)
		f.identity(r)
		return r.End()
	}},
	{name: "accounting on the port for logins", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "wrong-port")
		return r.End()
	}},
	{name: "a login on the port for accounting", want: dropped, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()
	}},

	// EAP.
	{name: "EAP, unsigned", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		f.identity(r)
		r.Octets(fakenas.EAPMessage, eapIdentity(f.user))
		return r.End()
	}},
	{name: "EAP with a password", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		r.Octets(fakenas.EAPMessage, eapIdentity(f.user))
		return r.End()
	}},
	{name: "EAP with CHAP", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.CHAP(7, f.password, nil)
		r.Octets(fakenas.EAPMessage, eapIdentity(f.user))
		return r.End()
	}},
	{name: "EAP, signed", want: reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.Octets(fakenas.EAPMessage, eapIdentity(f.user))
		return r.End()
	}},

	// Status-Server (RFC 5997).
	{name: "status of logins", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.status(r, 1)
		r.Sign()
		return r.End()
	}},
	{name: "status of accounting", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.status(r, 1)
		r.Sign()
		return r.End()
	}},
	{name: "status, unsigned", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.status(r, 1)
		f.nas(r)
		return r.End()
	}},
	{name: "status of accounting, unsigned", want: dropped, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.status(r, 1)
		f.nas(r)
		return r.End()
	}},
	{name: "status, wrongly signed", want: dropped, build: func(f *fixture, r *fakenas.Request) []byte {
		f.status(r, 1)
		r.Sign()
		p := r.End()
		p[37] ^= 1
		return p
	}},

	// Proxy-State (RFC 2865 section 5.33).
	{name: "two Proxy-States, accepted", want: accept + " Proxy-State one two", build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		r.Text(fakenas.ProxyState, "one")
		r.Text(fakenas.ProxyState, "two")
		return r.End()
	}},
	{name: "two equal Proxy-States around another attribute", want: accept + " Proxy-State same same", build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		r.Text(fakenas.ProxyState, "same")
		r.Uint32(fakenas.NASPort, 1)
		r.Text(fakenas.ProxyState, "same")
		return r.End()
	}},
	{name: "two Proxy-States, rejected", want: reject + " Proxy-State one two", build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.Password("wrong")
		r.Text(fakenas.ProxyState, "one")
		r.Text(fakenas.ProxyState, "two")
		return r.End()
	}},
	{name: "two Proxy-States in accounting", want: accounting + " Proxy-State one two", acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "proxied")
		r.Text(fakenas.ProxyState, "one")
		r.Text(fakenas.ProxyState, "two")
		return r.End()
	}},
	{name: "Proxy-State, unsigned", want: accept + " Proxy-State one", ours: dropped,
		why: "it is the one place where a forger of replies can put octets of his choice (CVE-2024-3596); FreeRADIUS since 3.2.5 has limit_proxy_state for it",
		build: func(f *fixture, r *fakenas.Request) []byte {
			f.begin(r, 1)
			f.identity(r)
			r.Password(f.password)
			r.Text(fakenas.ProxyState, "one")
			return r.End()
		}},

	// Accounting.
	{name: "accounting starts", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "0001")
		return r.End()
	}},
	{name: "accounting, signed", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "0002")
		r.Sign()
		return r.End()
	}},
	{name: "accounting, wrongly signed", want: dropped, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "0003")
		r.Sign()
		p := r.End()
		p[len(p)-1] ^= 1
		return resign(p, f.secret)
	}},
	{name: "accounting with another secret", want: dropped, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		other := *f
		other.secret = []byte("another secret of the lab")
		other.account(r, 1, fakenas.Start, "0004")
		return r.End()
	}},
	{name: "accounting with a random authenticator", want: dropped, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "0005")
		p := r.End()
		copy(p[4:], "sixteen octets..")
		return p
	}},
	{name: "padding after accounting", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.InterimUpdate, "0006")
		return append(r.End(), 0, 0, 0, 0)
	}},
	{name: "an interim of an unknown session", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.InterimUpdate, "0007")
		r.Uint32(fakenas.AcctInputOctets, 1)
		r.Uint32(fakenas.AcctOutputOctets, 1)
		return r.End()
	}},
	{name: "a stop of an unknown session", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Stop, "0008")
		return r.End()
	}},
	{name: "accounting of nobody known", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		other := *f
		other.user, other.mac = "reseller", "02-00-00-00-00-99"
		other.account(r, 1, fakenas.Start, "0009")
		return r.End()
	}},
	{name: "accounting on", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		r.Begin(fakenas.AccountingRequest, 1, f.secret)
		r.Uint32(fakenas.AcctStatusType, fakenas.AccountingOn)
		r.Text(fakenas.NASIdentifier, "probe")
		return r.End()
	}},
	{name: "accounting of a status that nobody knows", want: accounting, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, 99, "0010")
		return r.End()
	}},
	{name: "an attribute of type 0 in accounting", want: dropped, acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.Start, "0011")
		p := append(r.End(), 0, 3, 'x')
		return resign(setLength(p, len(p)), f.secret)
	}},
	{name: "accounting without a status", want: accounting, acct: true, ours: dropped,
		why: "nothing of it could be recorded, and an answer says that it was (RFC 2866 sections 4.1 and 5.13)",
		build: func(f *fixture, r *fakenas.Request) []byte {
			r.Begin(fakenas.AccountingRequest, 1, f.secret)
			r.Text(fakenas.AcctSessionID, "0012")
			f.identity(r)
			return r.End()
		}},
	{name: "accounting of no NAS", want: accounting, acct: true, ours: dropped,
		why: "RFC 2866 section 4.1 asks for a NAS-IP-Address or a NAS-Identifier: a session's name is only unique within its NAS",
		build: func(f *fixture, r *fakenas.Request) []byte {
			r.Begin(fakenas.AccountingRequest, 1, f.secret)
			r.Uint32(fakenas.AcctStatusType, fakenas.Start)
			r.Text(fakenas.AcctSessionID, "0013")
			r.Text(fakenas.UserName, f.user)
			return r.End()
		}},

	// The same again (RFC 5080 section 2.2.2).
	{name: "a login sent twice", want: accept + ", the same again", again: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()
	}},
	{name: "a refused login sent twice", want: reject + ", the same again", again: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.Password("wrong")
		return r.End()
	}},
	{name: "accounting sent twice", want: accounting + " Proxy-State one, the same again", acct: true, again: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.InterimUpdate, "0014")
		r.Text(fakenas.ProxyState, "one")
		return r.End()
	}},
	{name: "another login under the same identifier", want: accept + ", then " + reject, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()
	}, second: func(f *fixture, r *fakenas.Request) []byte {
		f.begin(r, 1)
		r.Sign()
		f.identity(r)
		r.Password("wrong")
		return r.End()
	}},
	{name: "other accounting under the same identifier", want: accounting + ", then " + accounting + " Proxy-State two", acct: true, build: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.InterimUpdate, "0015")
		return r.End()
	}, second: func(f *fixture, r *fakenas.Request) []byte {
		f.account(r, 1, fakenas.InterimUpdate, "0015")
		r.Text(fakenas.ProxyState, "two")
		return r.End()
	}},
	// Nothing of a forged packet may stay in the memory of answers.
	{name: "a login under the identifier of a forged one", want: accept, build: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		return r.End()
	}, before: func(f *fixture, r *fakenas.Request) []byte {
		f.access(r, 1)
		p := r.End()
		p[25] ^= 1
		return p
	}},
}
