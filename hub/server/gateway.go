package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// asGateway lets in who has a gateway's token.
func (s *Server) asGateway(do func(c *call, r *http.Request, g hub.Gateway) error) handle {
	return func(c *call, r *http.Request) error {
		g, err := s.gateway(c, r)
		if err != nil {
			return err
		}
		return do(c, r, g)
	}
}

// bounded lets a gateway call as often as Limits.Calls says.
func (s *Server) bounded(do func(c *call, r *http.Request, g hub.Gateway) error) func(c *call, r *http.Request, g hub.Gateway) error {
	return func(c *call, r *http.Request, g hub.Gateway) error {
		if err := s.calls.take(g.ID, time.Now()); err != nil {
			return err
		}
		return do(c, r, g)
	}
}

// gateway returns which gateway calls. With hub.ErrRevoked it is known too.
func (s *Server) gateway(c *call, r *http.Request) (hub.Gateway, error) {
	token := bearer(r)
	if token == "" {
		return hub.Gateway{}, errNoToken
	}
	g, err := s.authenticate(r.Context(), token)
	c.who = g.ID
	return g, err
}

// holder is gateway, and asks the database about those alone that have no
// stream open.
func (s *Server) holder(c *call, r *http.Request) (hub.Gateway, error) {
	if g, ok := s.fanout.holder(bearer(r)); ok {
		c.who = g.ID
		return g, nil
	}
	return s.gateway(c, r)
}

func (s *Server) enrol(c *call, r *http.Request) error {
	if err := s.enrols.take(s.caller(r), time.Now()); err != nil {
		return err
	}
	var e api.Enrol
	if err := readJSON(c, r, &e, false); err != nil {
		return err
	}
	in, err := s.hub.Enrol(r.Context(), e)
	if err != nil {
		return err
	}
	c.who = in.GatewayID
	return writeJSON(c, http.StatusCreated, in)
}

func (s *Server) catalogue(c *call, r *http.Request, g hub.Gateway) error {
	cat, err := s.hub.Catalogue(r.Context(), g)
	if err != nil {
		return err
	}
	if cat.Plans == nil {
		cat.Plans = []api.Plan{}
	}
	tag := `"` + strconv.FormatUint(cat.Version, 10) + `"`
	h := c.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache")
	if known(r.Header.Values("If-None-Match"), tag) {
		c.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(c, http.StatusOK, cat)
}

// known says whether a header If-None-Match names the tag (RFC 9110, 13.1.2).
func known(values []string, tag string) bool {
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		if v = strings.TrimSpace(v); v == "*" || strings.TrimPrefix(v, "W/") == tag {
			return true
		}
	}
	return false
}

func (s *Server) acks(c *call, r *http.Request) error {
	g, err := s.holder(c, r)
	if err != nil {
		return err
	}
	if err := s.calls.take(g.ID, time.Now()); err != nil {
		return err
	}
	var a api.Acks
	if err := readJSON(c, r, &a, false); err != nil {
		return err
	}
	if len(a.Acks) > api.MaxAcks {
		return tooMany("acks", api.MaxAcks)
	}
	if err := s.hub.Acks(r.Context(), g, a); err != nil {
		return err
	}
	c.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) reports(c *call, r *http.Request, g hub.Gateway) error {
	var p api.Reports
	if err := readJSON(c, r, &p, false); err != nil {
		return err
	}
	switch {
	case len(p.Entries) > api.MaxEntries:
		return tooMany("entries", api.MaxEntries)
	case len(p.Usage) > api.MaxUsage:
		return tooMany("usage", api.MaxUsage)
	}
	done, err := s.hub.Report(r.Context(), g, p)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, done)
}

func tooMany(field string, most int) error {
	return refuse(http.StatusUnprocessableEntity, api.CodeBadRequest, field+" has more than "+strconv.Itoa(most)+": send them in parts")
}

func (s *Server) heartbeat(c *call, r *http.Request, g hub.Gateway) error {
	var b api.Heartbeat
	if err := readJSON(c, r, &b, false); err != nil {
		return err
	}
	beat, err := s.hub.Heartbeat(r.Context(), g, b)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, beat)
}

func (s *Server) claim(c *call, r *http.Request, g hub.Gateway) error {
	if err := s.claims.take(g.ID, time.Now()); err != nil {
		return err
	}
	var q api.Claim
	if err := readJSON(c, r, &q, false); err != nil {
		return err
	}
	signed, err := s.hub.Claim(r.Context(), g, q)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, signed)
}
