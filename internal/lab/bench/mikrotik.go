package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"zonegate"
	"zonegate/internal/clock"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// A provision is what the row does with a simulated MikroTik.
type provision struct {
	devices, rounds int
	delay           time.Duration // of each command
}

// Rates of a plan with a committed part, and of one without.
var (
	ratesCIR   = zonegate.Rate{CIRUp: 256e3, CIRDown: 1e6, MIRUp: 2e6, MIRDown: 5e6}
	ratesNoCIR = zonegate.Rate{MIRUp: 2e6, MIRDown: 5e6}
)

func runMikroTik(ctx context.Context, b *bench) error {
	return b.provision(ctx, provision{devices: 1000, rounds: 3, delay: 5 * time.Millisecond})
}

// provision lets devices in over the API of a simulated router, over TLS on
// loopback.
func (b *bench) provision(ctx context.Context, p provision) error {
	var each, one []string
	eachOK, oneOK := true, true
	for _, plan := range []struct {
		name string
		rate zonegate.Rate
	}{{"with a CIR", ratesCIR}, {"without a CIR", ratesNoCIR}} {
		var took []time.Duration
		var all, half provisioned
		for range p.rounds {
			var err error
			if all, err = p.run(ctx, plan.rate, p.devices, p.delay, false); err != nil {
				return err
			}
			took = append(took, all.took)
			b.say("  %d devices %s: %s, %d commands", p.devices, plan.name, all.took.Round(time.Millisecond), all.commands)
		}
		// What is done once is in both.
		half, err := p.run(ctx, plan.rate, p.devices/2, 0, false)
		if err != nil {
			return err
		}
		n := float64(all.commands-half.commands) / float64(p.devices-p.devices/2)
		b.add(fmt.Sprintf("%d devices %s in one session, %s a command", p.devices, plan.name, p.delay), "at most 60 s",
			fmt.Sprintf("%.1f s (%d commands)", median(took).Seconds(), all.commands), median(took) <= time.Minute)
		if plan.rate == ratesCIR {
			daemon, err := p.run(ctx, plan.rate, p.devices, p.delay, true)
			if err != nil {
				return err
			}
			b.add("the same as in the daemon, which lets sales go first", "at most 60 s",
				fmt.Sprintf("%.1f s (%d commands, %d of them to scale CIRs)", daemon.took.Seconds(), daemon.commands, daemon.scaling), daemon.took <= time.Minute)
			more := daemon.commands - all.commands
			b.add("commands of the daemon beyond these", "at most 50", fmt.Sprint(more), more <= 50)
		}
		each, eachOK = append(each, fmt.Sprintf("%.3g %s", n, plan.name)), eachOK && n <= 3
		one, oneOK = append(one, fmt.Sprintf("%d %s", all.activation, plan.name)), oneOK && all.activation <= 3
		if plan.rate == ratesNoCIR {
			b.add("commands for each further device of them", "at most 3", strings.Join(each, ", "), eachOK)
			b.add("commands from a redemption to the internet", "at most 3", strings.Join(one, ", "), oneOK)
			b.add(fmt.Sprintf("commands to read the counters of %d devices", p.devices), "at most 1", fmt.Sprint(all.reading), all.reading <= 1)
			b.add(fmt.Sprintf("queues of a plan without a CIR, %d devices", p.devices), "at most 2", fmt.Sprint(all.queues), all.queues <= 2)
		}
	}
	return nil
}

// provisioned is how a round went.
type provisioned struct {
	took time.Duration
	// commands let all in, activation one more, and reading reads counters.
	commands, activation, reading int
	// scaling is how many of the first changed a CIR that was set before.
	scaling int
	queues  int
}

