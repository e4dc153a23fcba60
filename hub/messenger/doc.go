// Package messenger sends short texts to people: codes and notices by an HTTP
// SMS gateway, notices by SMTP, and for the lab into the log. Each type is what
// package hub calls a Messenger.
//
// Nothing is decided here: not who gets a text, not what it says, and not
// whether it is sent again. Errors say as the providers' do what became of a
// text: hub.ErrNotSent, a hub.RejectedError, or anything else, after which it
// may have been sent. No error, and no line of a log, has a text or a whole
// number in it.
package messenger
