package messenger

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"zonegate/hub"
)

// A Log sends nothing: it says in the log that there was a text. It is for the
// lab.
type Log struct {
	Log *slog.Logger
	// Out is where the whole text is printed; nil is nowhere. Codes are in it,
	// so it is for tests and the lab alone.
	Out io.Writer
}

// Send implements hub.Messenger.
func (l Log) Send(_ context.Context, to, text string) error {
	l.Log.Warn("a message was not sent: the messenger is the log", "to", masked(to))
	if l.Out != nil {
		if _, err := fmt.Fprintf(l.Out, "message to %s: %s\n", masked(to), text); err != nil {
			return fmt.Errorf("%w: %w", hub.ErrNotSent, err)
		}
	}
	return nil
}

// masked is a receiver as it may be read by others: the last two characters.
func masked(to string) string {
	if len(to) < 4 {
		return "**"
	}
	return strings.Repeat("*", len(to)-2) + to[len(to)-2:]
}

// A Sender is one of the types here.
type Sender interface {
	Send(ctx context.Context, to, text string) error
}

// A Pair sends to phones by one way and to mail addresses by another. Either
// may be nil.
type Pair struct{ Phone, Mail Sender }

// Send implements hub.Messenger.
func (p Pair) Send(ctx context.Context, to, text string) error {
	way, word := p.Phone, "phones"
	if strings.Contains(to, "@") {
		way, word = p.Mail, "mail addresses"
	}
	if way == nil {
		return &hub.RejectedError{Reason: "the hub has no way to send to " + word + "; its money file needs one under [messenger]"}
	}
	return way.Send(ctx, to, text)
}
