package provider

import (
	"net/url"
	"strings"

	"zonegate/hub"
)

// maxRaw bounds what is kept of an answer, in octets.
const maxRaw = 4 << 10

// Redact is a text without the secrets, addresses with their queries cut off,
// phone numbers masked to their last two digits (see maskNumbers), and nothing
// that a database refuses; at most 4 KB.
func Redact(text string, secrets ...string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "")
	for _, s := range secrets {
		if s == "" {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), strings.ReplaceAll(s, "/", `\/`)} {
			text = strings.ReplaceAll(text, form, "[secret]")
		}
	}
	text = maskNumbers(cutQueries(text))
	if len(text) > maxRaw {
		text = strings.ToValidUTF8(text[:maxRaw], "")
	}
	return text
}

// Words are a provider's words for people: a line of them, redacted.
func Words(text string, secrets ...string) string {
	words := Redact(Clean(text), secrets...)
	if len(words) > 200 {
		words = strings.ToValidUTF8(words[:200], "")
	}
	return words
}

// cutQueries takes what follows the question mark out of each URL, also where
// its slashes are escaped as in JSON.
func cutQueries(text string) string {
	const ends = " \t\r\n\"'<>"
	var b strings.Builder
	for {
		q := strings.IndexByte(text, '?')
		if q < 0 {
			b.WriteString(text)
			return b.String()
		}
		before := text[:q]
		b.WriteString(text[:q+1])
		text = text[q+1:]
		word := before[strings.LastIndexAny(before, ends)+1:]
		if strings.Contains(word, "://") || strings.Contains(word, `:\/\/`) {
			if end := strings.IndexAny(text, ends); end >= 0 {
				text = text[end:]
			} else {
				text = ""
			}
		}
	}
}

// Rejected is a definitive no with the provider's words.
func Rejected(reason string, secrets ...string) error {
	words := Words(reason, secrets...)
	if words == "" {
		words = "without a reason"
	}
	return &hub.RejectedError{Reason: words}
}
