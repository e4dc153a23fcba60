package bench

import (
	"fmt"

	"zonegate/internal/lab/fakenas"
)

// A guest is a customer of a NAS, with a device of his own.
type guest struct {
	code, mac string
	address   uint32
	class     []byte // what the last Access-Accept gave back

	// Of the accounting: the session's number and how far it is.
	session uint32
	step    int
	octets  uint64
	id      string
}

func newGuests(codes []string) []*guest {
	guests := make([]*guest, len(codes))
	for i, code := range codes {
		guests[i] = &guest{
			code: code, address: 10<<24 | uint32(i+256),
			mac: fmt.Sprintf("02:5A:47:%02X:%02X:%02X", i>>16, i>>8&255, i&255),
		}
	}
	return guests
}

// guestScript serves one guest after the other. There are many more guests
// than sockets, so no two requests of one guest are under way.
type guestScript struct {
	guests  []*guest
	turn    int
	serving [outstanding]*guest // by socket
}

func newGuestScript(guests []*guest) guestScript { return guestScript{guests: guests} }

func (s *guestScript) next(socket int) *guest {
	g := s.guests[s.turn]
	s.turn = (s.turn + 1) % len(s.guests)
	s.serving[socket] = g
	return g
}

var secretOctets = []byte(radiusSecret)

var wireless = uint32(19) // NAS-Port-Type Wireless-802.11

// common adds what a MikroTik hotspot says in every request about a guest.
func (g *guest) common(r *fakenas.Request) {
	r.Text(fakenas.UserName, g.code)
	r.Uint32(fakenas.NASIPAddress, 127<<24|1)
	r.Text(fakenas.NASIdentifier, "hotspot")
	r.Uint32(fakenas.NASPort, g.address)
	r.Uint32(fakenas.NASPortType, wireless)
	r.Text(fakenas.CallingStationID, g.mac)
	r.Text(fakenas.CalledStationID, "zone")
	r.Uint32(fakenas.FramedIPAddress, g.address)
}

// login makes a PAP authentication, signed.
func (g *guest) login(r *fakenas.Request, id byte) {
	r.Begin(fakenas.AccessRequest, id, secretOctets)
	r.Sign()
	g.common(r)
	r.Password(g.code)
}

// account makes an accounting request of the guest's session.
func (g *guest) account(r *fakenas.Request, id byte, kind uint32) {
	r.Begin(fakenas.AccountingRequest, id, secretOctets)
	r.Uint32(fakenas.AcctStatusType, kind)
	r.Text(fakenas.AcctSessionID, g.id)
	g.common(r)
	if g.class != nil {
		r.Octets(fakenas.Class, g.class)
	}
	if kind != fakenas.Start {
		g.octets += 1000
		r.Uint32(fakenas.AcctSessionTime, uint32(g.step)*300)
		r.Uint32(fakenas.AcctInputOctets, uint32(g.octets))
		r.Uint32(fakenas.AcctOutputOctets, uint32(4*g.octets))
		r.Uint32(fakenas.AcctInputGigawords, uint32(g.octets>>32))
		r.Uint32(fakenas.AcctOutputGigawords, uint32(4*g.octets>>32))
	}
}

// logins are all guests' logins in turn.
type logins struct{ guestScript }

// Next implements fakenas.Script.
func (s *logins) Next(socket int, id byte, r *fakenas.Request) byte {
	s.next(socket).login(r, id)
	return fakenas.AccessAccept
}

// Answered implements fakenas.Script.
func (s *logins) Answered(socket int, answer []byte) {
	if g := s.serving[socket]; g.class == nil {
		for _, c := range fakenas.Attributes(answer, fakenas.Class) {
			g.class = c
		}
	}
}

// accounts is the accounting of sessions that each have a start, one to seven
// interims and a stop; then the guest's next one begins.
type accounts struct {
	guestScript
	// stay keeps each session open once it is.
	stay bool
}

// Next implements fakenas.Script.
func (s *accounts) Next(socket int, id byte, r *fakenas.Request) byte {
	g := s.next(socket)
	kind := uint32(fakenas.InterimUpdate)
	switch {
	case g.step == 0:
		kind = fakenas.Start
		g.session++
		g.octets = 0
		g.id = fmt.Sprintf("80%04x%x", g.session, g.address)
	case !s.stay && g.step > int(g.address%7)+1:
		kind = fakenas.Stop
	}
	g.account(r, id, kind)
	if g.step++; kind == fakenas.Stop {
		g.step = 0
	}
	return fakenas.AccountingResponse
}

// Answered implements fakenas.Script.
func (*accounts) Answered(int, []byte) {}
