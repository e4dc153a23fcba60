package portal

import (
	"context"
	"net/http"
	"net/netip"

	"zonegate"
)

// A Redeemer makes codes and tokens grants of a device.
type Redeemer interface {
	Redeem(context.Context, zonegate.Redemption) (zonegate.Standing, error)
	Move(ctx context.Context, token string, to zonegate.MAC) (zonegate.Standing, error)
}

// A Switch takes a device online with what it has bought, and offline.
type Switch interface {
	Authorize(context.Context, zonegate.MAC) (zonegate.Standing, error)
	Logout(context.Context, zonegate.MAC) error
}

// A Viewer says what is sold and what is left.
type Viewer interface {
	Standing(zonegate.MAC) zonegate.Standing
	Balance(zonegate.GrantID) (zonegate.Balance, error)
	Plans() []zonegate.Plan
}

// A Signer checks the tokens in URLs and makes those in forms.
type Signer interface {
	GrantOf(token string) (zonegate.GrantID, bool)
	FormToken(zonegate.MAC) string
}

// A Gate is everything that the portal asks of the domain; *zonegate.Gate is
// one.
type Gate interface {
	Redeemer
	Switch
	Viewer
	Signer
}

var _ Gate = (*zonegate.Gate)(nil)

// A Locator finds the hardware address behind an address on the customers'
// link, an IPv6 link-local one with its zone. Safe for concurrent use.
type Locator interface {
	Locate(context.Context, netip.Addr) (zonegate.MAC, error)
}

// A Server serves the portal. Its fields must not change once Handler or Run
// was called.
type Server struct {
	Gate    Gate
	Locator Locator

	// Addrs are the gateway's addresses on the customers' link, IPv4 and IPv6,
	// and Port is the TCP port on each. The addresses need not exist yet.
	Addrs []netip.Addr
	Port  uint16
	// Name is the DNS name that URLs use instead of an address; may be empty.
	Name string
	// TLSCert and TLSKey are PEM files for Name; TLSPort is the port that they
	// serve (default Port+1). Without them there is no HTTPS. The files are
	// read again when they change.
	TLSCert, TLSKey string
	TLSPort         uint16
}

// Handler returns the portal as it answers on every port.
func (s *Server) Handler() http.Handler { return http.NotFoundHandler() }

// Run serves until the context is done.
func (s *Server) Run(ctx context.Context) error { <-ctx.Done(); return nil }
