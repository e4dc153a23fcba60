package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"zonegate/hub"
	"zonegate/sync/api"
)

// A feed is where pushes come from; *hub.Hub is one.
type feed interface {
	Head(context.Context) (uint64, error)
	WaitPush(ctx context.Context, after uint64) (uint64, error)
	Pushes(ctx context.Context, after uint64, max int) ([]hub.Push, error)
	PushesFor(ctx context.Context, g hub.Gateway, after uint64, max int) ([]hub.Push, uint64, error)
	Sign(hub.Push) (api.Signed, error)
}

// A fanout brings pushes to all streams of this process. Two goroutines do it
// whatever their number: watch reads new pushes from the feed, signs each once
// and hands them over; deliver owns the streams, and is the only one that
// writes to them. It never waits for a peer (see line), nor for the database.
//
// The last pushes stay in memory, so that streams which come back after a
// moment, or ten thousand after a restart, ask the database nothing.
type fanout struct {
	feed  feed
	log   *slog.Logger
	pages chan []frame
	wake  chan struct{} // streams have joined
	every time.Duration // wheelTick

	mu     sync.Mutex
	recent []frame // every push after floor, up to head
	size   int     // octets of them
	floor  uint64
	head   uint64
	loaded bool
	over   bool // no stream joins any more
	// streams are those that were not superseded, by gateway.
	streams map[string]*stream
	// tokens are the same, by the hash of the token that opened them.
	tokens map[tokenHash]*stream
	fresh  []*stream // joined, and not yet taken by deliver

	// What deliver alone touches.
	live  map[*stream]struct{}
	sites map[string][]*stream
	stuck map[*stream]struct{}
	wheel [wheelSlots][]*stream
	turn  int
}

// Bounds.
const (
	recentPushes = 4096
	recentSize   = 32 << 20
	// maxRest is how much of a stream may wait for its peer, and restPatience
	// how long nothing of it may be taken. Where many wait they share
	// restBudget, and a stream that gets less than leastRest is no use. Who is
	// dropped comes again and is served at its own pace.
	maxRest      = 256 << 10
	leastRest    = 16 << 10
	restBudget   = 256 << 20
	restPatience = 30 * time.Second
)

// The wheel turns once in HeartbeatEvery. A stream stands in the slot in which
// its next comment is due.
const (
	wheelTick  = 250 * time.Millisecond
	wheelSlots = int(api.HeartbeatEvery / wheelTick)
)

// comment keeps a stream alive.
const comment = ":\n\n"

// A frame is a push as it stands in a stream.
type frame struct {
	seq    uint64
	kind   string
	target hub.Target
	event  []byte
	data   []byte // the JSON in it
}

// A stream is one gateway's connection.
type stream struct {
	gateway hub.Gateway
	token   tokenHash
	conn    net.Conn
	line    *line
	cursor  uint64 // the last push written, or known to the gateway before
	ended   atomic.Bool
	last    bool // to be ended when all was taken
}

type tokenHash [sha256.Size]byte

func hashToken(token string) tokenHash { return sha256.Sum256([]byte(token)) }

// end closes the connection; deliver forgets the stream when it next sees it.
func (s *stream) end() {
	if s.ended.CompareAndSwap(false, true) {
		s.conn.Close()
	}
}

func newFanout(f feed, log *slog.Logger) *fanout {
	return &fanout{
		feed: f, log: log, pages: make(chan []frame), wake: make(chan struct{}, 1), every: wheelTick,
		streams: map[string]*stream{}, tokens: map[tokenHash]*stream{}, live: map[*stream]struct{}{}, sites: map[string][]*stream{}, stuck: map[*stream]struct{}{},
	}
}

// newFrame signs a push and writes it as an event.
func newFrame(f feed, p hub.Push) (frame, error) {
	signed, err := f.Sign(p)
	if err != nil {
		return frame{}, fmt.Errorf("signing push %d: %w", p.Seq, err)
	}
	data, err := json.Marshal(signed)
	if err != nil {
		return frame{}, fmt.Errorf("encoding push %d: %w", p.Seq, err)
	}
	event := make([]byte, 0, len(data)+40)
	event = append(event, "id: "...)
	event = strconv.AppendUint(event, p.Seq, 10)
	event = append(event, "\ndata: "...)
	begin := len(event)
	event = append(event, data...)
	end := len(event)
	event = append(event, "\n\n"...)
	return frame{seq: p.Seq, kind: p.Kind, target: p.Target, event: event, data: event[begin:end]}, nil
}

