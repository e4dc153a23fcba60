package bench

import (
	"context"
	"fmt"
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
			if err := flood(ctx, z, guests, packets, seconds*time.Second); err != nil {
				return err
			}
			if err := wait(ctx, 3*time.Second); err != nil {
				return err
			}
			_, peak, err := memory(z.pid())
			if err != nil {
				return err
			}
			if err := z.command("resume"); err != nil {
				return err
			}
			// It must work on as if nothing had been.
			if err := z.each(ctx, z.Auth, len(guests), &logins{newGuestScript(guests)}); err != nil {
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

// flood sends packets from as many ports as there are requests outstanding
// elsewhere, spread over a time, and takes no answer.
func flood(ctx context.Context, z *zone, guests []*guest, packets int, over time.Duration) error {
	const burst = 512
	var fds [2][outstanding]int
	for port, to := range []*unix.SockaddrInet4{
		{Addr: z.Auth.Addr().As4(), Port: int(z.Auth.Port())}, {Addr: z.Acct.Addr().As4(), Port: int(z.Acct.Port())},
	} {
		for i := range fds[port] {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("opening a socket: %w", err)
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, to); err != nil {
				return fmt.Errorf("opening a socket: %w", err)
			}
			fds[port][i] = fd
		}
	}
	var r fakenas.Request
	begun := time.Now()
	for n := range packets {
		if n%burst == 0 {
			if err := wait(ctx, time.Until(begun.Add(over*time.Duration(n)/time.Duration(packets)))); err != nil {
				return err
			}
		}
		g := *guests[n/2%len(guests)]
		id := byte(n / (2 * outstanding))
		port := n % 2
		if port == 0 {
			g.login(&r, id)
		} else {
			g.id = fmt.Sprintf("flood%d", n)
			g.account(&r, id, fakenas.Start)
		}
		if _, err := unix.Write(fds[port][n/2%outstanding], r.End()); err != nil && err != unix.EAGAIN {
			return fmt.Errorf("sending a packet: %w", err)
		}
	}
	return nil
}
