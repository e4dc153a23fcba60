package mikrotik

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-routeros/routeros/v3"
)

var (
	// ErrUnreachable means that there is no connection to the router now. What
	// was wanted is not done and has to be asked for again.
	ErrUnreachable = errors.New("the router cannot be reached")
	// ErrCredentials means that the router does not know the user or password.
	ErrCredentials = errors.New("the router refuses the user or the password; set both as they are in /user on the router, whose group needs the policy api and whose address must allow this machine")
	// ErrCertificate means that somebody else answers, or with a new
	// certificate.
	ErrCertificate = errors.New("the router shows another certificate than the configured one")
	// ErrNoCertificate means that the router cannot speak TLS.
	ErrNoCertificate = errors.New("no TLS with the router; give it a certificate: /ip/service/set api-ssl certificate=NAME")
	// ErrVersion means that this RouterOS is too old.
	ErrVersion = errors.New("RouterOS before 6.49 is not supported; upgrade the router: /system/package/update/install")
	// ErrPermission means that the router's user may not do what is needed.
	ErrPermission = errors.New("the router's user may not do this; its group needs the policies api, read and write: /user/group/set")
)

const (
	dialTimeout    = 3 * time.Second
	loginTimeout   = 5 * time.Second // a busy board signs slowly
	commandTimeout = 10 * time.Second
	firstPause     = 250 * time.Millisecond
	longestPause   = 30 * time.Second
)

// An Info is what a router says of itself.
type Info struct {
	Version string // as the router writes it
	Board   string
	Uptime  time.Duration
}

// A line is the one synchronous connection to a router. Whatever makes its
// state doubtful (a timeout, a cancelled context, an answer that is not
// understood) closes it, and the next command dials again, after a pause that
// grows. Safe for concurrent use; commands take turns.
type line struct {
	conf Config

	// turn holds a token while somebody has the connection, and guards what
	// follows. Waiting for it ends with the caller's context: a command may
	// take long.
	turn    chan struct{}
	client  *routeros.Client
	conn    *guard
	used    bool // since it was dialled
	epoch   int  // counts connections
	info    Info
	pause   time.Duration
	nextTry time.Time
	lastErr error
	closed  bool

	read atomic.Int64 // the connection over which the router was last read
	sent atomic.Int64 // counts commands
}

// print lists a menu. The words are what follows it: the properties that are
// wanted, then queries.
func (l *line) print(ctx context.Context, menu, proplist string, query ...string) ([]row, error) {
	words := append([]string{menu + "/print", "=.proplist=" + proplist}, query...)
	reply, err := l.do(ctx, true, words)
	if err != nil {
		return nil, err
	}
	list := make([]row, len(reply.Re))
	for i, s := range reply.Re {
		list[i] = row(s.Map)
	}
	return list, nil
}

// add makes an object and returns its id.
func (l *line) add(ctx context.Context, menu string, words ...string) (id string, err error) {
	reply, err := l.do(ctx, false, append([]string{menu + "/add"}, words...))
	if err != nil {
		return "", err
	}
	return reply.Done.Map["ret"], nil
}

func (l *line) set(ctx context.Context, menu, id string, words ...string) error {
	_, err := l.do(ctx, false, append([]string{menu + "/set", "=.id=" + id}, words...))
	return err
}

// remove deletes an object; one that is gone already is no error.
func (l *line) remove(ctx context.Context, menu, id string) error {
	_, err := l.do(ctx, false, []string{menu + "/remove", "=.id=" + id})
	if isGone(err) {
		return nil
	}
	return err
}

func newLine(c Config) *line {
	return &line{conf: c, turn: make(chan struct{}, 1)}
}

// take waits for the connection, and give lets others have it.
func (l *line) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for another command: %w", ErrUnreachable, ctx.Err())
	}
}

func (l *line) give() { <-l.turn }

