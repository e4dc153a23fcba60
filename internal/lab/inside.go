package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// First arguments under which a program that uses the package starts itself
// again.
const (
	roleInside   = "lab-inside"   // run a program inside a host
	roleInternet = "lab-internet" // web and name servers of the internet
	roleResolver = "lab-resolver" // the resolver of the gateway's system
	roleBrowser  = "lab-browser"  // proxy inside phone1
	roleNAS      = "lab-nas"      // takes CoA and Disconnect at the NAS
	roleRouter   = "lab-router"   // the simulated MikroTik
)

// RunHelper must be called before anything else by a program that uses the
// package. In a process that the lab started for itself it does that process's
// work and exits; otherwise it returns at once.
func RunHelper() {
	if len(os.Args) < 2 {
		return
	}
	var err error
	switch os.Args[1] {
	case roleInside:
		err = runInside(os.Args[2:])
	case roleInternet:
		err = helperTask(runInternet)
	case roleResolver:
		err = helperTask(runResolver)
	case roleBrowser:
		err = helperTask(func(ctx context.Context) error { return runBrowser(ctx, os.Args[2:]) })
	case roleNAS:
		err = helperTask(runNAS)
	case roleRouter:
		err = helperTask(func(ctx context.Context) error { return runRouter(ctx, os.Args[2:]) })
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helperTask runs a helper until its standard input ends, which happens when
// the lab's own process ends in whatever way.
func helperTask(run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		buf := make([]byte, 64)
		for {
			if _, err := os.Stdin.Read(buf); err != nil {
				return
			}
		}
	}()
	return run(ctx)
}

// insideArgs returns the arguments for RunHelper that run a program inside the
// namespace at path, in directory dir ("" for the current one).
func insideArgs(path, resolv, dir string, argv []string) []string {
	return append([]string{roleInside, path, resolv, dir, "--"}, argv...)
}

// runInside enters a host and becomes the given program: the namespace's
// network, its own view of /sys and its own /etc/resolv.conf.
func runInside(args []string) error {
	if len(args) < 5 || args[3] != "--" {
		return errors.New("usage: lab-inside NETNS RESOLV DIR -- COMMAND [ARG...]")
	}
	path, resolv, dir, argv := args[0], args[1], args[2], args[4:]
	runtime.LockOSThread()
	if err := (space{path: path}).enter(); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unsharing mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separating mounts: %w", err)
	}
	// Both are comforts. A program that needs neither should still run.
	_ = unix.Mount("sysfs", "/sys", "sysfs", 0, "")
	if resolv != "" {
		if err := unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
			fmt.Fprintf(os.Stderr, "zonelab: host names resolve as outside the lab: %v\n", err)
		}
	}
	if dir != "" {
		if err := os.Chdir(dir); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := unix.Exec(program, argv, hostEnv()); err != nil {
		return fmt.Errorf("executing %s: %w", program, err)
	}
	return nil
}

// hostEnv is the environment of a host of the lab: ours, but a proxy that this
// machine uses means nothing there.
func hostEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		if strings.HasSuffix(strings.ToLower(key), "_proxy") {
			continue
		}
		env = append(env, kv)
	}
	return env
}

// Command returns a command that runs at a host. Its process id is that of the
// program itself, and it ends when the context or Close ends it, not before.
func (l *Lab) Command(host, name string, args ...string) *exec.Cmd {
	return l.CommandContext(context.Background(), host, name, args...)
}

// CommandContext is Command with a context that kills it.
func (l *Lab) CommandContext(ctx context.Context, host, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, l.self,
		insideArgs(l.state.netnsPath(host), l.state.resolvPath(host), "", append([]string{name}, args...))...)
}

// Do runs f inside a host's network, on one thread that f must not leave. A
// socket that f makes belongs to the host for ever.
func (l *Lab) Do(host string, f func() error) error {
	s, ok := l.spaces[host]
	if !ok {
		return fmt.Errorf("entering %s: no such host", host)
	}
	return s.do(f)
}

// Dial connects from a host. The address must be numeric.
func (l *Lab) Dial(ctx context.Context, host, network, address string) (net.Conn, error) {
	return l.DialFrom(ctx, host, net.Dialer{}, network, address)
}

// DialFrom is Dial with the caller's dialer, for its local address.
func (l *Lab) DialFrom(ctx context.Context, host string, d net.Dialer, network, address string) (conn net.Conn, err error) {
	err = l.Do(host, func() error {
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens for connections at a host. The address must be numeric.
func (l *Lab) Listen(host, network, address string) (ln net.Listener, err error) {
	err = l.Do(host, func() error {
		ln, err = net.Listen(network, address)
		return err
	})
	return ln, err
}

// ListenPacket listens for packets at a host. The address must be numeric.
func (l *Lab) ListenPacket(host, network, address string) (conn net.PacketConn, err error) {
	err = l.Do(host, func() error {
		conn, err = net.ListenPacket(network, address)
		return err
	})
	return conn, err
}
