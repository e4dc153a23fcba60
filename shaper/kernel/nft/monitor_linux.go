package nft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupNFTables = 7 // NFNLGRP_NFTABLES

	// eventBuffer limits what the kernel queues. A large batch of anybody's
	// notifies each of its changes.
	eventBuffer = 8 << 20
)

// A Monitor receives events from the moment it is made.
type Monitor struct {
	s     *socket
	queue []Event
}

// NewMonitor subscribes to the events of the calling thread's network
// namespace. [ErrNoPermission] if it may not.
func NewMonitor() (*Monitor, error) {
	s, err := openSocket(eventBuffer)
	if err != nil {
		return nil, fmt.Errorf("opening nftables monitor: %w", err)
	}
	if err := s.nl.JoinGroup(groupNFTables); err != nil {
		s.close()
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", ErrNoPermission, err)
		}
		return nil, fmt.Errorf("joining nftables events: %w", err)
	}
	return &Monitor{s: s}, nil
}

// Close ends the subscription and a Next that waits.
func (m *Monitor) Close() error { return m.s.close() }

// Next returns the next event, waiting for it. It ends with ctx's error, or
// with os.ErrClosed after Close. For one goroutine at a time.
func (m *Monitor) Next(ctx context.Context) (Event, error) {
	if err := ctx.Err(); err != nil {
		return Event{}, err
	}
	if err := m.s.setDeadline(time.Time{}); err != nil {
		return Event{}, fmt.Errorf("waiting for nftables events: %w", err)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = m.s.setDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-interrupted // so that it cannot hit the next call
		}
	}()
	for len(m.queue) == 0 {
		m.queue = m.queue[:0]
		data, err := m.s.receive(true)
		switch {
		case err == nil:
			m.take(data)
		case ctx.Err() != nil:
			return Event{}, ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			if err := m.drain(); err != nil {
				return Event{}, fmt.Errorf("waiting for nftables events: %w", err)
			}
		case errors.Is(err, errMalformed):
			m.queue = append(m.queue, Event{Kind: Overrun})
		default:
			return Event{}, fmt.Errorf("waiting for nftables events: %w", err)
		}
	}
	e := m.queue[0]
	m.queue = m.queue[1:]
	return e, nil
}

// drain queues what came before events were lost, and then the overrun. The
// kernel says only once that it loses events and goes on losing them until
// its queue is empty, so whoever reads the tables must not begin before that.
func (m *Monitor) drain() error {
	for {
		data, err := m.s.receive(false)
		switch {
		case err == nil:
			m.take(data)
		case errors.Is(err, unix.EAGAIN):
			m.queue = append(m.queue, Event{Kind: Overrun})
			return nil
		case !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, errMalformed):
			return err
		}
	}
}

// take queues the events of a datagram. One that cannot be read counts as lost.
func (m *Monitor) take(data []byte) {
	for msg, err := range messages(data) {
		if err != nil {
			m.queue = append(m.queue, Event{Kind: Overrun})
			return
		}
		switch e, ok, err := decodeEvent(msg); {
		case err != nil:
			m.queue = append(m.queue, Event{Kind: Overrun})
		case ok:
			m.queue = append(m.queue, e)
		}
	}
}
