package messenger

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// A mailServer takes one mail. What it says no to is in answers, by the first
// word that it hears; "." is the end of the mail.
type mailServer struct {
	tls      *tls.Config
	implicit bool
	bare     bool // offers no STARTTLS
	answers  map[string]string
	heard    chan []string // the commands, and the mail as its last
}

// newMailServer also returns options that trust it.
func newMailServer(t *testing.T, m *mailServer) MailOptions {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	cert := web.TLS.Certificates[0]
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	web.Close()
	m.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	m.heard = make(chan []string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		m.heard <- m.serve(conn)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return MailOptions{Server: l.Addr().String(), From: "Hub <hub@example.org>", Subject: "Relevé du jour", TLS: &tls.Config{RootCAs: pool}, Implicit: m.implicit}
}

func (m *mailServer) serve(conn net.Conn) (heard []string) {
	if m.implicit {
		conn = tls.Server(conn, m.tls)
	}
	c := textproto.NewConn(conn)
	c.PrintfLine("220 test")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return heard
		}
		heard = append(heard, line)
		word := strings.ToUpper(strings.Fields(line + " -")[0])
		if no, ok := m.answers[word]; ok {
			if no == "" {
				return heard // hangs up
			}
			c.PrintfLine("%s", no)
			continue
		}
		switch word {
		case "EHLO":
			c.PrintfLine("250-test")
			if _, ok := conn.(*tls.Conn); !ok && !m.bare {
				c.PrintfLine("250-STARTTLS")
			}
			c.PrintfLine("250 AUTH PLAIN")
		case "STARTTLS":
			c.PrintfLine("220 go on")
			conn = tls.Server(conn, m.tls)
			c = textproto.NewConn(conn)
		case "AUTH":
			c.PrintfLine("235 good")
		case "DATA":
			c.PrintfLine("354 go on")
			body, err := io.ReadAll(c.DotReader())
			if err != nil {
				return heard
			}
			heard = append(heard, string(body))
			switch end, ok := m.answers["."]; {
			case ok && end == "":
				return heard
			case ok:
				c.PrintfLine("%s", end)
			default:
				c.PrintfLine("250 taken")
			}
		case "QUIT":
			c.PrintfLine("221 bye")
			return heard
		default:
			c.PrintfLine("250 good")
		}
	}
}

func TestMail(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		m := &mailServer{implicit: implicit}
		o := newMailServer(t, m)
		o.User, o.Password = "hub", secret("topsecret")
		sender, err := NewMail(o)
		if err != nil {
			t.Fatal(err)
		}
		long := text + "\n.\n" + strings.Repeat("x", 2000)
		if err := sender.Send(t.Context(), "Kofi <kofi@example.org>", long); err != nil {
			t.Fatal(err)
		}
		heard := <-m.heard
		all := strings.Join(heard, "\n")
		for _, want := range []string{"MAIL FROM:<hub@example.org>", "RCPT TO:<kofi@example.org>", "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00hub\x00topsecret"))} {
			if !strings.Contains(all, want) {
				t.Errorf("the server did not hear %q but %q", want, heard)
			}
		}
		if strings.Contains(all, "STARTTLS") == implicit {
			t.Errorf("implicit %v: %q", implicit, heard)
		}
		for _, h := range heard {
			if strings.HasPrefix(h, "From:") {
				read(t, h, long)
			}
		}
	}
}

// read reads a mail as a mail program does.
func read(t *testing.T, raw, want string) {
	t.Helper()
	got, err := mail.ReadMessage(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, got.Body))
	if err != nil || string(body) != want {
		t.Errorf("the mail says %q (%v)", body, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || subject != "Relevé du jour" {
		t.Errorf("its subject is %q (%v)", subject, err)
	}
	if _, err := got.Header.Date(); err != nil || got.Header.Get("Message-ID") == "" {
		t.Errorf("its headers are %v", got.Header)
	}
	for line := range strings.SplitSeq(raw, "\n") {
		if len(line) > 100 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

func TestMailOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		server mailServer
		want   string
	}{
		"no STARTTLS":        {mailServer{bare: true}, "not sent"},
		"wrong password":     {mailServer{answers: map[string]string{"AUTH": "535 no"}}, "rejected"},
		"no such receiver":   {mailServer{answers: map[string]string{"RCPT": "550 kofi@example.org is unknown"}}, "rejected"},
		"hangs up before":    {mailServer{answers: map[string]string{"DATA": ""}}, "not sent"},
		"hangs up at once":   {mailServer{answers: map[string]string{"EHLO": "", "HELO": ""}}, "not sent"},
		"says no at the end": {mailServer{answers: map[string]string{".": "554 spam"}}, "rejected"},
		"hangs up at end":    {mailServer{answers: map[string]string{".": ""}}, "ambiguous"},
		"hangs up after it":  {mailServer{answers: map[string]string{"QUIT": ""}}, "sent"},
	} {
		o := newMailServer(t, &c.server)
		o.User, o.Password = "hub", secret("topsecret")
		sender, err := NewMail(o)
		if err != nil {
			t.Fatal(err)
		}
		err = sender.Send(t.Context(), "kofi@example.org", text)
		if got := outcome(err); got != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
		quiet(t, err)
		if err != nil && strings.Contains(err.Error(), "kofi") {
			t.Errorf("%s: the error %q names the receiver", name, err)
		}
		if heard := strings.Join(<-c.server.heard, " "); c.server.bare && strings.Contains(heard, "AUTH PLAIN") {
			t.Errorf("in the clear it was told %q", heard)
		}
	}
	for name, server := range map[string]string{"nobody there": "127.0.0.1:1", "hangs up": hangUp(t)} {
		sender, err := NewMail(MailOptions{Server: server, From: "hub@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), "kofi@example.org", text); outcome(err) != "not sent" {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := newMailServer(t, &mailServer{})
	o.User, o.Password = "hub", func() (string, error) { return "", errors.New("gone") }
	sender, err := NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), "kofi@example.org", text); outcome(err) != "not sent" {
		t.Errorf("no password: %v", err)
	}
	if err := sender.Send(t.Context(), "kofi@example.org\r\nRCPT TO:<x@example.org>", text); outcome(err) != "rejected" {
		t.Errorf("a receiver of two lines: %v", err)
	}
}

func TestMailRefusesOptions(t *testing.T) {
	good := MailOptions{Server: "mail.example.org:587", From: "hub@example.org"}
	for name, change := range map[string]func(*MailOptions){
		"no port":     func(o *MailOptions) { o.Server = "mail.example.org" },
		"no server":   func(o *MailOptions) { o.Server = "" },
		"no sender":   func(o *MailOptions) { o.From = "hub" },
		"no password": func(o *MailOptions) { o.User = "hub" },
		"two lines":   func(o *MailOptions) { o.Subject = "a\nb" },
	} {
		o := good
		change(&o)
		if _, err := NewMail(o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := NewMail(good); err != nil {
		t.Error(err)
	}
}
