package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// userNSVar holds, inside a lab's user namespace, the user's id outside it.
const userNSVar = "ZONELAB_UID"

// outsideUID is the user who runs the lab, seen from outside any namespace of
// the lab.
func outsideUID() int {
	if v, err := strconv.Atoi(os.Getenv(userNSVar)); err == nil && os.Getuid() == 0 {
		return v
	}
	return os.Getuid()
}

// Privileged reports whether this process may build a lab: as root, or inside
// a user namespace made by Privilege.
func Privileged() bool { return os.Geteuid() == 0 }

// The variables hold the numbers of inherited listeners, for the browser as
// phone1 and for the hub's pages: inside the user namespace there is no way
// back to the network outside it.
const (
	frontVar    = "ZONELAB_FRONT_FD"
	hubFrontVar = "ZONELAB_HUB_FD"
)

var frontVars = []string{frontVar, hubFrontVar}

// Privilege changes cmd so that it starts inside a new user namespace (with
// mounts and a network of its own), where it may build a lab without root. As
// root it changes nothing.
func Privilege(cmd *exec.Cmd) {
	if Privileged() {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	a := cmd.SysProcAttr
	a.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, userNSVar+"="+strconv.Itoa(os.Getuid()))
}

// inUserNS reports whether this process lives in a lab's user namespace.
func inUserNS() bool { return os.Getenv(userNSVar) != "" && os.Getuid() == 0 && outsideUID() != 0 }

// Settle prepares a process that just came into a lab's user namespace: its
// mounts stay its own, and its loopback works. Elsewhere it does nothing.
func Settle() error {
	if !inUserNS() {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separating mounts: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// passFronts gives cmd listeners for the browser, where it cannot make them.
// The caller calls what it returns once cmd has started.
func passFronts(cmd *exec.Cmd, port int) (started func(), err error) {
	var files []*os.File
	started = func() {
		for _, f := range files {
			f.Close()
		}
	}
	if Privileged() || port <= 0 {
		return started, nil
	}
	for i, name := range frontVars {
		ln, err := listenNear(port + i)
		if err != nil {
			started()
			return nil, err
		}
		file, err := ln.(*net.TCPListener).File()
		ln.Close()
		if err != nil {
			started()
			return nil, fmt.Errorf("listening for the browser: %w", err)
		}
		files = append(files, file)
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
		cmd.Env = append(cmd.Env, name+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	}
	return started, nil
}

// listenFront returns the listener inherited by that variable, or makes one.
func listenFront(name string, port int) (net.Listener, error) {
	fd, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return listenNear(port)
	}
	file := os.NewFile(uintptr(fd), "front")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listening for the browser: %w", err)
	}
	return ln, nil
}
