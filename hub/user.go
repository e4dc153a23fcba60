package hub

import (
	"context"
	"time"
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

// SetUpToken draws the token of the one-time link that makes the first admin,
// good for a day, and voids the one before. It is empty once there is an
// admin.
func (h *Hub) SetUpToken(ctx context.Context) (string, error) { panic("soon") }

// SetUp makes the first admin. ErrUnauthorized, ErrExpired, ErrSetUp, or an
// InputError about name and password.
func (h *Hub) SetUp(ctx context.Context, token, name, password string) (User, error) { panic("soon") }

// Login checks name and password. ErrUnauthorized says no more than that.
func (h *Hub) Login(ctx context.Context, name, password string) (User, error) { panic("soon") }

// Actor returns who a token was made for, if it still counts: ErrUnauthorized
// for an earlier epoch or a disabled user.
func (h *Hub) Actor(ctx context.Context, user string, epoch int64) (Actor, error) { panic("soon") }

// A NewUser is one to be made.
type NewUser struct {
	Name, Password string
	Role           Role
	Reseller       string
}

// CreateUser is for admins, and for resellers who make their own sellers.
func (h *Hub) CreateUser(ctx context.Context, by Actor, n NewUser) (User, error) { panic("soon") }

// SetPassword is for the user himself, admins, and resellers for their own
// sellers. Tokens made before are void.
func (h *Hub) SetPassword(ctx context.Context, by Actor, user, password string) error { panic("soon") }

// DisableUser shuts a user out, or lets him in again. The last admin stays.
func (h *Hub) DisableUser(ctx context.Context, by Actor, user string, disabled bool) error {
	panic("soon")
}

// Users are those that by may see, by name.
func (h *Hub) Users(ctx context.Context, by Actor) ([]User, error) { panic("soon") }
