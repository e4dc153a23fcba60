package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zonegate/shaper/mikrotik/simros"
	"zonegate/sync/api"
)

// A pushingHub is as much of a hub as it takes to push settings to a daemon.
type pushingHub struct {
	t    *testing.T
	key  ed25519.PrivateKey
	mu   sync.Mutex
	list []api.Signed
	acks map[uint64]api.Ack
	// more is closed when there is another push.
	more chan struct{}
}

func (h *pushingHub) push(kind string, body any) (seq uint64) {
	h.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seq = uint64(len(h.list) + 1)
	s, err := api.Sign(h.key, api.Push{Seq: seq, Site: "site", Kind: kind, At: time.Now(), Body: raw})
	if err != nil {
		h.t.Fatal(err)
	}
	h.list = append(h.list, s)
	close(h.more)
	h.more = make(chan struct{})
	return seq
}

func (h *pushingHub) ack(seq uint64) api.Ack {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acks[seq]
}

func (h *pushingHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := func(v any) { json.NewEncoder(w).Encode(v) }
	read := func(v any) {
		if err := json.NewDecoder(r.Body).Decode(v); err != nil {
			h.t.Errorf("%s: %v", r.URL.Path, err)
		}
	}
	switch strings.TrimPrefix(r.URL.Path, "/api/v1") {
	case api.PathEnrol:
		w.WriteHeader(http.StatusCreated)
		answer(api.Enrolled{
			GatewayID: "gateway", SiteID: "site", Token: "token", NextEntry: 1,
			HubKey:  base64.StdEncoding.EncodeToString(h.key.Public().(ed25519.PublicKey)),
			CodeKey: base64.StdEncoding.EncodeToString([]byte("a key of the site's: 32 octets !")),
		})
	case api.PathHeartbeat:
		var b api.Heartbeat
		read(&b)
		now := time.Now().UTC()
		answer(api.Beat{Time: now, Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(h.key, api.TimeMessage(b.Nonce, now))), Entry: b.Entry - b.Unsent})
	case api.PathCatalogue:
		answer(api.Catalogue{Version: 1})
	case api.PathReports:
		var x api.Reports
		read(&x)
		through := uint64(0)
		if n := len(x.Entries); n > 0 {
			through = x.Entries[n-1].N
		}
		answer(api.Reported{Through: through})
	case api.PathAcks:
		var x api.Acks
		read(&x)
		h.mu.Lock()
		for _, a := range x.Acks {
			h.acks[a.Seq] = a
		}
		h.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case api.PathEvents:
		h.events(w, r)
	default:
		h.t.Errorf("asked for %s", r.URL.Path)
	}
}

func (h *pushingHub) events(w http.ResponseWriter, r *http.Request) {
	var next int
	fmt.Sscan(r.Header.Get("Last-Event-ID"), &next)
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, ": here\n\n")
	for {
		h.mu.Lock()
		list, more := h.list[min(next, len(h.list)):], h.more
		h.mu.Unlock()
		for _, s := range list {
			next++
			raw, err := json.Marshal(s)
			if err != nil {
				h.t.Error(err)
			}
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", next, raw)
		}
		w.(http.Flusher).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

// page is what a phone's browser shows.
func (p phone) page(t *testing.T, z *routerZone) string {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.ip)}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+z.portal+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	a, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Settings of a hub hold in the daemon at once, after a kill, and until the
// zone leaves.
func TestDaemonTakesSettings(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &pushingHub{t: t, key: key, acks: map[uint64]api.Ack{}, more: make(chan struct{})}
	server := httptest.NewServer(h)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })

	z := newRouterZone(t, simros.Options{})
	z.serve(t)
	z.configure(t, "api", "[mikrotik]", fmt.Sprintf("[hub]\nmode = \"hub\"\nurl = \"%s/api/v1\"\n[mikrotik]", server.URL))
	d := z.run(t)
	z.appear(t, phoneA)
	z.do(t, exitOK, "", "hub", "join", "code")
	if status, a := phoneA.redeem(t, z, z.sell(t)); status != http.StatusOK || !a.Online {
		t.Fatalf("redeeming: %d %+v", status, a)
	}
	link := func() string {
		for _, q := range z.sim.Print("/queue/simple") {
			if q["parent"] == "" || q["parent"] == "none" {
				return q["max-limit"]
			}
		}
		return ""
	}
	if got := link(); got != "0/0" {
		t.Fatalf("the link is %q before", got)
	}
	phoneB := phone{"02:00:00:00:00:1B", "127.5.50.27"}
	z.appear(t, phoneB)
	brand := h.push(api.KindBrand, api.Brand{Name: "Mosaïque", Contact: "+228"})
	message := h.push(api.KindMessage, api.Message{FR: "Coupure", EN: "Down <b>on Sunday</b>"})
	garden := h.push(api.KindGarden, api.Garden{Domains: []string{"example.org"}})
	rate := h.push(api.KindLink, api.Link{Down: 8e6, Up: 2e6})
	d.await(t, "the rate of the link", func() bool { return link() == "2000000/8000000" })
	d.await(t, "the answers", func() bool { return h.ack(garden).Seq != 0 && h.ack(message).Seq != 0 && h.ack(brand).Seq != 0 })
	if h.ack(brand).Outcome != api.Applied || h.ack(message).Outcome != api.Applied {
		t.Errorf("answers %+v", h.acks)
	}
	if a := h.ack(garden); a.Outcome != api.Refused || !strings.Contains(a.Reason, "network.lan") {
		t.Errorf("a walled garden where there is none: %+v", a)
	}
	// It is only on trial yet.
	if x := z.hub(); x.Trial != "link" || h.ack(rate).Seq != 0 {
		t.Errorf("on trial: %q, answer %+v", x.Trial, h.ack(rate))
	}
	looks := func() {
		t.Helper()
		page := phoneB.page(t, z)
		for _, want := range []string{"Mosaïque", "+228", "Down &lt;b&gt;on Sunday&lt;/b&gt;"} {
			if !strings.Contains(page, want) {
				t.Errorf("%q is not on\n%s", want, page)
			}
		}
	}
	looks()
	if err := d.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("it survived a kill")
	}
	d = z.run(t)
	d.await(t, "the trial after a kill", func() bool { return z.hub().Connected && z.hub().Trial == "link" })
	d.await(t, "the portal", func() bool { _, _, err := phoneB.ask(t, z, "/status.json", nil); return err == nil })
	looks()
	if got := link(); got != "2000000/8000000" {
		t.Errorf("the link is %q after a kill", got)
	}
	z.do(t, exitOK, "", "hub", "leave", "--force")
	d.await(t, "the link of the configuration", func() bool { return link() == "0/0" })
	if page := phoneB.page(t, z); strings.Contains(page, "Mosaïque") || strings.Contains(page, "Sunday") {
		t.Errorf("after leaving:\n%s", page)
	}
	if z.active(phoneA) == nil {
		t.Error("the customer was cut")
	}
}
