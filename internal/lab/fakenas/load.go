package fakenas

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Script says what the sockets of a load send. Socket n has one request
// outstanding at any time, and its methods are called by one goroutine.
type Script interface {
	// Next completes a packet that Begin was not yet called for, and returns
	// the code that the answer must have.
	Next(socket int, id byte, r *Request) (want byte)
	// Answered takes an answer that is right; it is valid during the call.
	Answered(socket int, answer []byte)
}

// A Load is a closed loop: a number of sockets with one request outstanding
// each, the next one sent when the answer is there.
type Load struct {
	From *Sockets
	// Wait is how long an answer may take; then the same packet is sent again,
	// until Tries are made.
	Wait  time.Duration
	Tries int
	// Warm is run before the counting begins, and For is counted.
	Warm, For time.Duration
	// Requests, when not zero, ends the load after so many are answered or
	// given up, however long it takes. Nothing is a warm-up then.
	Requests int
	// Later has signatures of answers checked when the load is over, so that the
	// machine has more left for the server meanwhile. Answered then gets
	// answers that only look right.
	Later bool
	// Begin, when not nil, is called at the moment when the counting begins.
	Begin func()
}

// A Result is what came of a load.
type Result struct {
	Answered int
	Elapsed  time.Duration
	// TimeOuts are waits that ended without an answer, GivenUp requests whose
	// last wait did.
	TimeOuts, GivenUp int
	// Wrong are answers with another code than wanted or a wrong signature;
	// WhyWrong is the first of them. Late ones belong to a request that was
	// given up.
	Wrong, Late int
	WhyWrong    error

	took []time.Duration // from the first sending to the answer, sorted
}

// Rate is answers in a second.
func (r *Result) Rate() float64 { return float64(r.Answered) / r.Elapsed.Seconds() }

// Percentile p (0 to 100) of the time from the first sending to the answer.
func (r *Result) Percentile(p float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[min(len(r.took)-1, int(float64(len(r.took))*p/100))]
}

// Sockets are connected to one server. They outlive a load: a server keeps
// what it answered for some seconds by the port that asked.
type Sockets struct {
	epoll int
	list  []socket
	kept  []byte // of the answers to be checked later; used again
}

// Open makes sockets, which the caller must Close.
func Open(server netip.AddrPort, n int) (_ *Sockets, err error) {
	s := &Sockets{list: make([]socket, 0, n)}
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("waiting for answers: %w", err)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	address := &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("opening a socket: %w", err)
		}
		s.list = append(s.list, socket{fd: fd})
		if err := unix.Connect(fd, address); err != nil {
			return nil, fmt.Errorf("opening a socket: %w", err)
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return nil, fmt.Errorf("waiting for answers: %w", err)
		}
	}
	return s, nil
}

// Close closes the sockets.
func (s *Sockets) Close() {
	unix.Close(s.epoll)
	for i := range s.list {
		unix.Close(s.list[i].fd)
	}
}

type socket struct {
	fd          int
	request     Request
	packet      []byte
	want, id    byte
	first, sent time.Time
	tries       int
	idle        bool
}

// An unchecked answer, and what its signature depends on.
type unchecked struct {
	header   [20]byte // of the request
	from, to int      // where the answer is among those kept
}

// run is a load at work.
type run struct {
	Load
	script  Script
	sockets []socket
	result  Result
	started int // requests
	ended   int // requests answered or given up
	counts  bool
	// unchecked answers are in kept.
	unchecked []unchecked
	kept      []byte
	secret    []byte
}

// Run puts the server under load. All of it is done by the calling goroutine,
// which costs the machine as little as can be.
func (l Load) Run(ctx context.Context, script Script) (*Result, error) {
	w := &run{Load: l, script: script, sockets: l.From.list, counts: l.Warm == 0 || l.Requests > 0}
	if l.Later {
		w.kept, w.unchecked = l.From.kept[:0], make([]unchecked, 0, 1<<18)
	}
	begun := time.Now()
	for i := range w.sockets {
		if err := w.next(i, time.Now()); err != nil {
			return nil, err
		}
	}
	if err := w.loop(ctx, begun); err != nil {
		return nil, err
	}
	w.checkKept()
	slices.Sort(w.result.took)
	return &w.result, nil
}

