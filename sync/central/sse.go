package central

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Bounds of the event stream. The largest push, with 1,000 keys or 500 domains
// in base64 of JSON, is below 200 KB.
const (
	maxLine  = 256 << 10
	maxEvent = 256 << 10
)

// An event is one of a text/event-stream (WHATWG HTML, server-sent events).
type event struct {
	id, name string
	data     []byte
	// tooLong says that the event was beyond the bounds and has no data.
	tooLong bool
}

// An eventReader takes a stream of events apart. Lines end with a line feed,
// or with a carriage return before it.
type eventReader struct {
	r     *bufio.Reader
	begun bool
}

func newEventReader(r io.Reader) *eventReader { return &eventReader{r: bufio.NewReader(r)} }

// next returns the next event. Comments and events without data are passed
// over; an event that is not ended by an empty line never happened.
func (s *eventReader) next() (event, error) {
	var e event
	var lines int
	for {
		line, tooLong, err := s.line()
		if err != nil {
			return event{}, err
		}
		if !s.begun {
			s.begun = true
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 && !tooLong {
			if lines > 0 || e.tooLong {
				return e, nil
			}
			e = event{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case string(field) == "id" && !tooLong:
			e.id = string(value)
		case string(field) == "event" && !tooLong:
			e.name = string(value)
		case string(field) == "data":
			if tooLong || e.tooLong || len(e.data)+len(value) >= maxEvent {
				e.tooLong, e.data = true, nil
				continue
			}
			if lines > 0 {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
			lines++
		}
	}
}

// line reads a line without its end. Of one that is too long it returns the
// beginning, and reads over the rest.
func (s *eventReader) line() (line []byte, tooLong bool, err error) {
	for {
		part, err := s.r.ReadSlice('\n')
		if len(line)+len(part) <= maxLine {
			line = append(line, part...)
		} else {
			tooLong = true
		}
		switch {
		case err == nil:
			line = bytes.TrimSuffix(line, []byte("\n"))
			return bytes.TrimSuffix(line, []byte("\r")), tooLong, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

// A pulse reports every read that brings something.
type pulse struct {
	r    io.Reader
	beat func()
}

func (p pulse) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.beat()
	}
	return n, err
}
