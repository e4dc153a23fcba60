package freeradius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrMissing says that FreeRADIUS is not installed here.
var ErrMissing = errors.New("FreeRADIUS is not installed; run: apt-get install freeradius freeradius-utils")

// A Server is a running FreeRADIUS.
type Server struct {
	Auth, Acct netip.AddrPort
	// CoA is where it takes orders, if it does.
	CoA netip.AddrPort

	cmd   *exec.Cmd
	dir   string
	ours  bool // dir is to be removed
	ended chan struct{}
}

// Start runs a server and returns when it answers. The caller must Close it.
func Start(ctx context.Context, c Config) (*Server, error) {
	program, err := find("freeradius", "radiusd")
	if err != nil {
		return nil, err
	}
	modules, err := moduleDir()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: c.Dir}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "zonelab-freeradius-"); err != nil {
			return nil, fmt.Errorf("making a directory for FreeRADIUS: %w", err)
		}
		s.ours = true
	}
	// Its configuration cannot ask for whatever port is free, so a free one is
	// looked for first, which somebody else may take meanwhile.
	for range 3 {
		if err = s.start(ctx, &c, program, modules); err == nil || ctx.Err() != nil || !strings.Contains(s.Log(), "in use") {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, c *Config, program, modules string) error {
	ports, err := freePorts()
	if err != nil {
		return err
	}
	if err := c.write(s.dir, modules, ports); err != nil {
		return err
	}
	s.Auth = netip.AddrPortFrom(loopback, uint16(ports[0]))
	s.Acct = netip.AddrPortFrom(loopback, uint16(ports[1]))
	if c.Orders {
		s.CoA = netip.AddrPortFrom(loopback, uint16(ports[2]))
	}
	out, err := os.Create(s.logName())
	if err != nil {
		return fmt.Errorf("starting FreeRADIUS: %w", err)
	}
	defer out.Close()
	s.cmd = exec.Command(program, "-f", "-l", "stdout", "-d", s.dir)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting FreeRADIUS: %w", err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		_ = s.cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	if err := s.answers(ctx, []byte(c.Secret)); err != nil {
		s.stop()
		return err
	}
	return nil
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// freePorts finds UDP ports that nobody has.
func freePorts() (ports [3]int, err error) {
	for i := range ports {
		l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return ports, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close()
		ports[i] = l.LocalAddr().(*net.UDPAddr).Port
	}
	return ports, nil
}

// find looks for a program where administrators' programs are, too: not every
// PATH has them.
func find(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", ErrMissing
}

// moduleDir is where the loadable parts are; each distribution has its place.
func moduleDir() (string, error) {
	for _, pattern := range []string{"/usr/lib/freeradius", "/usr/lib/*/freeradius", "/usr/lib64/freeradius", "/usr/local/lib"} {
		found, err := filepath.Glob(filepath.Join(pattern, "rlm_pap.so"))
		if err == nil && len(found) > 0 {
			return filepath.Dir(found[0]), nil
		}
	}
	return "", fmt.Errorf("finding rlm_pap.so: %w", ErrMissing)
}

// answers waits until the server answers a Status-Server (RFC 5997).
func (s *Server) answers(ctx context.Context, secret []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.Auth))
	if err != nil {
		return fmt.Errorf("asking FreeRADIUS: %w", err)
	}
	defer conn.Close()
	// Nobody listening is told to the socket at once; then it waits a little.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	answer := make([]byte, 4096)
	for {
		select {
		case <-s.ended:
			return fmt.Errorf("FreeRADIUS ended: %s", s.lastLines())
		case <-ctx.Done():
			return fmt.Errorf("FreeRADIUS does not answer: %w: %s", ctx.Err(), s.lastLines())
		case <-tick.C:
		}
		if _, err := conn.Write(statusServer(secret)); err != nil {
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return fmt.Errorf("asking FreeRADIUS: %w", err)
		}
		if n, err := conn.Read(answer); err == nil && n >= 20 && answer[0] == 2 {
			return nil
		}
	}
}

// statusServer is a request with nothing but a Message-Authenticator (RFC 3579
// section 3.2).
func statusServer(secret []byte) []byte {
	p := make([]byte, 38)
	p[0], p[3] = 12, 38
	_, _ = rand.Read(p[1:2]) // never fails
	_, _ = rand.Read(p[4:20])
	p[20], p[21] = 80, 18
	mac := hmac.New(md5.New, secret)
	mac.Write(p)
	copy(p[22:], mac.Sum(nil))
	return p
}

// PID is the process's number.
func (s *Server) PID() int { return s.cmd.Process.Pid }

func (s *Server) logName() string { return filepath.Join(s.dir, "log") }

// Log is what the server has printed so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logName())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Orders are the requests that it was sent as a NAS, in FreeRADIUS's words:
// the kind of each, and its attributes by name.
func (s *Server) Orders() (string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "orders"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the orders: %w", err)
	}
	return string(text), nil
}

func (s *Server) lastLines() string {
	lines := bytes.Split(bytes.TrimSpace([]byte(s.Log())), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-8):], []byte("\n")))
}

// stop ends the process and waits for its end.
func (s *Server) stop() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.ended:
	case <-time.After(3 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.ended = nil
}

// Close stops the server and removes its directory.
func (s *Server) Close() error {
	s.stop()
	if s.ours {
		return os.RemoveAll(s.dir)
	}
	return nil
}
