package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"zonegate/hub"
)

// An Object is a JSON object as providers write them: names in any case,
// numbers as numbers or as strings. A name that comes twice with different
// values is as good as not there.
type Object struct {
	members map[string][]any // by name in lower case
}

// maxDepth is how deep values nest.
const maxDepth = 16

var errNoObject = errors.New("it is no JSON object")

// ParseObject reads a JSON object and nothing after it.
func ParseObject(body []byte) (Object, error) {
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\ufeff"))
	if len(body) == 0 || len(body) > maxBody || !json.Valid(body) {
		return Object{}, errNoObject
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return Object{}, err
	}
	o, ok := v.(Object)
	if !ok {
		return Object{}, errNoObject
	}
	return o, nil
}

// value reads one: an Object, a []any, a string, a json.Number, a bool or nil.
func value(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errNoObject
	}
	t, err := d.Token()
	if err != nil {
		return nil, errNoObject
	}
	switch t {
	case json.Delim('{'):
		o := Object{map[string][]any{}}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, errNoObject
			}
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			key := strings.ToLower(strings.TrimSpace(name.(string)))
			o.members[key] = append(o.members[key], v)
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

// Object is the answer's body. What is no JSON object is hub.ErrAmbiguous: a
// page of a proxy, half a body, a missing quote. It is never a no.
func (a Answer) Object() (Object, error) {
	o, err := ParseObject(a.Body)
	if err != nil {
		return Object{}, fmt.Errorf("%w: the answer (status %d) cannot be read: %w", hub.ErrAmbiguous, a.Status, err)
	}
	return o, nil
}

// Refused says that the status is one that means nothing about what was asked:
// keys that are not taken, too many calls, a server that fails, a redirect.
// The answer is hub.ErrAmbiguous then, whatever its body claims.
func (a Answer) Refused() error {
	switch {
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Status == http.StatusProxyAuthRequired,
		a.Status == http.StatusRequestTimeout, a.Status == http.StatusTooManyRequests, a.Status >= 500, a.Status < 200,
		a.Status >= 300 && a.Status < 400:
		return fmt.Errorf("%w: it answered with status %d", hub.ErrAmbiguous, a.Status)
	}
	return nil
}

// Text is the first of names that has a text, without spaces around it and
// without control characters. A number is as it was written. Of a name with an
// overlong text it is empty.
func (o Object) Text(names ...string) string {
	for _, name := range names {
		if t := Clean(o.Exact(name)); t != "" {
			return t
		}
	}
	return ""
}

// maxText bounds what is taken from an answer, in octets.
const maxText = 1000

// Clean takes spaces around a text away and control characters out of it (a
// database may refuse them); an overlong one is empty.
func Clean(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, s))
	if len(s) > maxText {
		return ""
	}
	return s
}

// Exact is a text or number as it was written.
func (o Object) Exact(name string) string {
	var got string
	for i, v := range o.members[strings.ToLower(name)] {
		t := ""
		switch v := v.(type) {
		case string:
			t = v
		case json.Number:
			t = v.String()
		case bool:
			t = fmt.Sprint(v)
		}
		if i > 0 && t != got {
			return ""
		}
		got = t
	}
	return got
}

// Has says that a name is there, with a value that is not null.
func (o Object) Has(name string) bool {
	for _, v := range o.members[strings.ToLower(name)] {
		if v != nil {
			return true
		}
	}
	return false
}

// Names are how many names there are.
func (o Object) Names() int { return len(o.members) }

// Object is the object of that name.
func (o Object) Object(name string) (Object, bool) {
	vs := o.members[strings.ToLower(name)]
	if len(vs) != 1 {
		return Object{}, false
	}
	in, ok := vs[0].(Object)
	return in, ok
}

// List are the objects of the list of that name. Of something else in the list,
// or of no list, it is nothing.
func (o Object) List(name string) []Object {
	vs := o.members[strings.ToLower(name)]
	if len(vs) != 1 {
		return nil
	}
	list, _ := vs[0].([]any)
	var out []Object
	for _, v := range list {
		in, ok := v.(Object)
		if !ok {
			return nil
		}
		out = append(out, in)
	}
	return out
}

// Callback is what a callback carries: its query, and its body as a JSON
// object or as form fields. What is in the body goes before the query.
func Callback(header, query map[string][]string, body []byte) (Object, error) {
	out := Object{map[string][]any{}}
	for name, vs := range query {
		out.add(name, vs)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return out, nil
	}
	if len(body) > maxBody {
		return Object{}, errLong
	}
	if o, err := ParseObject(body); err == nil {
		for name, vs := range o.members {
			out.members[name] = vs
		}
		return out, nil
	}
	fields, err := form(header, body)
	if err != nil {
		return Object{}, err
	}
	for name, vs := range fields {
		delete(out.members, strings.ToLower(name))
		out.add(name, vs)
	}
	return out, nil
}

// CallbackRaw is a callback as it is kept: its body, or else its query.
func CallbackRaw(query map[string][]string, body []byte, secrets ...string) string {
	if len(bytes.TrimSpace(body)) > 0 {
		return Redact(string(body), secrets...)
	}
	return Redact(url.Values(query).Encode(), secrets...)
}

func (o Object) add(name string, values []string) {
	key := strings.ToLower(name)
	for _, v := range values {
		o.members[key] = append(o.members[key], v)
	}
}

// form reads form fields of either kind.
func form(header map[string][]string, body []byte) (map[string][]string, error) {
	r := &http.Request{Method: http.MethodPost, Header: header, Body: io.NopCloser(bytes.NewReader(body))}
	var err error
	if kind := r.Header.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") {
		if err = r.ParseMultipartForm(maxBody); err == nil {
			defer r.MultipartForm.RemoveAll()
		}
	} else if strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
		err = r.ParseForm()
	} else {
		return nil, errNoObject
	}
	if err != nil {
		return nil, errNoObject
	}
	return r.PostForm, nil
}