func (l *line) do(ctx context.Context, repeatable bool, words []string) (*routeros.Reply, error) {
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	defer l.give()
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	if !repeatable && l.read.Load() != int64(l.epoch) {
		// The router may have been started again or upgraded, and an id that
		// was read before stand for something else.
		return nil, fmt.Errorf("%w: the connection is new, and the router has to be read first", ErrUnreachable)
	}
	fresh := !l.used
	reply, err := l.run(ctx, words)
	if err == nil || l.client != nil || fresh || !repeatable || ctx.Err() != nil {
		return reply, err
	}
	// The connection may have been dead for long; a question can be repeated.
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	return l.run(ctx, words)
}

// current returns which connection this is, dialling if there is none: what
// was read over an earlier one may not be true any more.
func (l *line) current(ctx context.Context) (int, error) {
	if err := l.take(ctx); err != nil {
		return 0, err
	}
	defer l.give()
	if err := l.connect(ctx); err != nil {
		return 0, err
	}
	return l.epoch, nil
}

// known says that what is known of the router was read over a connection.
func (l *line) known(epoch int) { l.read.Store(int64(epoch)) }

// commands returns how many were sent so far.
func (l *line) commands() int { return int(l.sent.Load()) }

// run has one command answered. It closes the connection unless the answer is
// whole.
func (l *line) run(ctx context.Context, words []string) (*routeros.Reply, error) {
	deadline := time.Now().Add(l.conf.timeout())
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	l.used = true
	l.sent.Add(1)
	l.conn.begin()
	l.conn.SetDeadline(deadline)
	conn := l.conn
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	reply, err := l.client.RunArgs(words)
	undisturbed := stop()
	var trap *routeros.DeviceError
	if errors.As(err, &trap) && trap.Sentence.Word == "!trap" && undisturbed {
		return nil, refusal(words[0], trap)
	}
	if err == nil && reply.Done == nil {
		err = io.ErrUnexpectedEOF
	}
	if err != nil || !undisturbed {
		l.hangUp()
	}
	if err == nil {
		return reply, nil
	}
	if cause := ctx.Err(); cause != nil {
		err = cause
	}
	// The words may hold a password; the command does not.
	return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, words[0], err)
}

func (l *line) hangUp() {
	if l.client != nil {
		l.client.Close()
		l.client, l.conn = nil, nil
	}
}

// Close ends the connection for good.
func (l *line) Close() error {
	l.turn <- struct{}{}
	defer l.give()
	l.closed = true
	l.hangUp()
	return nil
}

// connect makes sure of a connection, or says at once why there is none.
func (l *line) connect(ctx context.Context) error {
	if l.client != nil {
		return nil
	}
	if l.closed {
		return fmt.Errorf("%w: closed", ErrUnreachable)
	}
	if time.Now().Before(l.nextTry) {
		return l.lastErr
	}
	err := l.dial(ctx)
	if err == nil {
		l.pause, l.nextTry, l.lastErr = 0, time.Time{}, nil
		return nil
	}
	l.hangUp()
	if d, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(d) {
		// The caller's haste says nothing about the router.
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	l.pause = min(max(2*l.pause, firstPause), longestPause)
	// Up to half as long again, so that many do not come back as one.
	l.nextTry = time.Now().Add(l.pause + time.Duration(rand.Int64N(int64(l.pause)/2+1)))
	l.lastErr = fmt.Errorf("%w: %w", ErrUnreachable, err)
	return l.lastErr
}

// dial connects, logs in and asks for the version.
func (l *line) dial(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", l.conf.address())
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", l.conf.address(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if !l.conf.Plain {
		secure := tls.Client(conn, tlsConfig(l.conf.Fingerprint))
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			var op *net.OpError
			var record tls.RecordHeaderError
			switch {
			case errors.Is(err, ErrCertificate):
				return err
			case errors.As(err, &op) && op.Op == "remote error", errors.As(err, &record):
				// An alert: it has no certificate and so no cipher of Go's.
				return fmt.Errorf("%w (%w)", ErrNoCertificate, err)
			}
			return fmt.Errorf("starting TLS with %s (is that the port of api-ssl?): %w", l.conf.address(), err)
		}
		conn = secure
	}
	l.conn = &guard{Conn: conn}
	if l.client, err = routeros.NewClient(l.conn); err != nil {
		conn.Close()
		return err
	}
	// The library writes to standard output otherwise, passwords included.
	l.client.SetLogHandler(slog.DiscardHandler)
	deadline, _ := ctx.Deadline()
	l.conn.SetDeadline(deadline)
	interrupted := l.conn
	stop := context.AfterFunc(ctx, func() { interrupted.SetDeadline(time.Unix(1, 0)) })
	err = l.login()
	if !stop() && err == nil {
		err = ctx.Err() // or the deadline that is being set would meet the first command
	}
	if err != nil {
		return err
	}
	l.epoch++
	l.used = false
	return nil
}

