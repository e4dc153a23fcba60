package mikrotik

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"zonegate"
	"zonegate/shaper"
)

// timeSlack is how much the end that the router has in mind may differ from
// the one that was ordered: it counts whole seconds.
const timeSlack = 5 * time.Second

// longestTime bounds a limit: a hundred times it is still a Duration.
const longestTime = 2 * 365 * 24 * time.Hour

// settle brings the router to what is wanted of a grant, and does nothing if
// it is there.
func (r *Router) settle(ctx context.Context, g *grant) error {
	if len(g.sessions) == 0 {
		return r.drop(ctx, g)
	}
	if !g.ordered {
		return nil // adopted, and not yet asked for or refused
	}
	profile, err := r.ensureProfile(ctx, g.rate, g.devices)
	if err != nil {
		return err
	}
	waiting, err := r.waiting(ctx, g)
	if err != nil {
		return err
	}
	switch {
	case g.userID == "" || g.profile != profile || g.limit != g.byteLimit() || !r.toldTime(g):
		// The router reads limits and profile at a login only.
		if g.online() > 0 {
			if waiting, err = r.takeOff(ctx, g); err != nil {
				return err
			}
		}
		err = r.renew(ctx, g, profile)
	case len(waiting) > 0 && g.online() == 0 && (g.used() > 0 || g.password == ""):
		// Let in again. After a reboot its counters may be anything.
		err = r.renew(ctx, g, profile)
	case len(waiting) > 0 && g.password == "" || g.comment != g.mark().String():
		err = r.setUser(ctx, g)
	}
	if err != nil {
		return err
	}
	g.stale = false
	for len(g.duplicates) > 0 {
		if err := r.line.remove(ctx, menuUser, g.duplicates[0]); err != nil {
			return fmt.Errorf("removing a second user of grant %d: %w", g.id, err)
		}
		g.duplicates = g.duplicates[1:]
	}
	// The queue first: nobody passes without it.
	if err := r.ensureQueue(ctx, g); err != nil {
		return err
	}
	var errs []error
	for _, x := range waiting {
		errs = append(errs, r.login(ctx, x))
	}
	if err = errors.Join(errs...); err == nil {
		g.due = false
	}
	return err
}

// waiting lists the sessions of a grant that may pass, do not, and whose
// devices are there.
func (r *Router) waiting(ctx context.Context, g *grant) (list []*session, err error) {
	for _, x := range g.sessions {
		if x.online || g.spent || x.device == (zonegate.MAC{}) || r.timeOver(g) {
			continue
		}
		if x.at, err = r.find(ctx, x.device, x.at); err != nil {
			return nil, err
		}
		if x.at.address.IsValid() {
			list = append(list, x)
		}
	}
	return list, nil
}

// takeOff takes a grant's sessions off the router, so that they can be let in
// under new limits, and returns those that wait then.
func (r *Router) takeOff(ctx context.Context, g *grant) ([]*session, error) {
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	if err := r.settleLost(ctx); err != nil {
		return nil, err
	}
	if err := r.logoutAll(ctx, g); err != nil {
		return nil, err
	}
	if !g.spent && shaper.Left(g.allowance, g.used()) < shaper.StopBelow {
		if err := r.endGrant(ctx, g); err != nil {
			return nil, err
		}
	}
	return r.waiting(ctx, g)
}

// drop removes what a grant without sessions has left.
func (r *Router) drop(ctx context.Context, g *grant) error {
	if err := r.dropQueue(ctx, g); err != nil {
		return err
	}
	for _, id := range append([]string{g.userID}, g.duplicates...) {
		if id == "" {
			continue
		}
		if err := r.line.remove(ctx, menuUser, id); err != nil {
			return fmt.Errorf("removing the user of grant %d: %w", g.id, err)
		}
	}
	g.due = false
	g.userID, g.duplicates, g.limit, g.profile, g.gone, g.before = "", nil, 0, "", zonegate.Octets{}, zonegate.Octets{}
	if len(g.departed) == 0 {
		delete(r.grants, g.id)
	}
	return nil
}

