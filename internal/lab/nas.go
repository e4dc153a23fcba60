package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"zonegate/radius/coa/fakenas"
)

// nasHost is the host, and the name in the gateway's book, of the lab's NAS.
const nasHost = "nas"

// NASSecret is the key of the NAS's secret in Info.Secrets.
const NASSecret = nasHost

// Where the gateway answers RADIUS, as the NAS sees it, and where the NAS takes
// CoA-Requests and Disconnect-Requests.
var (
	RADIUSAuth = net.JoinHostPort(gatewayLAN4.String(), "1812")
	RADIUSAcct = net.JoinHostPort(gatewayLAN4.String(), "1813")
	NASAddr    = nas4.String()
	nasCoA     = net.JoinHostPort(NASAddr, "3799")
)

// nasSecretVar hands the secret to the helper: arguments can be read by
// everybody.
const nasSecretVar = "LAB_NAS_SECRET"

// startNAS makes the NAS known to the gateway, which draws its secret, and
// starts what takes the gateway's requests there.
func (l *Lab) startNAS(ctx context.Context) error {
	out, err := l.Zonegate(ctx, "nas", "add", nasHost, "--address", NASAddr, "--vendor", "mikrotik", "--json")
	if err != nil {
		return fmt.Errorf("making the NAS known: %w", err)
	}
	var added struct {
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal(out, &added); err != nil || added.Secret == "" {
		return fmt.Errorf("making the NAS known: reading zonegate's answer: %w", errors.Join(err, fmt.Errorf("%d bytes", len(out))))
	}
	l.Info.Secrets[NASSecret] = added.Secret
	cmd := l.Command(nasHost, l.self, roleNAS)
	cmd.Env = append(os.Environ(), nasSecretVar+"="+added.Secret)
	_, err = l.spawn(nasHost, cmd)
	return err
}

// runNAS takes the gateway's requests for sessions that somebody plays with
// radclient: it writes each of them down and agrees to it.
func runNAS(ctx context.Context) error {
	n, err := fakenas.Listen(nasCoA, agree, os.Getenv(nasSecretVar))
	if err != nil {
		return err
	}
	fmt.Printf("listening at %s\n", nasCoA)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.Serve(ctx) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case r := <-n.Requests():
				fmt.Println(sayRequest(r))
			}
		}
	})
	return g.Wait()
}

// Attribute types that name a session (RFC 2865, 2866).
const (
	attrUserName      = 1
	attrAcctSessionID = 44
)

// agree answers as a NAS that has every session, but for those with which
// zonegate tests whether a NAS listens: they cannot exist.
func agree(_ *fakenas.NAS, r *fakenas.Request) (code byte, cause uint32) {
	if id, _ := r.Get(attrAcctSessionID); strings.HasPrefix(string(id), "zonegate-test") {
		return r.Code + 2, 503 // NAK: no such session
	}
	return r.Code + 1, 0 // ACK
}

func sayRequest(r fakenas.Request) string {
	kind := fmt.Sprintf("request %d", r.Code)
	switch r.Code {
	case fakenas.CoARequest:
		kind = "CoA-Request"
	case fakenas.DisconnectRequest:
		kind = "Disconnect-Request"
	}
	user, _ := r.Get(attrUserName)
	id, _ := r.Get(attrAcctSessionID)
	return fmt.Sprintf("%s User-Name=%q Acct-Session-Id=%q", kind, user, id)
}
