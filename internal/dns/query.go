package dns

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// Types that dnsmessage does not name (RFC 1035, RFC 1995).
const (
	typeNULL = dnsmessage.Type(10)
	typeIXFR = dnsmessage.Type(251)
	typeAXFR = dnsmessage.Type(252)
)

const (
	// minUDP is what every client takes over UDP, in octets (RFC 1035 section
	// 2.3.4).
	minUDP = 512
	// maxUDP is the longest answer over UDP, whatever the client says.
	maxUDP = 4096
	// heavyCost is how many questions one counts for whose type carries
	// arbitrary octets: those are what tunnels are made of.
	heavyCost = 10
	// nameTTL is the time to live of the portal's name, in seconds.
	nameTTL = 60
)

// A query is one question that may be answered.
type query struct {
	msg      []byte // as received
	header   dnsmessage.Header
	question dnsmessage.Question
	edns     bool
	udpSize  int // longest answer over UDP that the client takes
}

// parseQuery reads a message from a client. Without a query it returns the
// reply to send at once, or nil where there must be none. It keeps no part of
// msg.
func parseQuery(msg []byte) (q *query, reply []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	// An answer is never answered, or two servers would do so for ever.
	if err != nil || h.Response {
		return nil, nil
	}
	q = &query{header: h, udpSize: minUDP}
	if h.OpCode != 0 {
		return nil, q.reply(dnsmessage.RCodeNotImplemented, false)
	}
	bad := func() (*query, []byte) { return nil, q.reply(dnsmessage.RCodeFormatError, false) }
	if q.question, err = p.Question(); err != nil {
		return bad()
	}
	if _, err = p.Question(); err != dnsmessage.ErrSectionDone { // RFC 9619
		return bad()
	}
	if _, err = p.AnswerHeader(); err != dnsmessage.ErrSectionDone {
		return bad()
	}
	if _, err = p.AuthorityHeader(); err != dnsmessage.ErrSectionDone {
		return bad()
	}
	for {
		rh, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil || rh.Type == dnsmessage.TypeOPT && q.edns {
			return bad()
		}
		if rh.Type == dnsmessage.TypeOPT {
			q.edns = true
			q.udpSize = min(max(int(rh.Class), minUDP), maxUDP)
		}
		if err := p.SkipAdditional(); err != nil {
			return bad()
		}
	}
	if q.question.Class != dnsmessage.ClassINET || q.question.Type == typeAXFR || q.question.Type == typeIXFR {
		return nil, q.reply(dnsmessage.RCodeRefused, true)
	}
	q.msg = append([]byte(nil), msg...)
	return q, nil
}

// cost is how many questions this one counts for in the limit of its sender.
func (q *query) cost() int {
	switch q.question.Type {
	case dnsmessage.TypeTXT, typeNULL, dnsmessage.TypeALL:
		return heavyCost
	}
	// Private and unassigned types (RFC 6895 section 3.1).
	if q.question.Type >= 0xff00 {
		return heavyCost
	}
	return 1
}

// reply builds an answer of our own without records.
func (q *query) reply(code dnsmessage.RCode, question bool) []byte {
	return q.build(dnsmessage.Header{RCode: code, RecursionAvailable: true}, question, nil)
}

// truncated turns an answer that is too long for the client into one that
// makes it ask again over TCP.
func (q *query) truncated(answer []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil {
		return q.reply(dnsmessage.RCodeServerFailure, true)
	}
	h.Truncated = true
	return q.build(h, true, nil)
}

// build builds an answer to the query from flags, the question and records. It
// always returns a message.
func (q *query) build(h dnsmessage.Header, question bool, records func(*dnsmessage.Builder) error) []byte {
	h.ID, h.OpCode = q.header.ID, q.header.OpCode
	h.Response, h.RecursionDesired = true, q.header.RecursionDesired
	b := dnsmessage.NewBuilder(make([]byte, 0, minUDP), h)
	b.EnableCompression()
	err := b.StartQuestions()
	if err == nil && question {
		err = b.Question(q.question)
	}
	if err == nil && records != nil {
		if err = b.StartAnswers(); err == nil {
			err = records(&b)
		}
	}
	if err == nil && q.edns {
		// RFC 6891 section 6.1.1: who asks with OPT is answered with OPT.
		if err = b.StartAdditionals(); err == nil {
			var rh dnsmessage.ResourceHeader
			if err = rh.SetEDNS0(maxQuery, dnsmessage.RCodeSuccess, false); err == nil {
				err = b.OPTResource(rh, dnsmessage.OPTResource{})
			}
		}
	}
	if err == nil {
		if msg, err := b.Finish(); err == nil {
			return msg
		}
	}
	// Records that cannot be packed are ours alone to regret.
	bare := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, OpCode: h.OpCode, Response: true, RecursionDesired: h.RecursionDesired,
		RCode: dnsmessage.RCodeServerFailure,
	})
	msg, _ := bare.Finish()
	return msg
}

// local answers a question about the portal's name with the addresses of the
// LAN. Other types have no records: the name exists, so it is not denied.
func (q *query) local(addrs []netip.Addr) []byte {
	rh := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: nameTTL}
	return q.build(dnsmessage.Header{Authoritative: true, RecursionAvailable: true}, true, func(b *dnsmessage.Builder) error {
		for _, a := range addrs {
			var err error
			switch {
			case a.Is4() && q.question.Type == dnsmessage.TypeA:
				err = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
			case a.Is6() && !a.IsLinkLocalUnicast() && q.question.Type == dnsmessage.TypeAAAA:
				err = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// An outcome says what to do with a packet from a resolver.
type outcome int

const (
	bogus     outcome = iota // not an answer to this question: wait on
	unhelpful                // the resolver cannot answer: ask another
	partial                  // truncated: ask again over TCP
	complete
)

// judge checks that a packet answers the query, whose ID was replaced (RFC
// 5452 section 9.1; the socket has checked addresses and ports).
func (q *query) judge(id uint16, answer []byte) outcome {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 {
		return bogus
	}
	got, err := p.Question()
	if err == dnsmessage.ErrSectionDone {
		switch h.RCode {
		// Some servers leave the question out where they do not understand it.
		case dnsmessage.RCodeFormatError, dnsmessage.RCodeServerFailure, dnsmessage.RCodeNotImplemented, dnsmessage.RCodeRefused:
			return unhelpful
		}
		return bogus
	}
	if err != nil || got.Type != q.question.Type || got.Class != q.question.Class || !sameName(got.Name, q.question.Name) {
		return bogus
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return bogus
	}
	if h.Truncated {
		return partial
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil || p.SkipAllAdditionals() != nil {
		return bogus
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError:
		return complete
	}
	return unhelpful
}

// sameName compares names as RFC 4343 says: letters of ASCII in either case.
func sameName(a, b dnsmessage.Name) bool {
	if a.Length != b.Length {
		return false
	}
	for i := range a.Length {
		if lower(a.Data[i]) != lower(b.Data[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// canonical returns a name in small letters without its final dot.
func canonical(n dnsmessage.Name) string {
	b := make([]byte, n.Length)
	for i := range b {
		b[i] = lower(n.Data[i])
	}
	if len(b) > 0 && b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return string(b)
}