// byteLimit is limit-bytes-total: what the user's counters may reach. Zero is
// no limit.
func (g *grant) byteLimit() uint64 {
	if g.allowance == zonegate.NoCap {
		return 0
	}
	return max(shaper.Left(g.gone.Total()+g.allowance, g.before.Total()), 1)
}

// timeOver says that the paid time is over. The Gate stops the sessions soon.
func (r *Router) timeOver(g *grant) bool {
	return g.until != 0 && g.until <= r.clock.Now().Mono
}

// toldTime says whether the router has the end of the paid time in mind.
func (r *Router) toldTime(g *grant) bool {
	if g.told >= 0 {
		return shaper.SameEnd(zonegate.Order{Until: g.told}, zonegate.Order{Until: g.until})
	}
	// Adopted: the entries say how long they last. With several devices the
	// user's limit is a multiple, so only too little is wrong.
	left := g.until - r.clock.Now().Mono
	for _, x := range g.sessions {
		if !x.online {
			continue
		}
		if g.until == 0 {
			return x.timeLeft < 0
		}
		if x.timeLeft < min(left, longestTime)-timeSlack || g.devices == 1 && x.timeLeft > left+timeSlack {
			return false
		}
		g.told = g.until
	}
	return g.told >= 0
}

// timeLimit is limit-uptime: what a new user's uptime may reach. The uptimes of
// several devices may add up, so each gets the whole time: the router alone
// ends them late rather than early.
func (r *Router) timeLimit(g *grant) string {
	if g.until == 0 {
		return formatDuration(0)
	}
	left := min(max(g.until-r.clock.Now().Mono, time.Second), longestTime)
	return formatDuration(left * time.Duration(g.devices))
}

func (g *grant) mark() mark {
	m := mark{grant: g.id, by: g.by, gone: g.gone, before: g.before}
	for _, x := range g.sessions {
		if x.device != (zonegate.MAC{}) {
			m.sessions = append(m.sessions, marked{x.id, x.device, x.base})
		}
	}
	return m
}

