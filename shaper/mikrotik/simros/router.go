package simros

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Pair is one =name=value word.
type Pair struct{ Name, Value string }

// Options configure a Router.
type Options struct {
	// Version is what the router says it runs: "7.16.1", "6.49.18", "6.42.12".
	Version string
	// User and Password are those of the user with full rights.
	User, Password string
	// Identity is the router's name; default "MikroTik".
	Identity string
	// Clock is moved by tests. Nil takes the machine's monotonic clock.
	Clock *Clock
	// Wall is the date at the start; zero takes the machine's.
	Wall time.Time
	// YesNo prints booleans as yes and no, as the transcripts of RouterOS 3 in
	// [API] show. Versions 6.49 and 7 print true and false [TF].
	YesNo bool
	// LiveUserCounters adds running sessions to what /ip/hotspot/user shows.
	// [29] says that these counters follow only when the user logs out, and
	// [POWER] counts on it; that is the default here.
	LiveUserCounters bool
	// KeepUserCounters lets a user's uptime and octets survive a reboot, all
	// but those of sessions that a power cut ends. [POWER] counts on that; no
	// manual says it, and the default is the worse case, zero.
	KeepUserCounters bool
	// RemoveEndsAll makes the removal of one active entry end every session of
	// its user. One operator reports it (EvilFreelancer/routeros-api-php issue
	// 118); the manual speaks of one client.
	RemoveEndsAll bool
	// NoHotspot is a router whose device-mode forbids the hotspot [HOT].
	NoHotspot bool
	// Portal is where LoginPage sends strangers; empty for a plain form.
	Portal string
	// Delay is how long each command takes.
	Delay time.Duration
	// Bare starts without the hotspot "hotspot1" on interface "bridge1".
	Bare bool
}

type version struct {
	major, minor, patch int
	text                string
}

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

func parseVersion(s string) version {
	v := version{text: s}
	for i, part := range strings.SplitN(s, ".", 3) {
		n, _ := strconv.Atoi(part)
		switch i {
		case 0:
			v.major = n
		case 1:
			v.minor = n
		case 2:
			v.patch = n
		}
	}
	return v
}

// A Router is one simulated RouterOS. Safe for concurrent use.
type Router struct {
	options Options
	version version
	clock   *Clock

	mu        sync.Mutex
	menus     map[string]*menu
	ends      map[*row]func()  // what removing a dynamic item does
	hosts     map[string]*host // by MAC
	bootAt    time.Duration
	wallBase  time.Time
	listeners map[*listener]struct{}
	sessions  map[*session]struct{}
	off       bool
	commands  map[string]int
	logged    []string

	delay      time.Duration
	denied     map[string]bool
	duplicates map[string]bool
	refusals   map[string][]*Trap
	lost       map[string]int
	stalled    map[string]bool
	deaf       map[string]bool
	cutAfter   int64 // octets until a connection is cut; negative: never
}

// New returns a router that is switched on, with one hotspot unless Bare.
func New(o Options) *Router {
	if o.Version == "" {
		o.Version = "7.16.1"
	}
	if o.Identity == "" {
		o.Identity = "MikroTik"
	}
	if o.User == "" {
		o.User = "admin"
	}
	if o.Wall.IsZero() {
		o.Wall = time.Now()
	}
	r := &Router{
		options: o, version: parseVersion(o.Version), clock: o.Clock,
		menus: make(map[string]*menu), ends: make(map[*row]func()), hosts: make(map[string]*host),
		listeners: make(map[*listener]struct{}), sessions: make(map[*session]struct{}),
		commands: make(map[string]int), delay: o.Delay, denied: make(map[string]bool),
		duplicates: make(map[string]bool), refusals: make(map[string][]*Trap),
		lost: make(map[string]int), stalled: make(map[string]bool), deaf: make(map[string]bool), cutAfter: -1,
	}
	if r.clock == nil {
		r.clock = &Clock{start: time.Now()}
	}
	r.bootAt = r.clock.Now()
	r.wallBase = o.Wall.Add(-r.bootAt)
	for _, m := range menus(r.version) {
		if !m.fromZero {
			m.next = 1
		}
		r.menus[m.path] = m
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.furnish()
	r.clock.follow(r.Tick)
	return r
}

// A Clock is the time that a Router lives in. Safe for concurrent use.
type Clock struct {
	mu      sync.Mutex
	start   time.Time // of a clock that follows the machine's
	elapsed time.Duration
	follows []func()
}

// NewClock returns a clock that stands still until it is advanced.
func NewClock() *Clock { return &Clock{} }

// Now is the time since the clock's beginning.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.start.IsZero() {
		return time.Since(c.start)
	}
	return c.elapsed
}

