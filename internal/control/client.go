package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"zonegate/internal/http1"
)

// A Client asks a daemon, or a Handler in its own process.
type Client struct {
	exchange func(*http.Request) (*http.Response, error)
}

// Dial returns a client of the daemon that serves the socket. When none does
// it is ErrNoDaemon.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	conn.Close()
	daemon := &http1.Client{
		Dial:      func(ctx context.Context) (net.Conn, error) { return dial(ctx, path) },
		MaxHeader: 16 << 10,
	}
	return &Client{daemon.Do}, nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNoDaemon
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("reaching the daemon (only its own user may; try as root): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the daemon: %w", err)
	}
	return conn, nil
}

// Local returns a client of a Handler in this process.
func Local(h *Handler) *Client {
	return &Client{inProcess{h.HTTP()}.exchange}
}

// inProcess answers requests without a socket.
type inProcess struct{ handler http.Handler }

func (t inProcess) exchange(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	answer := &pipeWriter{pipe: w, header: http.Header{}, started: make(chan struct{})}
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer.WriteHeader(http.StatusInternalServerError)
				w.CloseWithError(io.ErrUnexpectedEOF)
				if p != http.ErrAbortHandler {
					panic(p)
				}
				return
			}
			answer.WriteHeader(http.StatusOK)
			w.Close()
		}()
		t.handler.ServeHTTP(answer, r)
	}()
	<-answer.started
	return &http.Response{
		Status: http.StatusText(answer.status), StatusCode: answer.status, Header: answer.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Body: body, Request: r,
	}, nil
}

type pipeWriter struct {
	pipe    *io.PipeWriter
	header  http.Header
	status  int
	started chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		close(w.started)
	}
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(p)
}

// do sends in (nothing for nil) and reads the answer into out.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// send returns the answer, or the *Error in it.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://zonegate"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.exchange(r)
	if err != nil {
		return nil, fmt.Errorf("asking the daemon: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e errorAnswer
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err == nil && json.Unmarshal(raw, &e) == nil && e.Error != nil {
		return nil, e.Error
	}
	return nil, fmt.Errorf("asking the daemon: %s %s", path, resp.Status)
}

// Status asks how the gateway is.
func (c *Client) Status(ctx context.Context) (out Status, err error) {
	err = c.do(ctx, "GET", "/v1/status", nil, &out)
	return out, err
}

// Plans asks for what is sold.
func (c *Client) Plans(ctx context.Context) (out Plans, err error) {
	err = c.do(ctx, "GET", "/v1/plans", nil, &out)
	return out, err
}

// Vouchers asks for the unused vouchers by batch.
func (c *Client) Vouchers(ctx context.Context) (out Vouchers, err error) {
	err = c.do(ctx, "GET", "/v1/vouchers", nil, &out)
	return out, err
}

// CreateVouchers makes new codes. They are in the answer and nowhere else.
func (c *Client) CreateVouchers(ctx context.Context, in CreateVouchers) (out CreatedVouchers, err error) {
	err = c.do(ctx, "POST", "/v1/vouchers/create", in, &out)
	return out, err
}

// ImportVouchers makes foreign codes valid, all or none.
func (c *Client) ImportVouchers(ctx context.Context, in ImportVouchers) (out ImportedVouchers, err error) {
	err = c.do(ctx, "POST", "/v1/vouchers/import", in, &out)
	return out, err
}

// RevokeVoucher makes a code worthless.
func (c *Client) RevokeVoucher(ctx context.Context, code string) (out Done, err error) {
	err = c.do(ctx, "POST", "/v1/vouchers/revoke", RevokeVoucher{Code: code}, &out)
	return out, err
}

// Sessions asks who is online.
func (c *Client) Sessions(ctx context.Context) (out Sessions, err error) {
	err = c.do(ctx, "GET", "/v1/sessions", nil, &out)
	return out, err
}

// Kick stops a session.
func (c *Client) Kick(ctx context.Context, session uint32) (out Done, err error) {
	err = c.do(ctx, "POST", "/v1/sessions/kick", KickSession{Session: session}, &out)
	return out, err
}

// TopUp adds value to a grant.
func (c *Client) TopUp(ctx context.Context, in TopUpGrant) (out Done, err error) {
	err = c.do(ctx, "POST", "/v1/grants/topup", in, &out)
	return out, err
}

// RevokeGrant takes a grant back.
func (c *Client) RevokeGrant(ctx context.Context, grant uint64) (out Done, err error) {
	err = c.do(ctx, "POST", "/v1/grants/revoke", RevokeGrant{Grant: grant}, &out)
	return out, err
}

// Reconcile has the state compared with the data path.
func (c *Client) Reconcile(ctx context.Context) (out Done, err error) {
	err = c.do(ctx, "POST", "/v1/reconcile", struct{}{}, &out)
	return out, err
}

// Facts asks for what only the running daemon knows.
func (c *Client) Facts(ctx context.Context) (out Facts, err error) {
	err = c.do(ctx, "GET", "/v1/facts", nil, &out)
	return out, err
}

// Verify has the journal checked.
func (c *Client) Verify(ctx context.Context) (out JournalReport, err error) {
	err = c.do(ctx, "GET", "/v1/journal/verify", nil, &out)
	return out, err
}

// Backup writes a backup to w. After an error what was written is worthless.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, "GET", "/v1/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("receiving the backup: %w", err)
	}
	return nil
}
