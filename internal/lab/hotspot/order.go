package hotspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"
)

// Orders is what can be asked of a running router, for people.
const Orders = `  print [MENU]       what a menu of the router holds (default /ip/hotspot/active)
  log                why sessions ended
  reboot             a short power cut: sessions and counters are gone
  off, on            no power: nothing passes, not even to the portal
  api off, api on    the API does not answer; packets pass as before
  disconnect         cut the connections of the API
  slow DURATION      how long each command of the API takes, such as 200ms`

// Ask has the router behind that socket do something, and returns what it
// says. "print" answers with one item a line, or with "--json" in front in
// JSON.
func Ask(ctx context.Context, socket string, words ...string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://router/", strings.NewReader(url.Values{"word": words}.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the lab's router: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("asking the lab's router: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

func (r *Router) serveOrder(w http.ResponseWriter, q *http.Request) {
	if err := q.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, err := r.order(q.PostForm["word"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, text)
}

// order carries one out and returns what there is to say.
func (r *Router) order(words []string) (string, error) {
	asJSON := len(words) > 0 && words[0] == "--json"
	if asJSON {
		words = words[1:]
	}
	if len(words) > 0 && words[0] == "print" {
		menu := "/ip/hotspot/active"
		if len(words) > 1 {
			menu = "/" + strings.Trim(strings.Join(words[1:], "/"), "/")
		}
		return r.print(menu, asJSON)
	}
	// What has passed until now still counts.
	r.meet()
	defer r.meet()
	switch strings.Join(words, " ") {
	case "log":
		var b strings.Builder
		for _, line := range r.ros.Log() {
			fmt.Fprintln(&b, line)
		}
		return b.String(), nil
	case "reboot":
		r.ros.Reboot()
	case "off":
		return "", r.power(false)
	case "on":
		return "", r.power(true)
	case "api off":
		r.silent.Store(true)
		r.ros.Disconnect()
	case "api on":
		r.silent.Store(false)
	case "disconnect":
		r.ros.Disconnect()
	default:
		if len(words) == 2 && words[0] == "slow" {
			d, err := time.ParseDuration(words[1])
			if err != nil || d < 0 {
				return "", fmt.Errorf("%q is no duration, such as 200ms", words[1])
			}
			r.ros.Delay(d)
			return "", nil
		}
		return "", fmt.Errorf("the router understands:\n%s", Orders)
	}
	return "", nil
}

func (r *Router) power(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off = !on; on {
		r.ros.PowerOn()
	} else {
		r.ros.PowerOff()
	}
	return r.plane.power(on)
}

func (r *Router) print(menu string, asJSON bool) (string, error) {
	r.meet()
	list := r.ros.Print(menu)
	if list == nil {
		return "", fmt.Errorf("the simulated router has no menu %s", menu)
	}
	var b strings.Builder
	if asJSON {
		err := json.NewEncoder(&b).Encode(list)
		return b.String(), err
	}
	for _, item := range list {
		var names []string
		for name := range item {
			if name != "password" {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		for i, name := range names {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%s=%s", name, item[name])
		}
		b.WriteByte('\n')
	}
	if len(list) == 0 {
		fmt.Fprintf(&b, "%s is empty\n", menu)
	}
	return b.String(), nil
}
