package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// ErrInUse says that another daemon serves the socket.
var ErrInUse = errors.New("another zonegate serves this socket")

// A Server serves a Handler on a unix socket.
type Server struct {
	listener net.Listener
	lock     *os.File
	server   *http.Server
	once     sync.Once
	closed   error
}

// Listen takes the socket: its directory is created where missing, a socket
// that a dead daemon left is replaced, and one that a living daemon serves is
// ErrInUse. Only the owner of the process may connect. It changes the umask of
// the process for a moment, so it belongs to the start, before any task runs.
func Listen(path string, h *Handler) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory of the control socket: %w", err)
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("taking the control socket %s: %w", path, err)
	}
	l, err := listen(path)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("taking the control socket %s: %w", path, err)
	}
	return &Server{listener: l, lock: lock, server: &http.Server{
		Handler: h.HTTP(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}}, nil
}

// takeLock holds a lock that dies with the process, so who has it may replace
// the socket. The file stays: removing it would let two owners in.
func takeLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return f, nil
}

func listen(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != os.ModeSocket:
		return nil, errors.New("something that is no socket has this name; move it away")
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}

// Run serves until the context is done, and answers what was asked before.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(s.listener) }()
	select {
	case err := <-failed:
		s.Close()
		return fmt.Errorf("serving the control socket: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.server.Shutdown(grace) != nil {
		s.server.Close()
	}
	<-failed
	return s.Close()
}

// Close gives the socket back, also when Run was never called. It may be
// called again.
func (s *Server) Close() error {
	s.once.Do(func() {
		err := s.listener.Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil // by the HTTP server
		}
		s.closed = errors.Join(err, s.lock.Close())
	})
	return s.closed
}