// run is one round. With a task, the data path works as in the daemon, where
// Apply leaves what takes long to it.
func (p provision) run(ctx context.Context, rate zonegate.Rate, devices int, delay time.Duration, task bool) (out provisioned, err error) {
	s, err := newSimulated(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var want []zonegate.Order
	for i := range devices + 1 {
		if err := s.sim.Appear(customerMAC(i).String(), customerAddr(i).String()); err != nil {
			return out, err
		}
		want = append(want, zonegate.Order{
			Session: zonegate.SessionID(i + 1), Grant: zonegate.GrantID(i + 1), Device: customerMAC(i), Devices: 1,
			Rate: rate, Allowance: 1e9, Until: s.clock.Now().Mono + 24*time.Hour,
		})
	}
	if err := s.router.Apply(ctx, nil); err != nil { // connects
		return out, err
	}
	if task {
		if err := s.runTask(ctx); err != nil {
			return out, err
		}
	}
	s.sim.Delay(delay)
	s.commands()
	start := time.Now()
	if err := s.router.Apply(ctx, want[:devices]); err != nil {
		return out, err
	}
	for task && len(s.sim.Print("/ip/hotspot/active")) < devices {
		if time.Since(start) > 10*time.Minute {
			return out, errors.New("the task has not let everybody in after ten minutes")
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return out, err
		}
	}
	out.took, out.scaling = time.Since(start), s.sim.Commands()["/queue/simple/set"]
	out.commands = s.commands()
	s.sim.Delay(0)
	if task {
		return out, nil // what follows would count what the task does
	}
	if n := len(s.sim.Print("/ip/hotspot/active")); n != devices {
		return out, fmt.Errorf("%d of %d devices are let in", n, devices)
	}
	for _, menu := range []string{"/queue/simple", "/queue/tree"} {
		for _, q := range s.sim.Print(menu) {
			if strings.HasPrefix(q["comment"], "zonegate:") {
				out.queues++
			}
		}
	}
	if _, err := s.router.Usage(ctx); err != nil {
		return out, err
	}
	out.reading = s.commands()
	// The portal has asked who it is; that is no part of it.
	if _, err := s.router.Locate(ctx, customerAddr(devices)); err != nil {
		return out, err
	}
	s.commands()
	if err := s.router.Change(ctx, want[devices:], nil); err != nil {
		return out, err
	}
	out.activation = s.commands()
	if up, down := s.sim.Traffic(customerMAC(devices).String(), 64, 64); up+down == 0 {
		return out, errors.New("the device that was let in does not pass")
	}
	return out, nil
}

func customerMAC(i int) zonegate.MAC { return zonegate.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)} }

func customerAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 5, byte(50 + i/250), byte(2 + i%250)})
}

// A simulated router, and the data path that drives it.
type simulated struct {
	sim    *simros.Router
	router *mikrotik.Router
	clock  zonegate.Clock
	ctx    context.Context
	stop   context.CancelFunc
	served chan error
	ran    chan error // of the data path's task, nil without one
}

func newSimulated(ctx context.Context) (*simulated, error) {
	c, err := clock.New()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the router's certificate: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making the router's certificate: %w", err)
	}
	sum := sha256.Sum256(der)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		return nil, fmt.Errorf("listening for the API: %w", err)
	}
	s := &simulated{clock: c, served: make(chan error, 1), sim: simros.New(simros.Options{User: "zonegate", Password: "of the laboratory"})}
	s.router, err = mikrotik.New(mikrotik.Config{
		Address: l.Addr().String(), User: "zonegate", Password: "of the laboratory", Fingerprint: hex.EncodeToString(sum[:]),
		LinkDown: 200e6, LinkUp: 200e6, Timeout: time.Minute, Clock: c,
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	go func() { s.served <- s.sim.Serve(s.ctx, l) }()
	return s, nil
}

// runTask starts the data path's task and waits until it is at work.
func (s *simulated) runTask(ctx context.Context) error {
	s.commands()
	s.ran = make(chan error, 1)
	go func() { s.ran <- s.router.Run(s.ctx) }()
	for s.sim.Commands()["/ip/hotspot/active/print"] == 0 {
		if err := wait(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (s *simulated) close() error {
	s.stop()
	errs := []error{<-s.served}
	if s.ran != nil {
		errs = append(errs, <-s.ran)
	}
	return errors.Join(append(errs, s.router.Close())...)
}

// commands counts those since it was last called.
func (s *simulated) commands() (n int) {
	for _, c := range s.sim.Commands() {
		n += c
	}
	s.sim.ForgetCommands()
	return n
}
