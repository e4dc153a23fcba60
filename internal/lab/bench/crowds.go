package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"zonegate/internal/lab"
)

// crowdPlan lets a customer have the whole link for a day.
var crowdPlan = lab.Plan{ID: "day", Name: "day", PriceFCFA: 100, DurationHours: 24, DevicesMax: 1}

// ratedPlan is what most customers of a full zone have.
var ratedPlan = lab.Plan{ID: "rated", Name: "rated", PriceFCFA: 100, DurationHours: 24, DataLimitMB: 1000,
	CIRKbps: 256, MIRKbps: 2000, DevicesMax: 1}

// runActivation measures from the post of a code until a packet of that
// customer is through, while 1,000 others are active.
func runActivation(ctx context.Context, b *bench) error {
	const active, more = 1000, 200
	opts := lab.Options{Phones: 1, Crowd: active + more, Plans: []lab.Plan{ratedPlan}, LinkDown: "1G", LinkUp: "1G"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		started := time.Now()
		if err := crowdIn(ctx, l, ratedPlan.ID, 0, active); err != nil {
			return err
		}
		b.say("  %d customers active after %s", active, time.Since(started).Round(time.Millisecond))
		vouchers, err := l.MakeVouchers(ctx, ratedPlan.ID, more)
		if err != nil {
			return err
		}
		w, err := newWitness(l)
		if err != nil {
			return err
		}
		defer w.close()
		if err := wait(ctx, 3*time.Second); err != nil { // rates are shared out anew
			return err
		}
		var took, answered []time.Duration
		for i := range more {
			n := active + i
			id := uint32(n)
			from := lab.Member(n).IPv4.AsSlice()
			t, loadCtx := newLoad(ctx)
			if err := t.knocks(loadCtx, l, "crowd", from, ip4, id, time.Millisecond); err != nil {
				t.stop()
				return err
			}
			if w.count(id) > 0 {
				t.stop()
				return fmt.Errorf("customer %d was through before paying", n)
			}
			start := time.Now()
			err := redeem(ctx, l, "crowd", from, vouchers[i].Code)
			answered = append(answered, time.Since(start))
			for err == nil && w.count(id) == 0 {
				if time.Since(start) > 5*time.Second {
					err = fmt.Errorf("customer %d is not through after 5 s", n)
					break
				}
				err = wait(ctx, time.Millisecond)
			}
			t.stop()
			if err != nil {
				return err
			}
			at, _ := w.firstSince(id, start)
			took = append(took, at.Sub(start))
		}
		p99 := percentile(took, 99)
		b.add(fmt.Sprintf("post of the code to first packet, %d active", active), "p99 at most 20 ms",
			fmt.Sprintf("p50 %s, p99 %s (answer p99 %s)", ms(median(took)), ms(p99), ms(percentile(answered, 99))), p99 <= 20*time.Millisecond)
		return nil
	})
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// runForwarding compares how many packets a second pass with 4,000 customers
// active and with 4. Two zones run side by side and are measured in turns, so
// that whatever else the machine does falls on both; both carry as many flows,
// so that only the number of customers differs.
func runForwarding(ctx context.Context, b *bench) error {
	const few, many, flows = 4, 4000, 1000
	type side struct {
		l             *lab.Lab
		frames        [][]byte
		through, idle []float64
	}
	prepare := func(l *lab.Lab, customers int) *side {
		s := &side{l: l, frames: make([][]byte, flows)}
		for i := range s.frames {
			s.frames[i] = udpFrame(l.Info.Hosts["gateway"].MAC, lab.Member(i%customers), uint16(4000+i/customers), 100)
		}
		return s
	}
	zone := func(name string, active int, f func(*lab.Lab) error) error {
		opts := lab.Options{Name: name, Phones: 1, Crowd: many, Plans: []lab.Plan{crowdPlan}, LinkDown: "10G", LinkUp: "10G"}
		return b.withLab(ctx, opts, func(l *lab.Lab) error {
			// The gateway works on a processor of its own. What arrives at the
			// internet is counted and dropped at once.
			if err := pinGateway(l); err != nil {
				return err
			}
			if err := l.NFT("internet", sinkTable); err != nil {
				return err
			}
			started := time.Now()
			if err := crowdIn(ctx, l, crowdPlan.ID, 0, active); err != nil {
				return err
			}
			b.say("  %d customers active after %s", active, time.Since(started).Round(time.Millisecond))
			return f(l)
		})
	}
	return zone(b.opts.Name+"a", few, func(small *lab.Lab) error {
		return zone(b.opts.Name+"b", many, func(big *lab.Lab) error {
			if err := wait(ctx, settle); err != nil {
				return err
			}
			reference, spread, same := prepare(small, few), prepare(big, flows), prepare(big, few)
			for range 9 {
				for _, s := range []*side{reference, spread, same} {
					through, idle, err := forwardRate(ctx, s.l, s.frames)
					if err != nil {
						return err
					}
					s.through = append(s.through, through)
					s.idle = append(s.idle, idle)
				}
			}
			base := median(reference.through)
			for _, c := range []struct {
				side      *side
				customers int
			}{{spread, flows}, {same, few}} {
				got := median(c.side.through)
				measured := fmt.Sprintf("%.1f %% (%.0f and %.0f packets/s)", got/base*100, got, base)
				limited := median(reference.idle) > 0.1
				if limited {
					measured += ": the gateway was not the bottleneck"
				}
				b.add(fmt.Sprintf("forwarding %d flows of %d customers with %d active, against %d with %d", flows, c.customers, many, few, few),
					"at least 95 %", measured, got >= base*0.95 && !limited)
			}
			return nil
		})
	})
}

