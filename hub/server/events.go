package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// events opens a gateway's stream, or gives it a page. The header
// Last-Event-ID says after which push.
func (s *Server) events(c *call, r *http.Request) error {
	g, err := s.gateway(c, r)
	revoked := errors.Is(err, hub.ErrRevoked) && g.ID != ""
	if err != nil && !revoked {
		return err
	}
	var after uint64
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if after, err = strconv.ParseUint(id, 10, 64); err != nil {
			return refuse(http.StatusBadRequest, api.CodeBadRequest, "the header Last-Event-ID must be the number of a push")
		}
	}
	if accept := r.Header.Get("Accept"); strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/event-stream") {
		frames, head, err := s.page(r.Context(), g, revoked, after)
		if err != nil {
			return err
		}
		return writePage(c, frames, head)
	}
	if err := s.opens.take(g.ID, time.Now()); err != nil {
		return err
	}
	if !s.fanout.isReady() {
		return busy(errNotLoaded.Error(), time.Second)
	}
	return s.stream(c, r, g, revoked, after)
}

// stream writes what the gateway has missed, and then gives the connection to
// the fanout: this goroutine, its stack and net/http's buffers are freed.
func (s *Server) stream(c *call, r *http.Request, g hub.Gateway, revoked bool, after uint64) error {
	h := c.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	// The end of the connection ends the body, so what comes after the hijack
	// needs no framing.
	h.Set("Transfer-Encoding", "identity")
	control := http.NewResponseController(c)
	control.SetWriteDeadline(time.Now().Add(writeTimeout))
	c.WriteHeader(http.StatusOK)
	io.WriteString(c, comment)
	for {
		if !revoked {
			err := s.fanout.holds(g, after)
			if err == nil {
				break
			}
			if !errors.Is(err, errBehind) {
				return nil // the hub stops
			}
		}
		frames, head, err := s.page(r.Context(), g, revoked, after)
		if err != nil {
			return err
		}
		control.SetWriteDeadline(time.Now().Add(writeTimeout))
		for _, fr := range frames {
			if _, err := c.Write(fr.event); err != nil {
				return nil
			}
		}
		if err := control.Flush(); err != nil {
			return nil
		}
		if revoked {
			return nil
		}
		after = max(after, head)
	}
	if err := control.Flush(); err != nil {
		return nil
	}
	conn, _, err := control.Hijack()
	if err != nil {
		return err
	}
	l := lineOf(conn)
	if l == nil {
		conn.Close()
		return errors.New("opening a stream: the listener is not Run's")
	}
	if err := l.loosen(); err != nil {
		conn.Close()
		return nil
	}
	if err := s.fanout.join(&stream{gateway: g, token: hashToken(bearer(r)), conn: conn, line: l, cursor: after}); err != nil {
		// Pushes overtook it, or the hub stops: the gateway comes again.
		conn.Close()
	}
	return nil
}

// maxPage leaves room for the rest of the body.
const maxPage = api.MaxBody - 1024

// page returns frames for a gateway after a number, as many as a body holds.
// All pushes for it up to head are in them, or before.
func (s *Server) page(ctx context.Context, g hub.Gateway, revoked bool, after uint64) (frames []frame, head uint64, err error) {
	if !revoked {
		frames, head, err = s.fanout.since(g, after)
		if err == nil {
			return cut(frames, head)
		}
	}
	pushes, head, err := s.fanout.feed.PushesFor(ctx, g, after, api.MaxPushPage)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range pushes {
		fr, err := newFrame(s.fanout.feed, p)
		if err != nil {
			return nil, 0, err
		}
		frames = append(frames, fr)
	}
	if len(frames) == api.MaxPushPage {
		head = frames[len(frames)-1].seq
	}
	return cut(frames, head)
}

// cut leaves the first of the frames, and says up to where they go.
func cut(frames []frame, head uint64) ([]frame, uint64, error) {
	size := 0
	for i, fr := range frames {
		size += len(fr.data) + 1
		if i > 0 && (i == api.MaxPushPage || size > maxPage) {
			return frames[:i], frames[i-1].seq, nil
		}
	}
	return frames, head, nil
}

func writePage(c *call, frames []frame, head uint64) error {
	items := make([]json.RawMessage, len(frames))
	for i, fr := range frames {
		items[i] = fr.data
	}
	return writeJSON(c, http.StatusOK, struct {
		Items []json.RawMessage `json:"items"`
		Head  uint64            `json:"head"`
	}{items, head})
}
