package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// TestMain lets the lab start this test binary again for its helpers.
func TestMain(m *testing.M) {
	lab.RunHelper()
	if name := os.Getenv("LAB_TEST_CRASH"); name != "" {
		crash(name)
	}
	if !lab.Privileged() {
		// Without root the tests run in a user namespace, as zonelab does.
		code, err := lab.Rerun(0, os.Args[1:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// up builds a lab that ends with the test. Several test binaries may run at
// once, so the name holds the process id.
func up(t *testing.T, opts lab.Options) *lab.Lab {
	t.Helper()
	if opts.Name == "" {
		opts.Name = fmt.Sprintf("zt%d", os.Getpid())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := lab.Up(ctx, opts)
	if err != nil {
		t.Fatalf("building lab: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() && opts.Daemon {
			if log, err := os.ReadFile(l.Info.Logs["gateway"]); err == nil {
				t.Logf("gateway's log:\n%s", log)
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("closing lab: %v", err)
		}
	})
	return l
}

// output runs a command at a host and returns what it printed.
func output(t *testing.T, l *lab.Lab, host string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := l.CommandContext(ctx, host, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %v\n%s", host, argv, err, out)
	}
	return string(out)
}

// exitCode is the code with which a command ended.
func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// crash builds a lab and dies without taking it down.
func crash(name string) {
	if _, err := lab.Up(context.Background(), lab.Options{Name: name, Phones: 1}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("crashing")
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// crashedLab runs crash in a process of its own and returns what it said.
func crashedLab(t *testing.T, self, name string) string {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LAB_TEST_CRASH="+name)
	out, err := cmd.Output()
	if err == nil {
		t.Fatal("the crashing lab did not crash")
	}
	return string(out)
}