const sinkTable = `table netdev zlmeter {
	counter v4 { }
	chain in {
		type filter hook ingress device eth0 priority -500; policy accept;
		udp dport 9 counter name v4 drop
	}
}
`

// pinGateway makes the second processor do the gateway's work.
func pinGateway(l *lab.Lab) error {
	if runtime.NumCPU() < 2 {
		return fmt.Errorf("this machine has one processor: the sender would slow the gateway")
	}
	out, err := l.Command("gateway", "sh", "-c", fmt.Sprintf("echo %x > /sys/class/net/lancrowd/queues/rx-0/rps_cpus", 1<<gatewayCPU)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("steering packets to the gateway's processor: %w: %s", err, out)
	}
	return nil
}

// forwardRate sends frames from the crowd as fast as the gateway takes them: a
// frame counts against the sender's buffer until the gateway is done with it.
// It returns what came through in a second, and which part of that time the
// gateway's processor was idle.
func forwardRate(ctx context.Context, l *lab.Lab, frames [][]byte) (through, idle float64, err error) {
	sendCtx, cancel := context.WithCancel(ctx)
	var sendErr error
	var wg sync.WaitGroup
	wg.Go(func() { sendErr = blast(sendCtx, l, frames) })
	m := &meter{l: l}
	ends := make([]struct {
		sample
		idle time.Duration
		at   time.Time
	}, 2)
	for i := range ends {
		if err = wait(ctx, []time.Duration{300 * time.Millisecond, time.Second}[i]); err != nil {
			break
		}
		// Each is read at its own time: a busy machine is slow to read.
		if ends[i].idle, err = idleTime(gatewayCPU); err != nil {
			break
		}
		ends[i].at = time.Now()
		if ends[i].sample, err = takeSample(m.down, "internet"); err != nil {
			break
		}
	}
	cancel()
	wg.Wait()
	if err = errors.Join(err, sendErr); err != nil {
		return 0, 0, err
	}
	from, to := ends[0], ends[1]
	through = float64(to.packets-from.packets) / to.sample.at.Sub(from.sample.at).Seconds()
	return through, float64(to.idle-from.idle) / float64(to.at.Sub(from.at)), nil
}

// gatewayCPU is the processor that does the gateway's work.
const gatewayCPU = 1

