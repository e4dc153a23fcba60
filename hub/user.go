package hub

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Role says what a user may do: an admin everything, a reseller what
// concerns his own sites, a seller look at his reseller's sites and sales.
type Role string

// Roles.
const (
	RoleAdmin    Role = "admin"
	RoleReseller Role = "reseller"
	RoleSeller   Role = "seller"
)

// A User is somebody who signs in.
type User struct {
	ID       string
	Name     string // lower case, unique
	Role     Role
	Reseller string // id; empty for an admin
	Created  time.Time
	Disabled bool
	// Epoch goes up with every change of the password or of Disabled: a token
	// that was made for an earlier one is void.
	Epoch int64
	// Hash is the password's, as the Hasher made it.
	Hash string
}

// Actor is the user as one who does something.
func (u User) Actor() Actor { return Actor{u.ID, u.Name, u.Role, u.Reseller} }

// An Actor is who does something, as the audit log names him.
type Actor struct {
	User, Name string
	Role       Role
	Reseller   string
}

// A Hasher makes and checks hashes of passwords (argon2id). Both are slow on
// purpose; it bounds how many run at once.
type Hasher interface {
	Hash(ctx context.Context, password string) (string, error)
	// Verify says whether the password fits; an error is a damaged hash or the
	// end of ctx.
	Verify(ctx context.Context, hash, password string) (bool, error)
}

// covers says whether the actor may act for a reseller.
func (a Actor) covers(reseller string) bool {
	return a.Role == RoleAdmin || a.Reseller == reseller && reseller != ""
}

// manages is covers, without sellers.
func (a Actor) manages(reseller string) bool { return a.Role != RoleSeller && a.covers(reseller) }

// scope is the reseller that a list for the actor is bounded to.
func (a Actor) scope(reseller string) (string, error) {
	switch {
	case a.Role == RoleAdmin:
		return reseller, nil
	case a.Reseller != "" && (reseller == "" || reseller == a.Reseller):
		return a.Reseller, nil
	}
	return "", ErrForbidden
}

const setUpLife = 24 * time.Hour

// SetUpToken draws the token of the one-time link that makes the first admin,
// good for a day, and voids the one before. It is empty once there is an
// admin.
func (h *Hub) SetUpToken(ctx context.Context) (string, error) {
	token, err := h.newToken()
	if err != nil {
		return "", err
	}
	value := tokenHash(token) + " " + strconv.FormatInt(h.at().Add(setUpLife).UnixMilli(), 10)
	var done bool
	err = h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("users"); err != nil {
			return err
		}
		done, err = hasAdmin(tx, "")
		if err != nil || done {
			return err
		}
		return tx.PutMeta("setup", value)
	})
	if err != nil || done {
		return "", err
	}
	return token, nil
}

// hasAdmin says whether there is an admin who can sign in, other than one.
func hasAdmin(tx Tx, except string) (bool, error) {
	users, err := tx.Users("")
	for _, u := range users {
		if u.Role == RoleAdmin && !u.Disabled && u.ID != except {
			return true, nil
		}
	}
	return false, err
}

// SetUp makes the first admin. ErrUnauthorized, ErrExpired, ErrSetUp, or an
// InputError about name and password.
func (h *Hub) SetUp(ctx context.Context, token, name, password string) (User, error) {
	u, err := h.newUser(ctx, NewUser{Name: name, Password: password, Role: RoleAdmin})
	if err != nil {
		return User{}, err
	}
	return u, h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("users"); err != nil {
			return err
		}
		if done, err := hasAdmin(tx, ""); err != nil {
			return err
		} else if done {
			return ErrSetUp
		}
		value, err := tx.TakeMeta("setup")
		if errors.Is(err, ErrNotFound) {
			return ErrUnauthorized
		} else if err != nil {
			return err
		}
		hash, until, _ := strings.Cut(value, " ")
		if subtle.ConstantTimeCompare([]byte(hash), []byte(tokenHash(token))) != 1 {
			return ErrUnauthorized
		}
		if ms, err := strconv.ParseInt(until, 10, 64); err != nil || h.at().UnixMilli() > ms {
			return fmt.Errorf("%w: restart the hub for a new set-up link", ErrExpired)
		}
		if err := tx.AddUser(u); err != nil {
			return err
		}
		return h.note(tx, u.Actor(), "user.setup", u.ID, u.Name)
	})
}

// noHash is what a password is compared with when there is no such user, so
// that the answer takes as long.
const noHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Login checks name and password. ErrUnauthorized says no more than that.
func (h *Hub) Login(ctx context.Context, name, password string) (User, error) {
	var u User
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		u, err = tx.UserByName(userName(name))
		return err
	})
	known := err == nil && !u.Disabled
	switch {
	case errors.Is(err, ErrNotFound):
		u.Hash = noHash
	case err != nil:
		return User{}, err
	}
	if len(password) > maxPassword {
		return User{}, ErrUnauthorized
	}
	right, err := h.hasher.Verify(ctx, u.Hash, password)
	if err != nil && known {
		return User{}, fmt.Errorf("checking a password: %w", err)
	}
	if !right || !known {
		return User{}, ErrUnauthorized
	}
	return u, nil
}