func (l *line) login() error {
	err := l.client.Login(l.conf.User, l.conf.Password)
	var trap *routeros.DeviceError
	if errors.As(err, &trap) {
		return fmt.Errorf("%w (%s)", ErrCredentials, trap.Sentence.Map["message"])
	}
	if err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	l.conn.begin()
	reply, err := l.client.RunArgs([]string{"/system/resource/print", "=.proplist=version,board-name,uptime"})
	if errors.As(err, &trap) {
		return refusal("/system/resource/print", trap)
	}
	if err != nil {
		return fmt.Errorf("asking for the version: %w", err)
	}
	if len(reply.Re) == 0 {
		return errors.New("asking for the version: no answer")
	}
	r := row(reply.Re[0].Map)
	l.info = Info{Version: r["version"], Board: r["board-name"], Uptime: r.duration("uptime")}
	major, minor := parseVersion(l.info.Version)
	if major < 6 || major == 6 && minor < 49 {
		return fmt.Errorf("%w (it has %q)", ErrVersion, l.info.Version)
	}
	return nil
}

// parseVersion reads the first two numbers of "7.16.1 (stable)" or
// "7.22beta3".
func parseVersion(s string) (major, minor int) {
	first, rest, _ := strings.Cut(s, ".")
	number := func(s string) (n int) {
		for i := 0; i < len(s) && i < 4 && s[i] >= '0' && s[i] <= '9'; i++ {
			n = 10*n + int(s[i]-'0')
		}
		return n
	}
	return number(first), number(rest)
}

// tlsConfig accepts exactly the certificate with a fingerprint. Nothing else
// about it counts: routers sign their own, for any name and time.
func tlsConfig(fingerprint string) *tls.Config {
	want := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(fingerprint))
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it
		MinVersion:         tls.VersionTLS12,
		// The last are all that some 6.49 offer. The order is Go's.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return ErrNoCertificate
			}
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			if got := hex.EncodeToString(sum[:]); got != want {
				return fmt.Errorf("%w: its SHA-256 fingerprint is %s; if you renewed it, put that into the configuration", ErrCertificate, got)
			}
			return nil
		},
	}
}

// A Refusal is the router's own answer to one command.
type Refusal struct {
	Command, Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the router refuses %s: %s", r.Command, r.Message)
}

// Unwrap makes missing permissions known as such.
func (r *Refusal) Unwrap() error {
	if strings.Contains(r.Message, "not enough permissions") {
		return ErrPermission
	}
	return nil
}

func refusal(command string, trap *routeros.DeviceError) error {
	return &Refusal{command, trap.Sentence.Map["message"]}
}

// says reports whether the router refused with a message that holds a text.
// The messages are all there is: traps carry no number of a meaning.
func says(err error, text string) bool {
	var r *Refusal
	return errors.As(err, &r) && strings.Contains(strings.ToLower(r.Message), text)
}

func isGone(err error) bool { return says(err, "no such item") }

func isDuplicate(err error) bool { return says(err, "already have") || says(err, "already exists") }

// isNoMenu says that this version has no such command.
func isNoMenu(err error) bool { return says(err, "no such command") }
