package mikrotik

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"zonegate"
)

// A view is what the router has besides users and sessions, as last read.
type view struct {
	// epoch is the connection over which all was read; zero is none.
	epoch int
	// server and ifname are the hotspot's.
	server, ifname string

	profiles map[string]row    // ours, by name
	types    map[string]row    // PCQ queue types
	trees    map[string]row    // queue tree, by what the comment names
	rules    map[string]row    // mangle, likewise
	others   map[string]string // foreign active entries: MAC to id
	strays   []string          // active entries of our users without a session
	junk     []object          // ours, but belonging to nothing
	parent   row               // the simple queue above all of ours
}

// An object names something on the router.
type object struct{ menu, id string }

const (
	menuUser    = "/ip/hotspot/user"
	menuActive  = "/ip/hotspot/active"
	menuProfile = "/ip/hotspot/user/profile"
	menuQueue   = "/queue/simple"
	menuType    = "/queue/type"
	menuTree    = "/queue/tree"
	menuMangle  = "/ip/firewall/mangle"

	userProps    = ".id,name,profile,comment,disabled,limit-bytes-total,limit-uptime,bytes-in,bytes-out"
	activeProps  = ".id,user,address,mac-address,session-time-left,bytes-in,bytes-out"
	profileProps = ".id,name,shared-users,address-list,rate-limit,session-timeout,idle-timeout,keepalive-timeout,add-mac-cookie"
	queueProps   = ".id,name,comment,target,parent,max-limit,limit-at,disabled"
)

// look reads the router and brings memory up to date with it. Sessions that it
// finds and that memory lacks are adopted.
func (r *Router) look(ctx context.Context) error {
	epoch, err := r.line.current(ctx)
	if err != nil {
		return err
	}
	v := view{epoch: epoch, profiles: map[string]row{}, types: map[string]row{}, trees: map[string]row{}, rules: map[string]row{}}
	if err := r.readServer(ctx, &v); err != nil {
		return err
	}
	users, err := r.line.print(ctx, menuUser, userProps)
	if err != nil {
		return fmt.Errorf("reading the hotspot's users: %w", err)
	}
	if err := r.noRival(users); err != nil {
		return err
	}
	active, err := r.line.print(ctx, menuActive, activeProps)
	if err != nil {
		return fmt.Errorf("reading who is online: %w", err)
	}
	if err := r.readHosts(ctx); err != nil {
		return err
	}
	queues, err := r.line.print(ctx, menuQueue, queueProps, "?dynamic=false")
	if err != nil {
		return fmt.Errorf("reading the queues: %w", err)
	}
	if err := r.readShapes(ctx, &v); err != nil {
		return err
	}
	r.router, r.lookedAt = v, time.Now()
	r.line.known(epoch)
	r.takeUsers(users)
	r.takeActive(active)
	r.settleAdopted(users)
	r.takeQueues(queues)
	return nil
}

// readServer finds the hotspot.
func (r *Router) readServer(ctx context.Context, v *view) error {
	list, err := r.line.print(ctx, "/ip/hotspot", ".id,name,interface,disabled,invalid")
	if err != nil {
		return fmt.Errorf("reading the hotspot: %w", err)
	}
	v.server, v.ifname = "", ""
	for _, s := range list {
		// The only one is meant, even if somebody has renamed it.
		if r.conf.Server == "" || s["name"] == r.conf.Server || len(list) == 1 {
			v.server, v.ifname = s["name"], s["interface"]
			break
		}
	}
	return nil
}

// readShapes reads profiles, queue types, the queue tree and the marking
// rules.
func (r *Router) readShapes(ctx context.Context, v *view) error {
	for _, m := range []struct {
		menu, props string
		into        map[string]row
		byComment   bool
	}{
		{menuProfile, profileProps, v.profiles, false},
		{menuType, ".id,name,kind,pcq-rate", v.types, false},
		{menuTree, ".id,name,comment,packet-mark,queue,parent,disabled", v.trees, true},
		{menuMangle, ".id,comment,chain,new-packet-mark,src-address-list,dst-address-list,disabled", v.rules, true},
	} {
		list, err := r.line.print(ctx, m.menu, m.props)
		if err != nil {
			return fmt.Errorf("reading %s: %w", m.menu, err)
		}
		for _, x := range list {
			if !ours(x) {
				continue
			}
			key := x["name"]
			if m.byComment {
				key = strings.TrimPrefix(x["comment"], commentPrefix)
			}
			if _, twice := m.into[key]; twice {
				v.junk = append(v.junk, object{m.menu, x.id()})
				continue
			}
			m.into[key] = x
		}
	}
	return nil
}

// takeUsers matches our hotspot users with the grants.
func (r *Router) takeUsers(list []row) {
	for _, g := range r.grants {
		g.userID, g.duplicates = "", nil
	}
	for _, u := range list {
		if !ours(u) {
			continue
		}
		m, ok := parseMark(u["comment"])
		if !ok {
			m, ok = r.nameless(u)
		}
		if !ok {
			r.router.junk = append(r.router.junk, object{menuUser, u.id()})
			continue
		}
		g := r.grants[m.grant]
		if g == nil {
			g = &grant{id: m.grant, by: r.site, allowance: zonegate.NoCap, devices: 1, told: -1}
			r.grants[m.grant] = g
		}
		if g.userID != "" {
			g.duplicates = append(g.duplicates, u.id())
			continue
		}
		g.userID, g.name, g.profile, g.comment = u.id(), u["name"], u["profile"], u["comment"]
		g.limit = u.number("limit-bytes-total")
		if u.duration("limit-uptime") == 0 {
			g.told = 0
		} else if !g.ordered {
			g.told = -1
		}
		if u.is("disabled") {
			g.comment = "" // so that it is set anew, enabled
		}
		for _, s := range m.sessions {
			if x := r.sessions[s.id]; x != nil || r.devices[s.mac] != nil {
				continue
			}
			x := &session{id: s.id, device: s.mac, grant: g, base: s.base, moved: time.Now(), timeLeft: -1}
			g.sessions = append(g.sessions, x)
			r.sessions[x.id], r.devices[x.device] = x, x
		}
		if !g.ordered {
			g.gone, g.before = m.gone, m.before
		}
	}
}

