package server

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"zonegate/hub"
)

// Tokens makes and checks the JWTs of users (RFC 7519, HS256). A token only
// says who somebody is; what he may do is looked up each time, so that a
// change counts at once. It is void when the password changes (Epoch).
type Tokens struct {
	// Key is 32 octets, kept beside the database: hub.Keys.JWT.
	Key []byte
	// Life of a token; 0 is 12 hours.
	Life time.Duration
	// Now tells the time; nil is time.Now.
	Now func() time.Time
}

const tokenIssuer = "zonehub"

// claims are what a token says. Role and Reseller are for whoever looks into
// it; the hub does not believe them.
type claims struct {
	jwt.RegisteredClaims
	Epoch    int64    `json:"epoch"`
	Role     hub.Role `json:"role"`
	Reseller string   `json:"reseller_id,omitempty"`
}

func (t Tokens) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}

// Issue makes a token for a user who was just checked.
func (t Tokens) Issue(u hub.User) (token string, expires time.Time, err error) {
	life := t.Life
	if life == 0 {
		life = 12 * time.Hour
	}
	now := t.now().UTC().Truncate(time.Second)
	expires = now.Add(life)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: tokenIssuer, Subject: u.ID,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
		},
		Epoch: u.Epoch, Role: u.Role, Reseller: u.Reseller,
	}).SignedString(t.Key)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("signing a token: %w", err)
	}
	return token, expires, nil
}

// Check returns whom a token was made for. Ask hub.Hub.Actor whether he still
// counts.
func (t Tokens) Check(token string) (user string, epoch int64, err error) {
	var c claims
	_, err = jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return t.Key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(tokenIssuer),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(t.now))
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", hub.ErrUnauthorized, err)
	}
	if c.Subject == "" {
		return "", 0, hub.ErrUnauthorized
	}
	return c.Subject, c.Epoch, nil
}
