package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process names one process beyond doubt: a number that came back has
// another start time.
type process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
}

// state is what the lab leaves on disk for exec, down, status and the next up.
type state struct {
	Name     string    `json:"name"`
	Dir      string    `json:"dir"`
	NetnsDir string    `json:"netns_dir"`
	UserNS   bool      `json:"user_namespace"`
	Hosts    []string  `json:"hosts"`
	EtcNetns []string  `json:"etc_netns"` // resolver files made for `ip netns exec`
	Keeper   process   `json:"keeper"`
	Children []process `json:"children"`
	Ready    bool      `json:"ready"`
	Info     Info      `json:"info"`
}

func (s *state) netnsName(host string) string { return s.Name + "-" + host }
func (s *state) netnsPath(host string) string { return filepath.Join(s.NetnsDir, s.netnsName(host)) }

// resolvPath is the resolver file of a host: those on the LAN ask the gateway,
// the others ask the internet.
func (s *state) resolvPath(host string) string {
	if strings.HasPrefix(host, "phone") || host == "crowd" || host == nasHost {
		return filepath.Join(s.Dir, "resolv.lan")
	}
	return filepath.Join(s.Dir, "resolv.wan")
}

func (s *state) save() error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding lab state: %w", err)
	}
	path := filepath.Join(s.Dir, "state.json")
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("writing lab state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing lab state: %w", err)
	}
	return nil
}

// ErrNotRunning says that no lab of that name is up.
var ErrNotRunning = errors.New("lab is not running: start it with zonelab up")

// stateDir is where a lab of that name keeps its files.
func stateDir(name string) string {
	if outsideUID() == 0 {
		return filepath.Join("/run/zonelab", name)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "zonelab", name)
	}
	return filepath.Join(os.TempDir(), "zonelab-"+strconv.Itoa(outsideUID()), name)
}

func loadState(name string) (*state, error) {
	data, err := os.ReadFile(filepath.Join(stateDir(name), "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("reading lab state: %w", err)
	}
	s := new(state)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("reading lab state: %w", err)
	}
	return s, nil
}

// thisProcess describes a living process.
func processOf(name string, pid int) (process, error) {
	start, err := startTime(pid)
	if err != nil {
		return process{}, err
	}
	return process{Name: name, PID: pid, Start: start}, nil
}

// startTime reads field 22 of /proc/PID/stat; see proc(5).
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading process %d: %w", pid, err)
	}
	// The command name is in parentheses and may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("reading process %d: short stat", pid)
	}
	if fields[0] == "Z" {
		return 0, fmt.Errorf("reading process %d: %w", pid, os.ErrNotExist)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// alive reports whether exactly this process still runs.
func (p process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// end asks the process to stop and kills it when it has not after the grace.
// Without a grace it is killed at once.
func (p process) end(grace time.Duration) error {
	if !p.alive() {
		return nil
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("ending %s: %w", p.Name, err)
	}
	defer unix.Close(fd)
	if !p.alive() { // the descriptor must be of the process that was meant
		return nil
	}
	steps := []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 5 * time.Second}}
	if grace == 0 {
		steps = steps[1:]
	}
	for _, step := range steps {
		if err := unix.PidfdSendSignal(fd, step.sig, nil, 0); err != nil {
			if errors.Is(err, unix.ESRCH) {
				return nil
			}
			return fmt.Errorf("ending %s: %w", p.Name, err)
		}
		if waitPidfd(fd, step.wait) {
			return nil
		}
	}
	return fmt.Errorf("ending %s (pid %d): it does not end", p.Name, p.PID)
}

// waitPidfd waits until the process has ended, at most for d.
func waitPidfd(fd int, d time.Duration) bool {
	deadline := time.Now().Add(d)
	for {
		left := time.Until(deadline)
		if left < 0 {
			return false
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
}

// cleanUp removes what a lab left: its processes, its namespaces, its files.
// It touches nothing that the state does not name.
func (s *state) cleanUp() error {
	var errs []error
	for _, p := range s.Children {
		errs = append(errs, p.end(2*time.Second))
	}
	for _, host := range s.Hosts {
		if s.UserNS {
			// The mounts went with the keeper, except in a process that shares
			// its mounts.
			_ = unix.Unmount(s.netnsPath(host), unix.MNT_DETACH)
			continue
		}
		errs = append(errs, space{path: s.netnsPath(host)}.remove())
	}
	for _, dir := range s.EtcNetns {
		errs = append(errs, os.RemoveAll(dir))
	}
	if s.Dir == stateDir(s.Name) {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}
