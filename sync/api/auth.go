package api

import "time"

// PathLogin gives a user the JWT that Part 1 asks for. The RGZ document has no
// login; ours is POST Login -> Token.
const PathLogin = "/auth/login"

// A Login is a user's name and password.
type Login struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// A Token is sent as "Authorization: Bearer" until it expires.
type Token struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Role    string    `json:"role"` // admin, reseller or seller
	// ResellerID is empty for an admin.
	ResellerID string `json:"reseller_id,omitempty"`
}