// nameless finds the grant of a user whose comment somebody cleared.
func (r *Router) nameless(u row) (m mark, ok bool) {
	for _, g := range r.grants {
		if g.name == u["name"] {
			return mark{grant: g.id, gone: g.gone, before: g.before}, true
		}
	}
	return m, false
}

// takeActive matches the entries of /ip/hotspot/active with the sessions, and
// notes those that were online and are not any more.
func (r *Router) takeActive(list []row) {
	before := map[*session]bool{}
	for _, x := range r.sessions {
		before[x] = x.online
		x.online, x.activeID, x.timeLeft = false, "", -1
	}
	names := map[string]bool{}
	for _, g := range r.grants {
		if g.userID != "" {
			names[g.name] = true
		}
	}
	r.router.others, r.router.strays = map[string]string{}, nil
	for _, a := range list {
		mac, _ := a.mac()
		x := r.devices[mac]
		mine := names[a["user"]] || strings.HasPrefix(a["user"], namePrefix)
		switch {
		case !mine:
			r.router.others[formatMAC(mac)] = a.id()
		case x == nil || x.online || !x.grant.mayBe(a["user"]):
			r.router.strays = append(r.router.strays, a.id())
		default:
			x.online, x.activeID = true, a.id()
			if _, ok := a["session-time-left"]; ok {
				x.timeLeft = a.duration("session-time-left")
			}
			x.saw(a.octets())
			delete(before, x)
			// The entry knows best where the device is.
			if at, err := netip.ParseAddr(a["address"]); err == nil && x.at.inside != at {
				x.at = host{at, at}
			}
		}
	}
	for x, was := range before {
		if was {
			r.lost = append(r.lost, x)
		}
	}
	sortSessions(r.lost)
}

// mayBe says whether an active entry's user is this grant's: the entry keeps
// the name of the login when the user is renamed.
func (g *grant) mayBe(user string) bool {
	return g.name == user || strings.HasPrefix(user, userName(g.id)+"-")
}

// saw takes the counters of a session's entry. Counters that went back belong
// to a newer entry: the device was let in again behind our back.
func (x *session) saw(c zonegate.Octets) {
	now := plus(x.base, c)
	if !atLeast(now, x.octets) {
		x.base = x.octets
		now = plus(x.base, c)
	}
	if now != x.octets {
		x.octets, x.moved = now, time.Now()
	}
}

// settleAdopted works out what sessions used of the users that an earlier
// process left. One that ended while nobody was here has its use in the user's
// counters, if it is the only one and they hold more than when its entry began:
// a power cut loses them. Otherwise nothing is known of it, and it begins at
// zero again, which the Gate takes as all new.
func (r *Router) settleAdopted(users []row) {
	for _, u := range users {
		m, ok := parseMark(u["comment"])
		if !ok {
			continue
		}
		g := r.grants[m.grant]
		if g == nil || g.ordered || g.userID != u.id() {
			continue
		}
		for _, x := range g.sessions {
			if x.online || x.octets != (zonegate.Octets{}) {
				continue
			}
			all := minus(plus(u.octets(), m.before), m.gone)
			if len(g.sessions) == 1 && atLeast(all, x.base) && all != x.base {
				x.octets = all
			}
			x.base = x.octets
		}
		g.gone = higher(m.gone, minus(plus(u.octets(), g.before), g.octets()))
	}
}

// takeQueues matches our simple queues with the grants.
func (r *Router) takeQueues(list []row) {
	for _, g := range r.grants {
		g.queue = queue{}
	}
	r.router.parent = nil
	for _, q := range list {
		if !ours(q) {
			continue
		}
		if q["comment"] == parentComment || q["comment"] == "" && q["name"] == parentName {
			if r.router.parent == nil {
				r.router.parent = q
			} else {
				r.router.junk = append(r.router.junk, object{menuQueue, q.id()})
			}
			continue
		}
		m, ok := parseMark(q["comment"])
		g := r.grants[m.grant]
		if !ok || g == nil || g.queue.id != "" {
			r.router.junk = append(r.router.junk, object{menuQueue, q.id()})
			continue
		}
		g.queue = queue{
			id: q.id(), targets: q["target"], parent: q["parent"],
			limitAt: parsePace(q["limit-at"]), maxLimit: parsePace(q["max-limit"]),
		}
		if q.is("disabled") {
			g.queue.targets = "" // so that it is set anew, enabled
		}
	}
}

// fresh makes sure that memory is of this connection.
func (r *Router) fresh(ctx context.Context) error {
	epoch, err := r.line.current(ctx)
	if err != nil {
		return err
	}
	if epoch == r.router.epoch {
		return nil
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	return r.settleLost(ctx)
}

// refresh reads who is online, in one command.
func (r *Router) refresh(ctx context.Context) error {
	list, err := r.line.print(ctx, menuActive, activeProps)
	if err != nil {
		return fmt.Errorf("reading who is online: %w", err)
	}
	r.takeActive(list)
	return nil
}
