// Package postgres runs a real PostgreSQL server of the distribution for tests
// and benchmarks: its own data directory, a unix socket only, synced like a
// real one. It knows nothing of what is stored there.
package postgres

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

const superuser = "tests"

// A Server is a PostgreSQL server. Safe for concurrent use, but for Stop.
type Server struct {
	bin, dir string
	attr     *syscall.SysProcAttr
	options  []string
	schemas  atomic.Int64

	mu      sync.Mutex
	process *exec.Cmd
	drained chan struct{}
}

// Start makes a data directory and starts a server on it. Options are further
// settings, as "max_connections=50".
func Start(options ...string) (*Server, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return nil, errors.New("there is no PostgreSQL server under /usr/lib/postgresql: install the distribution's package postgresql")
	}
	dir, err := os.MkdirTemp("", "hubpg")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: filepath.Dir(found[len(found)-1]), dir: dir, options: options, attr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}}
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) begin() error {
	if os.Getuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2, os.Chown(s.dir, int(uid), int(gid))); err != nil {
			return err
		}
		s.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if out, err := s.command("initdb", "-D", s.data(), "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-instructions").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s.Resume()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.attr
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	return cmd
}

// Resume starts the server again after Kill, and returns when it answers.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=on", "-c", "synchronous_commit=on"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	cmd := s.command("postgres", args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "ready to accept connections") {
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				io.Copy(io.Discard, stderr)
			}()
			s.process, s.drained = cmd, drained
			return nil
		}
	}
	return fmt.Errorf("the server ended: %v\n%s", cmd.Wait(), said.String())
}

// Analyze has the planner learn what is in a database.
func (s *Server) Analyze(ctx context.Context, url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "ANALYZE"); err != nil {
		return fmt.Errorf("analyzing: %w", err)
	}
	return nil
}

// CPU is what the server and its living children have used.
func (s *Server) CPU() (total time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0, errors.New("the server does not run")
	}
	pid := s.process.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	for i, p := range append([]string{strconv.Itoa(pid)}, strings.Fields(string(children))...) {
		stat, err := os.ReadFile("/proc/" + p + "/stat")
		if err != nil {
			continue // it has ended, and counts as its parent's
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 15 {
			return 0, fmt.Errorf("reading CPU time: %q", stat)
		}
		// User and system time, and of the first those of ended children too;
		// see proc(5), /proc/pid/stat.
		last := 13
		if i == 0 {
			last = 15
		}
		for _, f := range fields[11:last] {
			ticks, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading CPU time: %w", err)
			}
			total += time.Duration(ticks) * (time.Second / 100) // USER_HZ
		}
	}
	return total, nil
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() error { return s.end(syscall.SIGQUIT) }

// Stop ends the server and removes its data.
func (s *Server) Stop() error {
	return errors.Join(s.end(syscall.SIGINT), os.RemoveAll(s.dir))
}

func (s *Server) end(with syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	err := s.process.Process.Signal(with)
	<-s.drained
	werr := s.process.Wait()
	var exit *exec.ExitError
	if with == syscall.SIGQUIT && errors.As(werr, &exit) {
		werr = nil
	}
	s.process = nil
	return errors.Join(err, werr)
}

// Database makes an empty schema and returns the URL under which it is all
// that there is.
func (s *Server) Database(ctx context.Context) (string, error) {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/postgres"}
	q := url.Values{"host": {s.dir}, "sslmode": {"disable"}}
	u.RawQuery = q.Encode()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		return "", err
	}
	defer db.Close()
	name := fmt.Sprintf("t%d", s.schemas.Add(1))
	if _, err := db.ExecContext(ctx, "CREATE SCHEMA "+name); err != nil {
		return "", err
	}
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
