package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"zonegate/internal/http1"
)

// ErrNoDaemon is what a Daemon returns when none is running.
var ErrNoDaemon = errors.New("the daemon is not running")

// A Storage is the data directory.
type Storage interface {
	// Probe says what the directory can do.
	Probe() (Room, error)
	// Journal reads the journal without changing it and returns how many
	// records it has, or what is damaged.
	Journal() (records uint64, err error)
}

// A Room is what was found out about a directory.
type Room struct {
	Kind string // of the file system
	Free uint64 // bytes
	// Writable, Durable and Mappable say what works there; Volatile that it
	// is lost with the power.
	Writable, Durable, Mappable, Volatile bool
	Notes                                 []string
}

// A Daemon is the running gateway.
type Daemon interface {
	// Health returns ErrNoDaemon when there is none.
	Health(ctx context.Context) (Health, error)
}

// A Health is what the running daemon says of itself. Empty problems are none.
type Health struct {
	Version                         string
	JournalProblem, DataPathProblem string
	ClockTrusted                    bool
	Sessions                        int
}

// A NASDesk is what the running gateway knows of the NASes that ask it over
// RADIUS.
type NASDesk interface {
	// NASes examines all of them at once: one part for each thing about each.
	NASes(ctx context.Context) ([]Part, error)
}

// A Router is a MikroTik that the gateway drives or examines.
type Router interface {
	// Examine looks for what is wrong with it.
	Examine(ctx context.Context) ([]Part, error)
}

// A Hub is the operator's central server as the running gateway knows it.
type Hub interface {
	// Hub says in a line how the relation is, and what is wrong with it.
	Hub(ctx context.Context) (line string, wrong []Part, err error)
}

// Settings are those of the configuration that the checks need.
type Settings struct {
	DataDir string
	// LAN is empty where all customers are behind NASes or a MikroTik.
	LAN                 string
	WAN                 []string
	PortalPort, DNSPort uint16
	// MikroTik is the address of one, if there is any. Drives says that it is
	// the data path; then Portal is an address of the portal for those behind
	// it.
	MikroTik string
	Drives   bool
	Portal   netip.Addr
	// Hub says that there is a central server, or was one.
	Hub bool
}

// A Gateway is everything that can be examined.
type Gateway struct {
	// ConfigName is the file, ConfigError what is wrong with it. With an
	// error the rest is never asked.
	ConfigName  string
	ConfigError error
	Settings    Settings
	Storage     Storage
	// ClockTrusted asks this machine's clock.
	ClockTrusted func() bool
	Kernel       Kernel
	Daemon       Daemon
	NASes        NASDesk
	Router       Router
	Hub          Hub
	// Link returns an interface with its addresses.
	Link func(name string) (Link, error)
}

// A Link is a network interface.
type Link struct {
	Up    bool
	Addrs []netip.Prefix
}

// SystemLink looks an interface up in this network namespace.
func SystemLink(name string) (Link, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return Link{}, err
	}
	list, err := i.Addrs()
	if err != nil {
		return Link{}, err
	}
	l := Link{Up: i.Flags&net.FlagUp != 0}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			l.Addrs = append(l.Addrs, p)
		}
	}
	return l, nil
}

// Checks returns the tree for a gateway.
func (g *Gateway) Checks() []Check {
	sound := []Check{
		{ID: "storage", Title: "data directory", Run: g.storage, Then: []Check{
			{ID: "journal", Title: "journal", Run: g.journal},
		}},
		{ID: "clock", Title: "clock", Run: g.clock},
	}
	running := []Check{{ID: "sales", Title: "sales are open", Run: g.sales}}
	// Without a LAN nothing passes through this machine.
	if g.Settings.LAN != "" {
		sound = append(sound,
			Check{ID: "machine", Title: "kernel and interfaces", Run: g.machine},
			Check{ID: "wan", Title: "internet interfaces", Run: g.wan},
			// Not below the daemon: the gate has to be closed without it too.
			Check{ID: "gate", Title: "gate closed for strangers", Run: g.gate})
		running = append(running,
			Check{ID: "enforcement", Title: "plans are enforced", Run: g.enforcement},
			Check{ID: "table", Title: "own table in the kernel", Run: g.table},
			Check{ID: "lan", Title: "customers' interface", Run: g.lan, Then: []Check{
				{ID: "name-server", Title: "name server answers", Run: g.nameServer},
				{ID: "portal", Title: "portal answers", Run: g.portal},
			}})
	}
	if g.Settings.MikroTik != "" {
		// Like the gate: customers are on it without the daemon too.
		sound = append(sound, Check{ID: "mikrotik", Title: "MikroTik", Run: g.mikrotik})
	}
	if g.Settings.Drives {
		running = append(running,
			Check{ID: "enforcement", Title: "plans are enforced", Run: g.enforcement},
			Check{ID: "portal", Title: "portal answers", Run: g.portal})
	}
	running = append(running, Check{ID: "nases", Title: "NASes", Run: g.nases})
	if g.Settings.Hub {
		running = append(running, Check{ID: "hub", Title: "central server", Run: g.hub})
	}
	sound = append(sound, Check{ID: "daemon", Title: "daemon", Run: g.daemon, Then: running})
	return []Check{{ID: "configuration", Title: "configuration", Run: g.configuration, Then: sound}}
}

