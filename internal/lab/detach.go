package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// Rerun starts this program again with the given arguments inside a new user
// namespace, passes signals on, and returns its exit code. The browser's port
// is 0 when there will be none.
func Rerun(browserPort int, args []string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding own program: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	Privilege(cmd)
	started, err := passFronts(cmd, browserPort)
	if err != nil {
		return 0, err
	}
	defer started()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, noUserNS(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// The terminal's Ctrl-C reached it already; once more is harmless.
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}

func noUserNS(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("this machine does not allow unprivileged user namespaces (%w): run zonelab as root (sudo)", err)
	}
	return err
}

// Detach runs `up` with the given arguments in the background and returns what
// it built once it is ready.
func Detach(name string, browserPort int, args []string) (Info, error) {
	if err := CheckName(name); err != nil {
		return Info{}, err
	}
	if old, err := loadState(name); err == nil && old.Keeper.alive() {
		return Info{}, fmt.Errorf("lab %s already runs (pid %d): stop it with zonelab down --name %[1]s", name, old.Keeper.PID)
	}
	self, err := os.Executable()
	if err != nil {
		return Info{}, fmt.Errorf("finding own program: %w", err)
	}
	dir := stateDir(name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Info{}, fmt.Errorf("creating lab directory: %w", err)
	}
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return Info{}, fmt.Errorf("creating lab log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{"up"}, args...)...)
	cmd.Stdout, cmd.Stderr = nil, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	Privilege(cmd)
	started, err := passFronts(cmd, browserPort)
	if err != nil {
		return Info{}, err
	}
	defer started()
	if err := cmd.Start(); err != nil {
		return Info{}, noUserNS(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the log says why
		close(ended)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for {
		select {
		case <-ended:
			return Info{}, fmt.Errorf("the lab did not start: %s", said(log.Name()))
		case <-limit:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-ended
			return Info{}, fmt.Errorf("the lab was not ready after two minutes: %s", said(log.Name()))
		case <-tick.C:
			s, err := loadState(name)
			if err == nil && s.Ready && s.Keeper.PID != 0 && s.Keeper.alive() {
				return s.Info, nil
			}
		}
	}
}

func said(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimPrefix(bytes.TrimSpace(data), []byte("zonelab: ")))
}
