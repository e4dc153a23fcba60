package http1

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
)

// encode returns a request as it is sent to the server itself, in one piece.
// Names beyond ASCII are refused: they are written with xn-- in a URL.
func encode(r *http.Request) ([]byte, error) {
	host := cmp.Or(r.Host, r.URL.Host)
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c >= 0x7f {
			return nil, fmt.Errorf("the host %q has more than ASCII in it; write it in its form with xn--", host)
		}
	}
	var b bytes.Buffer
	b.WriteString(r.Method + " " + r.URL.RequestURI() + " HTTP/1.1\r\nHost: " + host + "\r\n")
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("reading the body of a request: %w", err)
		}
	}
	if len(body) > 0 || r.Method != http.MethodGet {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	if r.Close {
		b.WriteString("Connection: close\r\n")
	}
	if err := r.Header.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes(), nil
}