func (g *Gateway) configuration(context.Context) Finding {
	if g.ConfigError != nil {
		return fail("mend what is named, then: zonegate check-config", "%v", g.ConfigError)
	}
	return ok("%s", g.ConfigName)
}

// Least free space, in bytes.
const (
	spaceNeeded = 1 << 20
	spaceWanted = 4 << 20
)

func (g *Gateway) storage(context.Context) Finding {
	room, err := g.Storage.Probe()
	if err != nil {
		return fail("make the directory, or set data_dir to one that outlives a restart", "%v", err)
	}
	notes := strings.Join(room.Notes, "; ")
	free := fmt.Sprintf("%s, %.1f MB free", room.Kind, float64(room.Free)/1e6)
	switch {
	case !room.Writable:
		return fail("make "+g.Settings.DataDir+" writable; nothing can be sold until it is", "%s: %s", free, notes)
	case !room.Durable:
		return fail("set data_dir to a file system that keeps what is synced", "%s: %s", free, notes)
	case room.Free < spaceNeeded:
		return fail("make room: below 1 MB sales stop", "%s", free)
	case room.Volatile:
		return warn("set data_dir to flash or disk: here a power cut takes everything that was sold", "%s", free)
	case room.Free < spaceWanted:
		return warn("make room: less than 4 MB is left", "%s", free)
	case !room.Mappable:
		return ok("%s; the state is kept in RAM, the journal here", free)
	}
	return ok("%s", free)
}

func (g *Gateway) journal(context.Context) Finding {
	n, err := g.Storage.Journal()
	if err != nil {
		return fail("keep a copy of the data directory, then: zonegate journal verify", "%v", err)
	}
	return ok("%d records, the chain is whole", n)
}

func (g *Gateway) clock(ctx context.Context) Finding {
	if g.ClockTrusted() {
		return ok("set by a time service")
	}
	if h, err := g.Daemon.Health(ctx); err == nil && h.ClockTrusted {
		return ok("confirmed for the daemon")
	}
	return warn("turn on NTP; until then durations count, but days switched off and expiry dates do not",
		"nobody has confirmed the time since the start")
}

func (g *Gateway) wan(context.Context) Finding {
	for _, name := range g.Settings.WAN {
		l, err := g.Link(name)
		if err != nil {
			return fail("correct network.wan, or wait until the interface appears: ip link shows the names", "%s: %v", name, err)
		}
		if !l.Up {
			return fail("ip link set "+name+" up, or plug the cable in", "%s is down", name)
		}
	}
	return ok("%s up", strings.Join(g.Settings.WAN, ", "))
}

func (g *Gateway) lan(context.Context) Finding {
	name := g.Settings.LAN
	l, err := g.Link(name)
	if err != nil {
		return fail("correct network.lan, or wait until the interface appears: ip link shows the names", "%s: %v", name, err)
	}
	if !l.Up {
		return fail("ip link set "+name+" up", "%s is down", name)
	}
	addr, found := l.v4()
	if !found {
		return fail("give "+name+" an IPv4 address", "%s has no IPv4 address", name)
	}
	return ok("%s up, %s", name, addr)
}

