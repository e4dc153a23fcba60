package control

import (
	"context"
	"time"
)

// A HubDesk looks after the relation with the operator's central server. What
// it refuses is any error, or an *Error with another code.
type HubDesk interface {
	// Hub says how the relation is. Without a server it is nil.
	Hub() *Hub
	// JoinHub makes the zone one of the hub's, LeaveHub ends that.
	JoinHub(ctx context.Context, in JoinHub) (Hub, error)
	LeaveHub(ctx context.Context, in LeaveHub) (Hub, error)
}

// A Hub is the relation with the central server. OK says that nothing below
// needs anybody.
type Hub struct {
	OK bool `json:"ok"`
	// Mode is "hub" or "rgz"; empty where a zone that is joined has no [hub] in
	// its configuration.
	Mode string `json:"mode"`
	URL  string `json:"url"`
	// Joined says that the zone is one of the hub's, as Gateway at Site.
	Joined  bool   `json:"joined"`
	Gateway string `json:"gateway"`
	Site    string `json:"site"`
	// Connected says that pushes arrive, ConnectedSeconds since when. Polling
	// says that they are asked for once a minute.
	Connected        bool  `json:"connected"`
	ConnectedSeconds int64 `json:"connected_seconds"`
	Polling          bool  `json:"polling"`
	// Revoked says that the hub has taken the gateway off, Denied that it does
	// not take its secret.
	Revoked bool `json:"revoked"`
	Denied  bool `json:"denied"`
	// Problem is what went wrong last, in words; empty when the latest call was
	// answered.
	Problem        string `json:"problem"`
	ProblemSeconds int64  `json:"problem_seconds_ago"`
	// Unsent is how many entries the hub does not have, Oldest when the first
	// of them was made, if that is known.
	Unsent uint64     `json:"unsent"`
	Oldest *time.Time `json:"oldest_unsent,omitempty"`
	// Applied is the last push taken, Head the last that there is.
	Applied uint64 `json:"applied"`
	Head    uint64 `json:"head"`
	// Trial is the setting of the hub's that is on trial.
	Trial string `json:"trial"`
	// ReadSeconds is when an RGZ catalogue was last read; missing if it was not
	// since the start.
	ReadSeconds  *int64    `json:"catalogue_read_seconds_ago,omitempty"`
	ClockTrusted bool      `json:"clock_trusted"`
	Findings     []Finding `json:"findings"`
}

// JoinHub asks to join the hub of the configuration.
type JoinHub struct {
	// URL is where the one who asks thinks it is; may be empty.
	URL  string `json:"url,omitempty"`
	Code string `json:"code"`
}

// LeaveHub asks to leave. Force drops what the hub was not told.
type LeaveHub struct {
	Force bool `json:"force,omitempty"`
}

// hubStatus is nil without a server.
func (h *Handler) hubStatus() *Hub {
	if h.Hub == nil {
		return nil
	}
	return h.Hub.Hub()
}

func (h *Handler) hub(context.Context) (any, error) {
	s := h.hubStatus()
	if s == nil {
		return nil, &Error{CodeNotFound, "there is no central server: the configuration has no [hub]"}
	}
	return *s, nil
}

func (h *Handler) joinHub(ctx context.Context, r request) (any, error) {
	var in JoinHub
	if err := r.into(&in); err != nil {
		return nil, err
	}
	return h.Hub.JoinHub(ctx, in)
}

func (h *Handler) leaveHub(ctx context.Context, r request) (any, error) {
	var in LeaveHub
	if err := r.into(&in); err != nil {
		return nil, err
	}
	return h.Hub.LeaveHub(ctx, in)
}

// Hub asks how the relation with the central server is.
func (c *Client) Hub(ctx context.Context) (out Hub, err error) {
	err = c.do(ctx, "GET", "/v1/hub", nil, &out)
	return out, err
}

// JoinHub makes the zone one of the hub's.
func (c *Client) JoinHub(ctx context.Context, in JoinHub) (out Hub, err error) {
	err = c.do(ctx, "POST", "/v1/hub/join", in, &out)
	return out, err
}

// LeaveHub ends the relation with the hub.
func (c *Client) LeaveHub(ctx context.Context, in LeaveHub) (out Hub, err error) {
	err = c.do(ctx, "POST", "/v1/hub/leave", in, &out)
	return out, err
}
