package kernel_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"zonegate"
	"zonegate/shaper/conformance"
)

// TestConformance runs the behaviours that every data path has.
func TestConformance(t *testing.T) {
	for _, b := range conformance.Behaviours() {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			z := newZone(t, conformance.Devices)
			z.serve(7000)
			z.meterWire()
			b.Run(t, conforming{z})
		})
	}
}

// A conforming is a zone in namespaces, as the suite sees it.
type conforming struct{ z *zone }

func (c conforming) Start(b *conformance.Book) (zonegate.Enforcer, func()) {
	e := c.z.startFor(c.z.config(), b)
	return e.Shaper, e.stop
}

func (c conforming) Device(i int) zonegate.MAC { return c.z.phones[i].mac }

func (c conforming) Passes(i int) bool { return c.z.phones[i].echo(site4, 3) }

// stall is how long a flow may stand still before the suite takes it for cut.
const stall = 700 * time.Millisecond

func (c conforming) Transfer(i int, up, down uint64) {
	p := c.z.phones[i]
	if down > 0 {
		if conn, err := p.dialMSS(site4, 0); err == nil {
			fmt.Fprintf(conn, "%8d", down)
			for left := int64(down); left > 0; {
				conn.SetReadDeadline(time.Now().Add(stall))
				n, err := io.CopyN(io.Discard, conn, min(left, 64<<10))
				if left -= n; err != nil {
					break
				}
			}
			conn.Close()
		}
	}
	if up > 0 {
		if conn, err := p.dialMSS(site6, 0); err == nil {
			fmt.Fprintf(conn, "%8d", 0)
			block := make([]byte, 16<<10)
			for left := up; left > 0; {
				conn.SetWriteDeadline(time.Now().Add(stall))
				n, err := conn.Write(block[:min(left, uint64(len(block)))])
				if left -= uint64(n); err != nil {
					break
				}
			}
			conn.Close()
		}
	}
	// Until the last packets are through.
	for last := c.Delivered(); ; {
		time.Sleep(50 * time.Millisecond)
		now := c.Delivered()
		if now == last {
			return
		}
		last = now
	}
}

func (c conforming) Delivered() zonegate.Octets {
	down, up := c.z.wired()
	return zonegate.Octets{Up: up, Down: down}
}

func (c conforming) Now() time.Duration { return theClock.Now().Mono }

func (c conforming) Wait(d time.Duration) { time.Sleep(d) }

func (c conforming) Limits() conformance.Limits { return conformance.Limits{} }