// watch reads pushes until ctx is over. A database that is away is waited for.
func (f *fanout) watch(ctx context.Context) error {
	var after, head uint64
	loaded, failing := false, false
	for ctx.Err() == nil {
		err := func() error {
			if !loaded {
				head, err := f.feed.Head(ctx)
				if err != nil {
					return err
				}
				after = head - min(head, recentPushes)
				f.load(after)
				loaded = true
			}
			page, err := f.feed.Pushes(ctx, after, api.MaxPushPage)
			if err != nil {
				return err
			}
			frames := make([]frame, 0, len(page))
			for _, p := range page {
				fr, err := newFrame(f.feed, p)
				if err != nil {
					// One that cannot be signed must not stop the others.
					f.log.Error("a push cannot be sent", "seq", p.Seq, "error", err)
					continue
				}
				frames = append(frames, fr)
			}
			if len(frames) > 0 {
				select {
				case f.pages <- frames:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if len(page) > 0 {
				after = page[len(page)-1].Seq
			} else {
				// The head was read before the page, so all up to it was there:
				// the numbers between were left out, after the hub was restored.
				after = max(after, head)
			}
			if len(page) < api.MaxPushPage {
				f.ready()
				head, err = f.feed.WaitPush(ctx, after)
			}
			return err
		}()
		switch {
		case err == nil && failing:
			failing = false
			f.log.Info("pushes are read again")
		case err != nil && ctx.Err() == nil:
			if !failing {
				f.log.Error("pushes cannot be read; trying again every second", "error", err)
			}
			failing = true
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// load says from where on pushes will be held.
func (f *fanout) load(floor uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.floor, f.head = floor, floor
}

// ready says that all pushes up to now are held.
func (f *fanout) ready() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = true
}

func (f *fanout) isReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loaded && !f.over
}

// errNotLoaded is the state of the first moments.
var errNotLoaded = errors.New("the hub has just been started; try again in a moment")

// errBehind says that pushes after the stream's cursor are not held any more.
var errBehind = errors.New("the stream begins before what is held")

// join makes a stream live and ends the gateway's older one.
func (f *fanout) join(s *stream) error {
	f.mu.Lock()
	if err := f.covers(s.cursor, s.gateway.Since); err != nil {
		f.mu.Unlock()
		return err
	}
	older := f.streams[s.gateway.ID]
	if older != nil {
		f.leave(older)
	}
	f.streams[s.gateway.ID] = s
	f.tokens[s.token] = s
	f.fresh = append(f.fresh, s)
	f.mu.Unlock()
	if older != nil {
		older.end()
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return nil
}

// holds says whether what is held is little enough for a stream to begin with:
// deliver does not wait for a peer to take it.
func (f *fanout) holds(g hub.Gateway, after uint64) error {
	frames, _, err := f.since(g, after)
	if err != nil {
		return err
	}
	size := 0
	for _, fr := range frames {
		size += len(fr.event)
	}
	if size > maxRest/4 {
		return errBehind
	}
	return nil
}

// covers is called with mu held.
func (f *fanout) covers(after, since uint64) error {
	switch {
	case !f.loaded || f.over:
		return errNotLoaded
	case max(after, since) < f.floor:
		return errBehind
	}
	return nil
}

// since returns the frames after a number for one gateway, from memory: the
// same as hub.Hub.PushesFor, without end.
func (f *fanout) since(g hub.Gateway, after uint64) (frames []frame, head uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.covers(after, g.Since); err != nil {
		return nil, 0, err
	}
	return f.after(g, after), max(f.head, g.Since), nil
}

// after is called with mu held.
func (f *fanout) after(g hub.Gateway, seq uint64) (frames []frame) {
	seq = max(seq, g.Since)
	i, _ := slices.BinarySearchFunc(f.recent, seq+1, func(fr frame, seq uint64) int {
		switch {
		case fr.seq < seq:
			return -1
		case fr.seq > seq:
			return 1
		}
		return 0
	})
	for _, fr := range f.recent[i:] {
		if fr.target.Includes(g) {
			frames = append(frames, fr)
		}
	}
	return frames
}

// count is how many streams there are.
func (f *fanout) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

// deliver writes to the streams until ctx is over, and then closes them.
func (f *fanout) deliver(ctx context.Context) error {
	defer f.closeAll()
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case page := <-f.pages:
			f.welcome()
			f.take(page)
		case <-f.wake:
			f.welcome()
		case <-tick.C:
			// Ticks that were missed are caught up with.
			for due := int(time.Since(begun) / f.every); f.turn < due; {
				f.turn++
				f.beat()
			}
			f.flushStuck()
		}
	}
}

// welcome takes the streams that have joined and brings them what is held.
func (f *fanout) welcome() {
	type start struct {
		s      *stream
		frames []frame
	}
	f.mu.Lock()
	starts := make([]start, len(f.fresh))
	for i, s := range f.fresh {
		starts[i] = start{s, f.after(s.gateway, s.cursor)}
	}
	clear(f.fresh)
	f.fresh = f.fresh[:0]
	f.mu.Unlock()
	for _, st := range starts {
		f.live[st.s] = struct{}{}
		f.sites[st.s.gateway.Site] = append(f.sites[st.s.gateway.Site], st.s)
		f.schedule(st.s)
		for _, fr := range st.frames {
			f.send(st.s, fr)
		}
	}
}

// take holds a page and brings it to whom it is for. Streams that join
// meanwhile find it held: welcome gives it to them.
func (f *fanout) take(page []frame) {
	f.mu.Lock()
	for _, fr := range page {
		f.size += len(fr.event)
	}
	f.recent = append(f.recent, page...)
	f.head = page[len(page)-1].seq
	drop := 0
	for len(f.recent)-drop > recentPushes || f.size > recentSize && len(f.recent)-drop > 1 {
		f.size -= len(f.recent[drop].event)
		f.floor = f.recent[drop].seq
		drop++
	}
	if drop > 0 {
		f.recent = slices.Delete(f.recent, 0, drop)
	}
	f.mu.Unlock()
	for _, fr := range page {
		if fr.target.Share == 0 {
			// A copy: sending may end a stream, which takes it out.
			for _, s := range slices.Clone(f.sites[fr.target.Site]) {
				f.send(s, fr)
			}
			continue
		}
		for s := range f.live {
			if fr.target.Includes(s.gateway) {
				f.send(s, fr)
			}
		}
	}
}

// send writes a frame to a stream, once.
func (f *fanout) send(s *stream, fr frame) {
	if fr.seq <= s.cursor || s.last {
		return
	}
	s.cursor = fr.seq
	s.last = fr.kind == api.KindRevoked
	f.write(s, fr.event)
}

func (f *fanout) write(s *stream, b []byte) {
	if s.ended.Load() {
		f.forget(s)
		return
	}
	if _, err := s.conn.Write(b); err != nil {
		f.forget(s)
		return
	}
	f.settle(s)
}

// settle sees whether the peer takes what it gets.
func (f *fanout) settle(s *stream) {
	left, since, err := s.line.flush()
	most := min(maxRest, max(leastRest, restBudget/(len(f.stuck)+1)))
	switch {
	case err != nil, left > most, left > 0 && time.Since(since) > restPatience, left == 0 && s.last:
		f.forget(s)
	case left > 0:
		f.stuck[s] = struct{}{}
	default:
		delete(f.stuck, s)
	}
}

func (f *fanout) flushStuck() {
	for s := range f.stuck {
		f.settle(s)
	}
}

// beat writes a comment to the streams whose turn it is.
func (f *fanout) beat() {
	slot := f.turn % wheelSlots
	due := f.wheel[slot]
	for i, s := range due {
		due[i] = nil
		if _, ok := f.live[s]; !ok {
			continue
		}
		if s.ended.Load() || s.line.gone() {
			f.forget(s)
			continue
		}
		f.schedule(s)
		f.write(s, []byte(comment))
	}
	f.wheel[slot] = due[:0]
}

// schedule gives a stream its next turn: at random within the last fifth of a
// round, so that streams which came together do not stay together.
func (f *fanout) schedule(s *stream) {
	in := wheelSlots - 1 - rand.IntN(wheelSlots/5)
	slot := (f.turn + in) % wheelSlots
	f.wheel[slot] = append(f.wheel[slot], s)
}

// forget ends a stream for good.
func (f *fanout) forget(s *stream) {
	if _, ok := f.live[s]; !ok {
		return
	}
	delete(f.live, s)
	delete(f.stuck, s)
	site := s.gateway.Site
	if left := slices.DeleteFunc(f.sites[site], func(o *stream) bool { return o == s }); len(left) > 0 {
		f.sites[site] = left
	} else {
		delete(f.sites, site)
	}
	f.mu.Lock()
	f.leave(s)
	f.mu.Unlock()
	s.end()
}

// leave is called with mu held.
func (f *fanout) leave(s *stream) {
	if f.streams[s.gateway.ID] == s {
		delete(f.streams, s.gateway.ID)
	}
	if f.tokens[s.token] == s {
		delete(f.tokens, s.token)
	}
}

// holder returns the gateway that has a stream open with this token. It was
// looked up when the stream was opened, and a revoked one is let go: so calls
// that all gateways do at once, the answers to a push, ask the database only
// once.
func (f *fanout) holder(token string) (hub.Gateway, bool) {
	hash := hashToken(token)
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.tokens[hash]
	if !ok || s.ended.Load() {
		return hub.Gateway{}, false
	}
	return s.gateway, true
}

func (f *fanout) closeAll() {
	f.mu.Lock()
	f.over = true
	streams := f.streams
	f.streams, f.tokens = map[string]*stream{}, map[tokenHash]*stream{}
	f.mu.Unlock()
	for _, s := range streams {
		s.end()
	}
	for s := range f.live {
		s.end()
	}
}
