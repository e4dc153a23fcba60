package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", name, err)
	}
	return path, nil
}

// A child is a process of the lab that runs on.
type child struct {
	process
	stdin io.Closer     // a helper ends when it is closed
	done  chan struct{} // closed when the process has ended
	err   error         // how, once done is closed
}

// spawn starts a process of the lab with its output appended to logs/NAME.log.
func (l *Lab) spawn(name string, cmd *exec.Cmd) (*child, error) {
	log := filepath.Join(l.state.Dir, "logs", name+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// A Ctrl-C is for the lab, which then ends its processes in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{stdin: stdin, done: make(chan struct{})}
	if c.process, err = processOf(name, cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	l.tasks.Go(func() {
		c.err = cmd.Wait()
		close(c.done)
	})
	l.kids = append(l.kids, c)
	l.Info.Logs[name] = log
	return c, l.recordChildren()
}

// recordChildren brings the state file up to date.
func (l *Lab) recordChildren() error {
	var kids []*child
	l.state.Children = nil
	for _, c := range l.kids {
		select {
		case <-c.done:
			continue
		default:
		}
		kids = append(kids, c)
		l.state.Children = append(l.state.Children, c.process)
	}
	l.kids = kids
	return l.state.save()
}

// end asks the process to end, insists after the grace, and waits. Without a
// grace it is killed without warning.
func (c *child) end(grace time.Duration) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	if grace > 0 {
		c.stdin.Close()
	}
	if err := c.process.end(grace); err != nil {
		return err
	}
	<-c.done
	return nil
}

// tail returns the last lines of a log.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
