//go:build !linux

package dns

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
)

func listen(context.Context, string, uint16) ([]*net.UDPConn, []net.Listener, error) {
	return nil, nil, fmt.Errorf("listening on an interface on %s: %w", runtime.GOOS, os.ErrNotExist)
}

func replyControl([]byte) []byte { return nil }