// idleTime is how long a processor has been idle; see proc(5), /proc/stat.
func idleTime(cpu int) (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading idle time: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		var user, nice, system, idle int64
		n, _ := fmt.Sscanf(line, fmt.Sprintf("cpu%d %%d %%d %%d %%d", cpu), &user, &nice, &system, &idle)
		if n == 4 {
			return time.Duration(idle) * (time.Second / 100), nil // USER_HZ
		}
	}
	return 0, fmt.Errorf("reading idle time: no processor %d", cpu)
}

// blast sends frames round and round, past every queue of the sender, from the
// first processor.
func blast(ctx context.Context, l *lab.Lab, frames [][]byte) error {
	return l.Do("crowd", func() error {
		var cpus unix.CPUSet
		cpus.Set(0)
		var old unix.CPUSet
		if err := unix.SchedGetaffinity(0, &old); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(0, &cpus); err != nil {
			return fmt.Errorf("choosing a processor: %w", err)
		}
		defer unix.SchedSetaffinity(0, &old)
		fd, err := packetSocket("eth0")
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const batch = 64
		type mmsghdr struct {
			hdr unix.Msghdr
			len uint32
			_   [4]byte
		}
		iov := make([]unix.Iovec, batch)
		msgs := make([]mmsghdr, batch)
		next := 0
		for ctx.Err() == nil {
			for i := range msgs {
				f := frames[next]
				next = (next + 1) % len(frames)
				iov[i].Base = &f[0]
				iov[i].SetLen(len(f))
				msgs[i].hdr.Iov = &iov[i]
				msgs[i].hdr.SetIovlen(1)
			}
			_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), batch, 0, 0, 0)
			if errno != 0 && errno != unix.ENOBUFS && errno != unix.EAGAIN && errno != unix.EINTR {
				return fmt.Errorf("sending frames: %w", errno)
			}
		}
		return nil
	})
}

// packetSocket sends frames on a link of the calling thread's network.
func packetSocket(link string) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening packet socket: %w", err)
	}
	index, err := linkIndex(link)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0, Ifindex: index})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("opening packet socket on %s: %w", link, err)
	}
	return fd, nil
}

func linkIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

// udpFrame is an Ethernet frame with an IPv4 packet of size bytes from a
// customer's port to the internet's discard port.
func udpFrame(gatewayMAC string, c lab.Customer, port uint16, size int) []byte {
	f := make([]byte, 14+size)
	var dst [6]byte
	fmt.Sscanf(gatewayMAC, "%x:%x:%x:%x:%x:%x", &dst[0], &dst[1], &dst[2], &dst[3], &dst[4], &dst[5])
	copy(f[0:], dst[:])
	copy(f[6:], c.MAC)
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[14:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(size))
	ip[8], ip[9] = 64, unix.IPPROTO_UDP
	src := c.IPv4.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], []byte{198, 51, 100, 10})
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	udp := ip[20:]
	binary.BigEndian.PutUint16(udp[0:], port)
	binary.BigEndian.PutUint16(udp[2:], 9)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	return f // no UDP checksum: optional over IPv4 (RFC 768)
}

// checksum of RFC 1071.
func checksum(p []byte) uint16 {
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// runMemory looks at the daemon's resident memory with 1,000 customers active.
func runMemory(ctx context.Context, b *bench) error {
	const active = 1000
	opts := lab.Options{Phones: 1, Crowd: active, Plans: []lab.Plan{ratedPlan}, LinkDown: "1G", LinkUp: "1G"}
	return b.withLab(ctx, opts, func(l *lab.Lab) error {
		if err := crowdIn(ctx, l, ratedPlan.ID, 0, active); err != nil {
			return err
		}
		if err := wait(ctx, 10*time.Second); err != nil {
			return err
		}
		rss, peak, err := memory(l.GatewayPID())
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("resident memory of the daemon, %d active", active), "at most 40 MB",
			fmt.Sprintf("%.1f MB (peak %.1f MB)", float64(rss)/1e6, float64(peak)/1e6), rss <= 40e6)
		return nil
	})
}

// memory reads VmRSS and VmHWM of a process, in bytes.
func memory(pid int) (rss, peak uint64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading memory of the daemon: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		var kb uint64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			rss = kb << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			peak = kb << 10
		}
	}
	return rss, peak, nil
}