func (l Link) v4() (netip.Addr, bool) {
	for _, p := range l.Addrs {
		if p.Addr().Is4() {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// lanPort is where a service of ours listens; lan has succeeded before.
func (g *Gateway) lanPort(port uint16) (netip.AddrPort, error) {
	if g.Settings.Drives {
		if !g.Settings.Portal.IsValid() {
			return netip.AddrPort{}, errors.New("this machine has none of the addresses in radius.listen")
		}
		return netip.AddrPortFrom(g.Settings.Portal, port), nil
	}
	l, err := g.Link(g.Settings.LAN)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, found := l.v4()
	if !found {
		return netip.AddrPort{}, errors.New("the LAN lost its address")
	}
	return netip.AddrPortFrom(addr, port), nil
}

func (g *Gateway) nameServer(ctx context.Context) Finding {
	at, err := g.lanPort(g.Settings.DNSPort)
	if err != nil {
		return fail("run doctor again", "%v", err)
	}
	code, err := askName(ctx, at)
	switch {
	case err != nil:
		return fail("look at the daemon's log for the name server", "%s: %v", at, err)
	case code == 2:
		return warn("check the uplink and dns.upstream", "%s answers, but its resolvers do not", at)
	case code != 0 && code != 3:
		return warn("look at the daemon's log for the name server", "%s refuses to answer (code %d)", at, code)
	}
	return ok("%s", at)
}

// askName asks a name server for a well-known name and returns the code of its
// answer (RFC 1035 section 4.1.1: 0 found, 2 no resolver answered, 3 not
// found). It waits longer than a server does for resolvers that are silent.
func askName(ctx context.Context, at netip.AddrPort) (code byte, err error) {
	const id = 0x5a67
	question := []byte{
		id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, // recursion desired, one question
		7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'c', 'o', 'm', 0, 0, 1, 0, 1, // A, IN
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", at.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	if _, err := conn.Write(question); err != nil {
		return 0, err
	}
	answer := make([]byte, 1232)
	for {
		n, err := conn.Read(answer)
		if err != nil {
			return 0, err
		}
		if n >= 12 && answer[0] == id>>8 && answer[1] == id&0xff && answer[2]&0x80 != 0 {
			return answer[3] & 0xf, nil
		}
	}
}

func (g *Gateway) portal(ctx context.Context) Finding {
	at, err := g.lanPort(g.Settings.PortalPort)
	if err != nil {
		return fail("correct radius.listen, or run doctor again", "%v", err)
	}
	const fix = "look at the daemon's log for the portal"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/", nil)
	if err != nil {
		return fail(fix, "%v", err)
	}
	// A page somewhere else, which a stranger's phone is led away from: the
	// gateway itself is no customer, so it has no page of its own.
	req.Host = "doctor.invalid"
	portal := http1.Client{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", at.String())
		},
		MaxHeader: 16 << 10,
	}
	resp, err := portal.Do(req)
	if err != nil {
		return fail(fix, "%v", err)
	}
	resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		return ok("http://%s leads to %s", at, to)
	}
	return fail(fix, "http://%s answers %s instead of leading to its pages", at, resp.Status)
}

func (g *Gateway) daemon(ctx context.Context) Finding {
	h, err := g.Daemon.Health(ctx)
	if err != nil {
		return fail("start it: /etc/init.d/zonegate start, systemctl start zonegate, or zonegate run", "%v", err)
	}
	return ok("version %s, %d sessions", h.Version, h.Sessions)
}

func (g *Gateway) sales(ctx context.Context) Finding {
	h, err := g.Daemon.Health(ctx)
	if err == nil && h.JournalProblem != "" {
		err = errors.New(h.JournalProblem)
	}
	if err != nil {
		return fail("make room in the data directory, or replace the flash; sales open again by themselves", "%v", err)
	}
	return ok("the journal is written")
}

func (g *Gateway) enforcement(ctx context.Context) Finding {
	h, err := g.Daemon.Health(ctx)
	if err == nil && h.DataPathProblem != "" {
		err = errors.New(h.DataPathProblem)
	}
	if err != nil {
		return fail("mend what is named; it is tried again every few seconds", "%v", err)
	}
	return ok("the data path is as it should be")
}

func (g *Gateway) mikrotik(ctx context.Context) Finding {
	parts, err := g.Router.Examine(ctx)
	if err != nil {
		return fail("mend what is named", "%v", err)
	}
	if len(parts) == 0 {
		return ok("%s is set up as it should be", g.Settings.MikroTik)
	}
	return Finding{Status: OK, Parts: parts}
}

func (g *Gateway) hub(ctx context.Context) Finding {
	line, wrong, err := g.Hub.Hub(ctx)
	if err != nil {
		return fail("look at zonegate hub status", "%v", err)
	}
	return Finding{Status: OK, Detail: line, Parts: wrong}
}

func (g *Gateway) nases(ctx context.Context) Finding {
	parts, err := g.NASes.NASes(ctx)
	switch {
	case err != nil:
		return fail("mend what is named; zonegate nas list shows the book", "%v", err)
	case len(parts) > 0:
		return Finding{Status: OK, Parts: parts}
	case g.Settings.LAN == "" && !g.Settings.Drives:
		return fail("make one known: zonegate nas add --address IP NAME", "there is none, and no LAN: nobody can come online")
	}
	return ok("there is none")
}
