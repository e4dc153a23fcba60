package messenger

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"zonegate/hub"
)

// MailOptions say through which server mail is sent.
type MailOptions struct {
	// Server is host:port. Port 465 speaks TLS from the start; any other must
	// offer STARTTLS.
	Server string
	From   string
	// Subject of every mail.
	Subject string
	// User may be empty; then Password is not asked for.
	User     string
	Password func() (string, error)
	// Timeout bounds a mail; 0 is 30 seconds.
	Timeout time.Duration
	// TLS is nil outside tests.
	TLS *tls.Config
	// Implicit speaks TLS from the start on any port.
	Implicit bool
}

// A Mail sends by SMTP (RFC 5321), always under TLS.
type Mail struct {
	o    MailOptions
	host string
	from *mail.Address
}

// NewMail says what makes no sense before anything is sent.
func NewMail(o MailOptions) (*Mail, error) {
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil || host == "" || port == "" {
		return nil, errors.New("the mail server must be as mail.example.org:587")
	}
	from, err := mail.ParseAddress(o.From)
	if err != nil {
		return nil, errors.New("the sender of mail must be an address, as hub@example.org")
	}
	if o.User != "" && o.Password == nil {
		return nil, errors.New("the mail server has a user and no password: give password_file or password_env")
	}
	if strings.ContainsAny(o.Subject, "\r\n") {
		return nil, errors.New("the subject of mail must be one line")
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	o.Implicit = o.Implicit || port == "465"
	c := &tls.Config{}
	if o.TLS != nil {
		c = o.TLS.Clone()
	}
	c.ServerName = host
	o.TLS = c
	return &Mail{o: o, host: host, from: from}, nil
}

// Send implements hub.Messenger. to is a mail address.
func (m *Mail) Send(ctx context.Context, to, text string) error {
	address, err := mail.ParseAddress(to)
	if err != nil {
		return &hub.RejectedError{Reason: "the receiver is no mail address"}
	}
	body, err := m.message(address, text)
	if err != nil {
		return fmt.Errorf("%w: %w", hub.ErrNotSent, err)
	}
	ctx, cancel := context.WithTimeout(ctx, m.o.Timeout)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the mail server: %w: %w", hub.ErrNotSent, err)
	}
	// The end of ctx ends what is on its way.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	defer conn.Close()
	c, err := m.begin(conn, address)
	if err != nil {
		return before(err)
	}
	w, err := c.Data()
	if err != nil {
		return before(err)
	}
	// Nothing is taken before the dot at the end.
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("writing the mail: %w: %w", hub.ErrNotSent, err)
	}
	if err := w.Close(); err != nil {
		if refusal(err) != nil {
			return refusal(err)
		}
		return fmt.Errorf("ending the mail: %w: %w", hub.ErrAmbiguous, err)
	}
	c.Quit() // it was taken, whatever comes now
	return nil
}

func (m *Mail) dial(ctx context.Context) (net.Conn, error) {
	if m.o.Implicit {
		return (&tls.Dialer{Config: m.o.TLS}).DialContext(ctx, "tcp", m.o.Server)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", m.o.Server)
}

// begin says everything that comes before the mail itself.
func (m *Mail) begin(conn net.Conn, to *mail.Address) (*smtp.Client, error) {
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, err
	}
	if !m.o.Implicit {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, errors.New("the mail server offers no STARTTLS; use its port 465, or another server")
		}
		if err := c.StartTLS(m.o.TLS); err != nil {
			return nil, err
		}
	}
	if m.o.User != "" {
		password, err := m.o.Password()
		if err != nil {
			return nil, err
		}
		if err := c.Auth(smtp.PlainAuth("", m.o.User, password, m.host)); err != nil {
			return nil, err
		}
	}
	if err := c.Mail(m.from.Address); err != nil {
		return nil, err
	}
	return c, c.Rcpt(to.Address)
}

// before is the outcome of an error before the mail was handed over.
func before(err error) error {
	if no := refusal(err); no != nil {
		return no
	}
	return fmt.Errorf("speaking with the mail server: %w: %w", hub.ErrNotSent, err)
}

// refusal is the server's no, or nil. Its words may name the receiver.
func refusal(err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return &hub.RejectedError{Reason: fmt.Sprintf("the mail server answers with code %d", answer.Code)}
	}
	return nil
}

// message is the mail (RFC 5322) with its text in base64: no line is too long
// and none begins with a dot.
func (m *Mail) message(to *mail.Address, text string) ([]byte, error) {
	_, domain, _ := strings.Cut(m.from.Address, "@")
	var b strings.Builder
	for _, line := range [][2]string{
		{"From", m.from.String()}, {"To", to.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", m.o.Subject)},
		{"Date", time.Now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + rand.Text() + "@" + domain + ">"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "base64"},
		{"Auto-Submitted", "auto-generated"},
	} {
		if strings.ContainsAny(line[1], "\r\n") {
			return nil, fmt.Errorf("the header %s of the mail has more than a line", line[0])
		}
		b.WriteString(line[0] + ": " + line[1] + "\r\n")
	}
	b.WriteString("\r\n")
	encoded := base64.StdEncoding.EncodeToString([]byte(text))
	for len(encoded) > 76 {
		b.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	b.WriteString(encoded + "\r\n")
	return []byte(b.String()), nil
}
