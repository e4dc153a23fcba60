package central

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"zonegate"
	"zonegate/sync/api"
)

// ErrAway is a question that the hub could not be asked now.
var ErrAway = errors.New("the hub cannot be asked now")

// Claim asks the hub about a code that is not known here, a roaming voucher for
// example, and makes what it stands for the device's; nas is as in
// [zonegate.Redemption]. What the hub says against the code is
// [zonegate.ErrWrongCode], ErrUsedCode, ErrExpiredCode or ErrRevokedCode. Asked
// again for the same device, it is the same purchase.
//
// Cancel the context to give up: a deadline would count against the hub.
func (c *Central) Claim(ctx context.Context, code string, device zonegate.MAC, nas string) error {
	c.mu.Lock()
	l := c.line
	c.mu.Unlock()
	if l == nil {
		return ErrAway
	}
	l.mu.Lock()
	proven := l.proven
	l.mu.Unlock()
	if !proven || l.revoked() {
		return ErrAway
	}
	var s api.Signed
	err := l.client.call(ctx, http.MethodPost, api.PathClaims, api.Claim{Code: code, Device: device.String()}, &s)
	if r, ok := refused(err); ok {
		switch r.Problem.Code {
		case api.CodeNotFound:
			return zonegate.ErrWrongCode
		case api.CodeUsed:
			return zonegate.ErrUsedCode
		case api.CodeExpired:
			return zonegate.ErrExpiredCode
		case api.CodeRevoked:
			return zonegate.ErrRevokedCode
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	p, err := s.Open(l.key, l.site)
	if err != nil {
		return fmt.Errorf("taking what a code stands for: %w", err)
	}
	change, err := change(p)
	if err != nil {
		return fmt.Errorf("taking what a code stands for: %w", err)
	}
	// A push from elsewhere in the stream is signed too.
	g, ok := change.(zonegate.GrantPushed)
	if !ok || p.Seq != 0 || g.Device != device {
		return errors.New("taking what a code stands for: the hub's answer is about something else")
	}
	g.NAS = nas
	if err := c.o.Gate.TakePush(ctx, 0, g); err != nil {
		return fmt.Errorf("taking what a code stands for: %w", err)
	}
	return nil
}
