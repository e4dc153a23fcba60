package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"zonegate/internal/lab/fakenas"
)

// runRadiusFlood stops the disk and sends far more than can be answered: half
// of it logins, half the starts of new sessions, which need a commit and hold
// up all the rest. How much of it is kept in memory is the server's choice.
func runRadiusFlood(ctx context.Context, b *bench) error {
	const packets, seconds = 51200, 2
	var growth []uint64
	for range radiusRounds {
		err := b.withZone(ctx, zoneConfig{Guests: 1000}, true, func(z *zone, guests []*guest) error {
			if err := z.command("stall"); err != nil {
				return err
			}
			before, _, err := memory(z.pid())
			if err != nil {
				return err
			}
			// The peak is counted anew from here; see proc(5), clear_refs.
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", z.pid()), []byte("5"), 0); err != nil {
				return fmt.Errorf("resetting the peak of memory: %w", err)
			}
			f, err := newFlood(z)
			if err != nil {
				return err
			}
			// Its ports stay taken until the end: what is answered late must not
			// come to those who ask next.
			defer f.close()
			if err := f.run(ctx, guests, packets, seconds*time.Second); err != nil {
				return err
			}
			if err := wait(ctx, 3*time.Second); err != nil {
				return err
			}
			_, peak, err := memory(z.pid())
			if err != nil {
				return err
			}
			if n := f.answers(); n > 0 {
				return fmt.Errorf("%d starts of sessions were answered while nothing could be written", n)
			}
			if err := z.command("resume"); err != nil {
				return err
			}
			// It must work on as if nothing had been.
			if err := z.each(ctx, z.Auth, len(guests), 300*time.Millisecond, &logins{newGuestScript(guests)}); err != nil {
				return fmt.Errorf("logging in after the flood: %w", err)
			}
			growth = append(growth, peak-min(peak, before))
			b.say("  resident memory %.1f MB before, at most %.1f MB during", float64(before)/1e6, float64(peak)/1e6)
			return nil
		})
		if err != nil {
			return err
		}
	}
	got := median(growth)
	b.add(fmt.Sprintf("memory that grows under %d packets in %d s while the disk stands still for 5 s", packets, seconds), "at most 16 MB",
		fmt.Sprintf("%.1f MB", float64(got)/1e6), got <= 16e6)
	return nil
}

// A flood comes from as many ports as there are requests outstanding elsewhere
// and takes no answer.
type flood struct{ auth, acct []int }

func newFlood(z *zone) (_ *flood, err error) {
	f := new(flood)
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	for range outstanding {
		for list, to := range map[*[]int]netip.AddrPort{&f.auth: z.Auth, &f.acct: z.Acct} {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return nil, fmt.Errorf("opening a socket: %w", err)
			}
			*list = append(*list, fd)
			if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
				return nil, fmt.Errorf("opening a socket: %w", err)
			}
		}
	}
	return f, nil
}

func (f *flood) close() {
	for _, fd := range append(f.auth, f.acct...) {
		unix.Close(fd)
	}
}

// answers counts what has come back of the accounting.
func (f *flood) answers() (n int) {
	buf := make([]byte, 4096)
	for _, fd := range f.acct {
		for {
			if _, err := unix.Read(fd, buf); err != nil {
				break
			}
			n++
		}
	}
	return n
}

// run sends packets, spread over a time.
func (f *flood) run(ctx context.Context, guests []*guest, packets int, over time.Duration) error {
	const burst = 512
	var r fakenas.Request
	begun := time.Now()
	for n := range packets {
		if n%burst == 0 {
			if err := wait(ctx, time.Until(begun.Add(over*time.Duration(n)/time.Duration(packets)))); err != nil {
				return err
			}
		}
		g := *guests[n/2%len(guests)]
		id, port := byte(n/(2*outstanding)), n/2%outstanding
		fd := f.auth[port]
		if n%2 == 0 {
			g.login(&r, id)
		} else {
			fd = f.acct[port]
			g.id = fmt.Sprintf("flood%d", n)
			g.account(&r, id, fakenas.Start)
		}
		if _, err := unix.Write(fd, r.End()); err != nil && err != unix.EAGAIN {
			return fmt.Errorf("sending a packet: %w", err)
		}
	}
	return nil
}