// renew makes the grant's user anew, with counters that begin at zero. Nobody
// is online with it.
func (r *Router) renew(ctx context.Context, g *grant, profile string) error {
	if g.userID != "" {
		if err := r.line.remove(ctx, menuUser, g.userID); err != nil {
			return fmt.Errorf("removing the used user of grant %d: %w", g.id, err)
		}
		g.userID = ""
	}
	g.gone, g.before = zonegate.Octets{}, g.octets()
	for _, x := range g.sessions {
		x.base = x.octets
	}
	limit, comment := g.byteLimit(), g.mark().String()
	name := userName(g.id) + "-" + strconv.FormatUint(uint64(g.sessions[0].id), 10)
	g.password = rand.Text()
	words := []string{
		"=name=" + name, "=password=" + g.password, "=profile=" + profile,
		"=limit-bytes-total=" + strconv.FormatUint(limit, 10), "=limit-uptime=" + r.timeLimit(g), "=comment=" + comment,
	}
	id, err := r.addUser(ctx, words)
	if isDuplicate(err) {
		// Ours by its name: what an earlier run left half done.
		if id, err = r.named(ctx, menuUser, name); err == nil {
			if err = r.line.remove(ctx, menuUser, id); err == nil {
				id, err = r.addUser(ctx, words)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("adding the user of grant %d: %w", g.id, err)
	}
	g.userID, g.name, g.profile, g.limit, g.comment, g.told = id, name, profile, limit, comment, g.until
	return nil
}

// addUser adds a hotspot user of the configured server.
func (r *Router) addUser(ctx context.Context, words []string) (id string, err error) {
	for range 2 {
		if r.router.server == "" {
			return "", r.noServer()
		}
		all := words[:len(words):len(words)]
		if r.conf.Server != "" {
			all = append(all, "=server="+r.router.server)
		}
		if id, err = r.line.add(ctx, menuUser, all...); !says(err, "value of server") {
			break
		}
		// Renamed since it was read.
		if err := r.readServer(ctx, &r.router); err != nil {
			return "", err
		}
	}
	return id, err
}

// noServer is the error of a router without the hotspot that is meant.
func (r *Router) noServer() error {
	if r.conf.Server == "" {
		return errors.New("the router has no hotspot server; set one up: /ip/hotspot/setup")
	}
	return fmt.Errorf("the router has no hotspot server %q; set the configured name to one that /ip/hotspot/print shows", r.conf.Server)
}

// setUser gives the user a new comment and password, under which others may
// be online.
func (r *Router) setUser(ctx context.Context, g *grant) error {
	comment := g.mark().String()
	g.password = rand.Text()
	err := r.line.set(ctx, menuUser, g.userID, "=password="+g.password, "=disabled=no", "=comment="+comment)
	if isGone(err) {
		g.userID, g.password = "", ""
		return fmt.Errorf("the user of grant %d was deleted and is made anew: %w", g.id, err)
	}
	if err != nil {
		return fmt.Errorf("changing the user of grant %d: %w", g.id, err)
	}
	g.comment = comment
	return nil
}

// find returns where a device is; nowhere is no error.
func (r *Router) find(ctx context.Context, mac zonegate.MAC, before host) (host, error) {
	if at, ok := r.where(mac, before); ok || r.hostsRead {
		return at, nil
	}
	if err := r.readHosts(ctx, "?mac-address="+formatMAC(mac)); err != nil {
		return host{}, err
	}
	at, _ := r.where(mac, before)
	return at, nil
}

// login lets a device in. One that is not there waits: the task lets it in as
// soon as the hotspot sees it.
func (r *Router) login(ctx context.Context, x *session) error {
	g := x.grant
	if id, ok := r.router.others[formatMAC(x.device)]; ok {
		if err := r.line.remove(ctx, menuActive, id); err != nil {
			return fmt.Errorf("logging out another user of session %d's device: %w", x.id, err)
		}
		delete(r.router.others, formatMAC(x.device))
	}
	err := r.tryLogin(ctx, x)
	switch {
	case says(err, "unknown host"), says(err, "wrong mac"):
		// It is not where it was.
		r.forget(x.device)
		if err := r.readHosts(ctx, "?mac-address="+formatMAC(x.device)); err != nil {
			return err
		}
		if x.at, err = r.find(ctx, x.device, host{}); err != nil {
			return err
		}
		if err := r.ensureQueue(ctx, g); err != nil {
			return err
		}
		if !x.at.address.IsValid() {
			return nil
		}
		err = r.tryLogin(ctx, x)
	case says(err, "no more sessions"), says(err, "already"):
		// Entries that we do not know of are in the way.
		if err := r.refresh(ctx); err != nil {
			return err
		}
		for _, id := range r.router.strays {
			if err := r.line.remove(ctx, menuActive, id); err != nil {
				return fmt.Errorf("logging out a stray: %w", err)
			}
		}
		r.router.strays = nil
		if x.online {
			return nil
		}
		err = r.tryLogin(ctx, x)
	}
	if says(err, "unknown host") {
		r.forget(x.device)
		x.at = host{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("letting session %d in: %w", x.id, err)
	}
	return nil
}

func (r *Router) tryLogin(ctx context.Context, x *session) error {
	_, err := r.line.do(ctx, false, []string{
		menuActive + "/login", "=user=" + x.grant.name, "=password=" + x.grant.password,
		"=mac-address=" + formatMAC(x.device), "=ip=" + x.at.address.String(),
	})
	if err != nil {
		return err
	}
	x.online, x.activeID, x.base, x.timeLeft, x.moved = true, "", x.octets, -1, time.Now()
	return nil
}
