package control

import (
	"context"
	"time"
)

// A NASDesk looks after the machines that ask us over RADIUS. What it refuses
// is any error, or an *Error with another code.
type NASDesk interface {
	// NASes lists them. What only a running daemon knows is missing without
	// one.
	NASes(ctx context.Context) (NASes, error)
	// AddNAS makes one known; RemoveNAS forgets one and ends its sessions.
	AddNAS(ctx context.Context, in AddNAS) (AddedNAS, error)
	RemoveNAS(ctx context.Context, name string) (RemovedNAS, error)
	// TestNAS says what is wrong with one. Without a daemon it is ErrNoDaemon.
	TestNAS(ctx context.Context, name string) (NASReport, error)
}

// A NAS is a machine, or a range of machines of one make, that asks us who may
// come in. Its secrets are never told.
type NAS struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Vendor  string `json:"vendor"`
	// RequireMA is "auto", "yes" or "no". Signed says that auto has become yes,
	// because a packet once had a Message-Authenticator.
	RequireMA string `json:"require_message_authenticator"`
	Signed    bool   `json:"signed"`
	// CoAPort is where it takes our requests; 0 means that it takes none.
	CoAPort    uint16   `json:"coa_port"`
	Interim    int64    `json:"interim_seconds"`
	Strict     bool     `json:"strict"`
	Logins     []string `json:"logins"`
	UAMSecret  bool     `json:"has_uam_secret"`
	WeakSecret bool     `json:"weak_secret"`
	Sessions   int      `json:"sessions"`
	// Unconfirmed counts sessions of which it was told something, an end among
	// it, and has not shown yet that it does it.
	Unconfirmed int `json:"unconfirmed"`
	// Seen is when a good packet last came; missing when none did since the
	// daemon started.
	Seen *time.Time `json:"seen,omitempty"`
	// Packets counts packets by what became of them, since the daemon started.
	// What has not happened is left out.
	Packets map[string]uint64 `json:"packets"`
}

// NASes is the book, with what the server counted.
type NASes struct {
	NASes []NAS `json:"nases"`
	// Listening is where NASes are answered: nowhere while there is none.
	// Problem is why not when there are some; empty when all is well.
	Listening []string `json:"listening"`
	Problem   string   `json:"problem"`
	// Packets counts packets by what became of them, those of strangers among
	// them, since the daemon started.
	Packets map[string]uint64 `json:"packets"`
}

// AddNAS asks for a new entry. What is empty gets its default.
type AddNAS struct {
	Name      string   `json:"name"`
	Address   string   `json:"address"`
	Vendor    string   `json:"vendor,omitempty"`
	Secret    string   `json:"secret,omitempty"` // empty: one is drawn
	UAMSecret string   `json:"uam_secret,omitempty"`
	RequireMA string   `json:"require_message_authenticator,omitempty"`
	CoAPort   uint16   `json:"coa_port,omitempty"`
	NoCoA     bool     `json:"no_coa,omitempty"`
	Interim   int64    `json:"interim_seconds,omitempty"`
	Strict    bool     `json:"strict,omitempty"`
	Logins    []string `json:"logins,omitempty"`
	// Force takes a secret that can be guessed.
	Force bool `json:"force,omitempty"`
}

// AddedNAS is the only place where a drawn secret ever stands.
type AddedNAS struct {
	NAS    NAS    `json:"nas"`
	Secret string `json:"secret,omitempty"`
}

// RemoveNAS asks to forget a NAS.
type RemoveNAS struct {
	Name string `json:"name"`
}

// RemovedNAS says how many sessions ended with a NAS.
type RemovedNAS struct {
	Name     string `json:"name"`
	Sessions int    `json:"sessions_ended"`
}

// TestNAS asks what is wrong with a NAS.
type TestNAS struct {
	Name string `json:"name"`
}

// A NASReport is what a test of a NAS found. OK says that no finding is an
// error.
type NASReport struct {
	OK       bool      `json:"ok"`
	NAS      NAS       `json:"nas"`
	Findings []Finding `json:"findings"`
}

func (h *Handler) nases(ctx context.Context) (any, error) { return h.book(ctx) }

// book is what the desk says, without a list that is null.
func (h *Handler) book(ctx context.Context) (NASes, error) {
	out, err := h.NASes.NASes(ctx)
	if out.NASes == nil {
		out.NASes = []NAS{}
	}
	if out.Listening == nil {
		out.Listening = []string{}
	}
	return out, err
}

func (h *Handler) addNAS(ctx context.Context, r request) (any, error) {
	var in AddNAS
	if err := r.into(&in); err != nil {
		return nil, err
	}
	return h.NASes.AddNAS(ctx, in)
}

func (h *Handler) removeNAS(ctx context.Context, r request) (any, error) {
	var in RemoveNAS
	if err := r.into(&in); err != nil {
		return nil, err
	}
	return h.NASes.RemoveNAS(ctx, in.Name)
}

func (h *Handler) testNAS(ctx context.Context, r request) (any, error) {
	var in TestNAS
	if err := r.into(&in); err != nil {
		return nil, err
	}
	out, err := h.NASes.TestNAS(ctx, in.Name)
	if out.Findings == nil {
		out.Findings = []Finding{}
	}
	out.OK = true
	for _, f := range out.Findings {
		out.OK = out.OK && f.Severity != "error"
	}
	return out, err
}

// NASes asks for the NASes that are known.
func (c *Client) NASes(ctx context.Context) (out NASes, err error) {
	err = c.do(ctx, "GET", "/v1/nas", nil, &out)
	return out, err
}

// AddNAS makes a NAS known. A drawn secret is in the answer and nowhere else.
func (c *Client) AddNAS(ctx context.Context, in AddNAS) (out AddedNAS, err error) {
	err = c.do(ctx, "POST", "/v1/nas/add", in, &out)
	return out, err
}

// RemoveNAS forgets a NAS and ends its sessions.
func (c *Client) RemoveNAS(ctx context.Context, name string) (out RemovedNAS, err error) {
	err = c.do(ctx, "POST", "/v1/nas/remove", RemoveNAS{Name: name}, &out)
	return out, err
}

// TestNAS asks what is wrong with a NAS.
func (c *Client) TestNAS(ctx context.Context, name string) (out NASReport, err error) {
	err = c.do(ctx, "POST", "/v1/nas/test", TestNAS{Name: name}, &out)
	return out, err
}
