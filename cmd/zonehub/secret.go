package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// A secret is a file's content, or what the environment had at the start. It
// is never printed.
type secret struct {
	file  string
	value string

	mu   sync.Mutex
	read time.Time // the file's, when it was read last
	size int64
}

// openSecret reads a secret for the first time.
func openSecret(file, variable string, lookup func(string) (string, bool)) (*secret, error) {
	s := &secret{file: file}
	if file == "" {
		v, ok := lookup(variable)
		if !ok {
			return nil, fmt.Errorf("the environment has no %s", variable)
		}
		var err error
		if s.value, err = oneLine(v); err != nil {
			return nil, fmt.Errorf("%s of the environment %w", variable, err)
		}
		return s, nil
	}
	_, err := s.get()
	return s, err
}

// get is the secret as it is now: a file is read again once it has changed.
// Providers rotate keys, and nothing has to be restarted for that.
func (s *secret) get() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.file)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	if info.ModTime().Equal(s.read) && info.Size() == s.size {
		return s.value, nil
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("everybody on this machine can read %s: chmod 600 it", s.file)
	}
	if info.Size() > 4096 {
		return "", fmt.Errorf("%s is too large for a secret", s.file)
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	value, err := oneLine(string(text))
	if err != nil {
		return "", fmt.Errorf("%s %w", s.file, err)
	}
	s.value, s.read, s.size = value, info.ModTime(), info.Size()
	return s.value, nil
}

func (*secret) String() string { return "(secret)" }

// oneLine is a secret without the end of its line.
func oneLine(v string) (string, error) {
	v = strings.TrimSpace(v)
	switch {
	case v == "":
		return "", errors.New("is empty: put the secret there, alone")
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > 0x7e }):
		return "", errors.New("must have one line of plain characters: the secret alone")
	}
	return v, nil
}

// current returns what tells the secret as it is now. A file that cannot be
// read leaves the one before in use: whoever rotates it is told in the log.
func (s *secret) current(log *slog.Logger) func() string {
	return func() string {
		v, err := s.get()
		if err != nil {
			log.Error("reading a secret again; the one before stays in use", "err", err)
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.value
		}
		return v
	}
}