// Advance moves the clock and lets every router on it act on the new time.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	c.elapsed += d
	follows := c.follows
	c.mu.Unlock()
	for _, f := range follows {
		f()
	}
}

func (c *Clock) follow(f func()) {
	c.mu.Lock()
	c.follows = append(c.follows, f)
	c.mu.Unlock()
}

// wall is the date that the router shows.
func (r *Router) wall() time.Time { return r.wallBase.Add(r.clock.Now()) }

// date: 7.10 changed dates to ISO 8601 [CHG]; before, "jan/02/1970" [TF].
func (r *Router) date(t time.Time) string {
	if r.version.atLeast(7, 10) {
		return t.UTC().Format("2006-01-02")
	}
	return strings.ToLower(t.UTC().Format("Jan/02/2006"))
}

func (r *Router) uptime() time.Duration { return r.clock.Now() - r.bootAt }

// Print returns the items of a menu as a client sees them; nil for an unknown
// path.
func (r *Router) Print(path string) []map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick()
	m := r.menus[path]
	if m == nil {
		return nil
	}
	out := make([]map[string]string, 0, len(m.rows))
	for _, it := range m.rows {
		item := make(map[string]string)
		for _, p := range r.print(m, it) {
			item[p.Name] = p.Value
		}
		out = append(out, item)
	}
	return out
}

// Add makes an item as an administrator does in WinBox, and returns its
// internal number.
func (r *Router) Add(path string, attrs map[string]string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.menus[path]
	if m == nil {
		return "", fmt.Errorf("adding to %s: no such menu", path)
	}
	it, trap := r.add(m, pairs(attrs), nil)
	if trap != nil {
		return "", fmt.Errorf("adding to %s: %w", path, trap)
	}
	return it.id, nil
}

// Set changes the item with that internal number or name, as an administrator
// does. A menu without a list takes an empty id.
func (r *Router) Set(path, id string, attrs map[string]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.menus[path]
	if m == nil {
		return fmt.Errorf("setting in %s: no such menu", path)
	}
	items := m.rows
	if !m.single {
		it, trap := m.find(id)
		if trap != nil {
			return fmt.Errorf("setting %s in %s: %w", id, path, trap)
		}
		items = []*row{it}
	}
	if trap := r.set(m, items, pairs(attrs)); trap != nil {
		return fmt.Errorf("setting %s in %s: %w", id, path, trap)
	}
	return nil
}

// Remove deletes the item with that internal number or name, as an
// administrator does.
func (r *Router) Remove(path, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.menus[path]
	if m == nil {
		return fmt.Errorf("removing from %s: no such menu", path)
	}
	it, trap := m.find(id)
	if trap == nil {
		trap = r.remove(m, []*row{it})
	}
	if trap != nil {
		return fmt.Errorf("removing %s from %s: %w", id, path, trap)
	}
	return nil
}

// Commands returns how often each command came in, by its full path.
func (r *Router) Commands() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]int, len(r.commands))
	for k, v := range r.commands {
		out[k] = v
	}
	return out
}

// ForgetCommands sets the counts of Commands to zero.
func (r *Router) ForgetCommands() {
	r.mu.Lock()
	clear(r.commands)
	r.mu.Unlock()
}

// Log returns what the router wrote about sessions that ended, in its own form:
// "g7 (10.5.50.10): logged out: traffic limit reached" [FIELD].
func (r *Router) Log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.logged...)
}

func pairs(attrs map[string]string) []Pair {
	out := make([]Pair, 0, len(attrs))
	for k, v := range attrs {
		out = append(out, Pair{k, v})
	}
	return out
}