// Actor returns who a token was made for, if it still counts: ErrUnauthorized
// for an earlier epoch or a disabled user.
func (h *Hub) Actor(ctx context.Context, user string, epoch int64) (Actor, error) {
	var u User
	err := h.store.Read(ctx, func(tx Tx) (err error) {
		u, err = tx.User(user)
		return err
	})
	if errors.Is(err, ErrNotFound) || err == nil && (u.Disabled || u.Epoch != epoch) {
		return Actor{}, ErrUnauthorized
	}
	return u.Actor(), err
}

// A NewUser is one to be made.
type NewUser struct {
	Name, Password string
	Role           Role
	Reseller       string
}

const (
	minPassword = 10
	maxPassword = 200
)

func userName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// newUser checks a user and hashes the password, outside any transaction.
func (h *Hub) newUser(ctx context.Context, n NewUser) (User, error) {
	u := User{Name: userName(n.Name), Role: n.Role, Reseller: n.Reseller, Created: h.at(), Epoch: 1}
	if u.Name == "" || len(u.Name) > 80 || strings.ContainsFunc(u.Name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return User{}, invalid("the name must have 1 to 80 letters and no blanks; an e-mail address or a phone number will do")
	}
	switch n.Role {
	case RoleAdmin:
		if n.Reseller != "" {
			return User{}, invalid("an admin belongs to no reseller")
		}
	case RoleReseller, RoleSeller:
		if n.Reseller == "" {
			return User{}, invalid("a %s must belong to a reseller", n.Role)
		}
	default:
		return User{}, invalid("the role must be admin, reseller or seller")
	}
	var err error
	if u.Hash, err = h.hashed(ctx, n.Password); err != nil {
		return User{}, err
	}
	u.ID, err = h.newID()
	return u, err
}

func (h *Hub) hashed(ctx context.Context, password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < minPassword || len(password) > maxPassword {
		return "", invalid("the password must have %d characters or more, and %d octets at most", minPassword, maxPassword)
	}
	hash, err := h.hasher.Hash(ctx, password)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return hash, nil
}

// CreateUser is for admins, and for resellers who make their own sellers.
func (h *Hub) CreateUser(ctx context.Context, by Actor, n NewUser) (User, error) {
	if by.Role != RoleAdmin && (n.Role != RoleSeller || !by.manages(n.Reseller)) {
		return User{}, ErrForbidden
	}
	u, err := h.newUser(ctx, n)
	if err != nil {
		return User{}, err
	}
	return u, h.store.Write(ctx, func(tx Tx) error {
		if u.Reseller != "" {
			if _, err := tx.Reseller(u.Reseller); err != nil {
				return fmt.Errorf("looking up the reseller: %w", err)
			}
		}
		if err := tx.AddUser(u); err != nil {
			return err
		}
		return h.note(tx, by, "user.create", u.ID, u.Name+" "+string(u.Role))
	})
}

// SetPassword is for the user himself, admins, and resellers for their own
// sellers. Tokens made before are void.
func (h *Hub) SetPassword(ctx context.Context, by Actor, user, password string) error {
	hash, err := h.hashed(ctx, password)
	if err != nil {
		return err
	}
	return h.changeUser(ctx, by, user, "user.password", func(tx Tx, u *User) error {
		u.Hash = hash
		return nil
	})
}

// DisableUser shuts a user out, or lets him in again. The last admin stays.
func (h *Hub) DisableUser(ctx context.Context, by Actor, user string, disabled bool) error {
	what := "user.enable"
	if disabled {
		what = "user.disable"
	}
	return h.changeUser(ctx, by, user, what, func(tx Tx, u *User) error {
		if disabled && u.Role == RoleAdmin {
			if other, err := hasAdmin(tx, u.ID); err != nil {
				return err
			} else if !other {
				return invalid("the last admin cannot be shut out; make another one first")
			}
		}
		if by.User == u.ID {
			return ErrForbidden
		}
		u.Disabled = disabled
		return nil
	})
}

func (h *Hub) changeUser(ctx context.Context, by Actor, user, what string, change func(Tx, *User) error) error {
	return h.store.Write(ctx, func(tx Tx) error {
		if err := tx.Lock("users"); err != nil {
			return err
		}
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		if by.Role != RoleAdmin && by.User != u.ID && (u.Role != RoleSeller || !by.manages(u.Reseller)) {
			return ErrForbidden
		}
		if err := change(tx, &u); err != nil {
			return err
		}
		u.Epoch++
		if err := tx.ChangeUser(u); err != nil {
			return err
		}
		return h.note(tx, by, what, u.ID, u.Name)
	})
}

// Users are those that by may see, by name.
func (h *Hub) Users(ctx context.Context, by Actor) (users []User, err error) {
	reseller, err := by.scope("")
	if err != nil || by.Role == RoleSeller {
		return nil, ErrForbidden
	}
	err = h.store.Read(ctx, func(tx Tx) error {
		users, err = tx.Users(reseller)
		return err
	})
	return users, err
}
