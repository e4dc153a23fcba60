package central

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", maxLine+1)
	for name, c := range map[string]struct {
		in   string
		want []event
	}{
		"one":                    {"id: 7\ndata: hello\n\n", []event{{id: "7", data: []byte("hello")}}},
		"carriage returns":       {"id:7\r\ndata:hello\r\n\r\n", []event{{id: "7", data: []byte("hello")}}},
		"comments":               {":\n\n: still here\n\ndata: a\n\n", []event{{data: []byte("a")}}},
		"several lines":          {"data: a\ndata: b\ndata\n\n", []event{{data: []byte("a\nb\n")}}},
		"not ended":              {"data: a\n\ndata: b\n", []event{{data: []byte("a")}}},
		"no data":                {"id: 1\n\ndata: a\n\n", []event{{data: []byte("a")}}},
		"a name":                 {"event: superseded\ndata: {}\n\n", []event{{name: "superseded", data: []byte("{}")}}},
		"unknown fields":         {"retry: 5\nfoo: bar\nfoo\ndata: a\n\n", []event{{data: []byte("a")}}},
		"a mark at the start":    {"\xef\xbb\xbfdata: a\n\n", []event{{data: []byte("a")}}},
		"a line too long":        {"id: 3\ndata: " + long + "\n\ndata: b\n\n", []event{{id: "3", tooLong: true}, {data: []byte("b")}}},
		"a comment too long":     {":" + long + "\ndata: b\n\n", []event{{data: []byte("b")}}},
		"too many lines":         {"data: a\n" + strings.Repeat("data: "+strings.Repeat("y", 1000)+"\n", 300) + "\ndata: b\n\n", []event{{tooLong: true}, {data: []byte("b")}}},
		"nothing":                {"", nil},
		"space inside the value": {"data:  two\n\n", []event{{data: []byte(" two")}}},
	} {
		for _, oneByOne := range []bool{false, true} {
			var in io.Reader = strings.NewReader(c.in)
			if oneByOne {
				in = iotest.OneByteReader(in)
			}
			r := newEventReader(in)
			var got []event
			for {
				e, err := r.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got = append(got, e)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%s: %d events, want %d", name, len(got), len(c.want))
			}
			for i, e := range got {
				w := c.want[i]
				if e.id != w.id || e.name != w.name || string(e.data) != string(w.data) || e.tooLong != w.tooLong {
					t.Errorf("%s: event %d is %q %q %.100q (too long: %v), want %q %q %.100q (%v)", name, i, e.id, e.name, e.data, e.tooLong, w.id, w.name, w.data, w.tooLong)
				}
			}
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("id: 7\ndata: hello\n\n:\n\n")
	f.Add("\r\n\r\ndata:\n\n")
	f.Fuzz(func(t *testing.T, in string) {
		r := newEventReader(strings.NewReader(in))
		for n := 0; ; n++ {
			e, err := r.next()
			if err != nil {
				return
			}
			if len(e.data) > maxEvent || n > len(in) {
				t.Fatalf("event %d with %d octets of data from %d", n, len(e.data), len(in))
			}
		}
	})
}