func (w *run) loop(ctx context.Context, begun time.Time) error {
	events := make([]unix.EpollEvent, len(w.sockets))
	answer := make([]byte, 4096)
	counting := begun
	if w.counts && w.Begin != nil {
		w.Begin()
	}
	checked := begun
	for {
		n, err := unix.EpollWait(w.From.epoll, events, 5)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("waiting for answers: %w", err)
		}
		now := time.Now()
		for _, e := range events[:max(0, n)] {
			if err := w.receive(int(e.Fd), answer); err != nil {
				return err
			}
		}
		if now.Sub(checked) >= 2*time.Millisecond {
			checked = now
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := w.waited(now); err != nil {
				return err
			}
		}
		switch {
		case w.Requests > 0:
			if w.ended >= w.Requests {
				w.result.Elapsed = now.Sub(counting)
				return nil
			}
		case !w.counts && now.Sub(begun) >= w.Warm:
			w.counts, counting, w.result = true, now, Result{took: make([]time.Duration, 0, 1<<18)}
			if w.Begin != nil {
				w.Begin()
			}
		case w.counts && now.Sub(counting) >= w.For:
			w.result.Elapsed = now.Sub(counting)
			return nil
		}
	}
}

// next sends a new request, unless there are enough.
func (w *run) next(i int, now time.Time) error {
	s := &w.sockets[i]
	if s.idle = w.Requests > 0 && w.started >= w.Requests; s.idle {
		return nil
	}
	w.started++
	s.id++
	s.want = w.script.Next(i, s.id, &s.request)
	s.packet = s.request.End()
	s.first, s.tries = now, 0
	return w.send(s, now)
}

func (w *run) send(s *socket, now time.Time) error {
	s.sent = now
	s.tries++
	if _, err := unix.Write(s.fd, s.packet); err != nil && err != unix.EAGAIN {
		return fmt.Errorf("sending a request: %w", err)
	}
	return nil
}

func (w *run) receive(i int, answer []byte) error {
	s := &w.sockets[i]
	n, err := unix.Read(s.fd, answer)
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		return fmt.Errorf("receiving an answer: %w", err)
	}
	now := time.Now()
	if err = w.check(s, answer[:n]); errors.Is(err, ErrOtherID) {
		w.result.Late++
		return nil
	}
	if err == nil && answer[0] != s.want {
		err = fmt.Errorf("the answer is %s instead of %s: %s", CodeName(answer[0]), CodeName(s.want), Attributes(answer[:n], ReplyMessage))
	}
	if s.idle {
		return nil
	}
	if err != nil {
		w.result.Wrong++
		if w.result.WhyWrong == nil {
			w.result.WhyWrong = err
		}
	} else {
		w.result.Answered++
		w.result.took = append(w.result.took, now.Sub(s.first))
		w.script.Answered(i, answer[:n])
	}
	w.ended++
	return w.next(i, now)
}

// check says whether an answer is right, or looks so and is kept.
func (w *run) check(s *socket, answer []byte) error {
	if !w.Later || len(answer) < 20 || answer[1] != s.id {
		return s.request.Check(answer)
	}
	from := len(w.kept)
	w.kept = append(w.kept, answer...)
	w.unchecked = append(w.unchecked, unchecked{[20]byte(s.packet), from, len(w.kept)})
	w.secret = s.request.secret
	return nil
}

// checkKept checks what was kept, those of the warm-up too.
func (w *run) checkKept() {
	r := Request{secret: w.secret}
	for i := range w.unchecked {
		u := &w.unchecked[i]
		r.buf = u.header[:]
		if err := r.Check(w.kept[u.from:u.to]); err != nil {
			w.result.Wrong++
			if w.result.WhyWrong == nil {
				w.result.WhyWrong = err
			}
		}
	}
	if w.Later {
		w.From.kept = w.kept
	}
}

// waited sends again what was not answered, or gives it up.
func (w *run) waited(now time.Time) error {
	for i := range w.sockets {
		s := &w.sockets[i]
		if s.idle || now.Sub(s.sent) < w.Wait {
			continue
		}
		w.result.TimeOuts++
		var err error
		if s.tries < w.Tries {
			err = w.send(s, now)
		} else {
			w.result.GivenUp++
			w.ended++
			err = w.next(i, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
