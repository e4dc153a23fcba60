package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zonegate"
	"zonegate/shaper"
	"zonegate/shaper/kernel/nft"
)

// present says whether our table exists.
func (s *Shaper) present() (info nft.TableInfo, ok bool, err error) {
	tables, err := s.nft.Tables()
	if err != nil {
		return info, false, err
	}
	const inet = 1
	for _, t := range tables {
		if t.Family == inet && t.Name == tableName {
			return t, true, nil
		}
	}
	return info, false, nil
}

// chooseFlags asks the kernel whether it can reserve a table for us and keep
// it when we are gone. Reserved without kept would cut off payers when the
// process dies.
func (s *Shaper) chooseFlags() {
	if s.conf.Shared {
		s.flags = 0
		return
	}
	var b nft.Batch
	b.AddTable(nft.Table{Name: tableName + "-probe", Flags: nft.Owner | nft.Persist})
	if s.nft.Check(&b) == nil {
		s.flags = nft.Owner | nft.Persist
	}
}

// prepareTable makes the table's skeleton what it should be. If the table is
// gone or not as expected, it is made anew with all sessions.
func (s *Shaper) prepareTable(prefixes []netip.Prefix) error {
	s.prefixes = prefixes
	if s.flags == 0 {
		s.chooseFlags()
	}
	ok, err := s.awaitOwner()
	if err != nil {
		return err
	}
	if !ok || s.settled && !s.table {
		return s.rebuild()
	}
	var b nft.Batch
	s.skeleton(&b)
	if err := s.nft.Commit(&b); err != nil {
		if errors.Is(err, unix.EPERM) {
			s.table = false
			return fmt.Errorf("%w: %w", ErrOwned, err)
		}
		s.log.Info("the table found is of another form and is made anew", "error", err)
		s.table = false
		if !s.settled {
			return nil // with the first orders, so that nobody is cut off
		}
		return s.rebuild()
	}
	s.table = true
	return nil
}

// awaitOwner says whether the table exists. If another process owns it, that
// may be one that is just ending: it gets a moment.
func (s *Shaper) awaitOwner() (ok bool, err error) {
	for range ownerTries {
		var info nft.TableInfo
		info, ok, err = s.present()
		if err != nil || !ok || info.Port == 0 || info.Port == s.nft.Port() {
			return ok, err
		}
		time.Sleep(ownerWait)
	}
	return ok, nil
}

const (
	ownerTries = 20
	ownerWait  = 50 * time.Millisecond
)

// skeleton writes the table without sessions and garden.
func (s *Shaper) skeleton(b *nft.Batch) {
	skeleton(b, s.flags, s.conf.LAN, s.conf.RouteBit, s.conf.PortalPort, s.conf.DNSPort, s.police)
	v4, v6 := prefixElements(s.prefixes)
	b.FlushSet(tableName, setLAN4.Name)
	b.FlushSet(tableName, setLAN6.Name)
	if len(v4) > 0 {
		b.AddElements(setLAN4, v4...)
	}
	if len(v6) > 0 {
		b.AddElements(setLAN6, v6...)
	}
}

// rebuild makes the table anew, with everything in it, in one batch.
func (s *Shaper) rebuild() error {
	s.table = false
	info, ok, err := s.present()
	if err != nil {
		return err
	}
	if ok && info.Port != 0 && info.Port != s.nft.Port() {
		return fmt.Errorf("%w (netlink port %d)", ErrOwned, info.Port)
	}
	if err := s.sweep(); err != nil {
		s.log.Warn("counters cannot be read before the table is made anew", "error", err)
	}
	var b nft.Batch
	if ok {
		b.DelTable(tableName)
	}
	s.skeleton(&b)
	now := time.Now()
	for a, until := range s.garden {
		if ttl := until.Sub(now); ttl > 0 {
			addGarden(&b, setGarden4, setGarden6, a, ttl)
		}
	}
	for a, until := range s.payHosts {
		if ttl := until.Sub(now); ttl > 0 {
			addGarden(&b, setPay4, setPay6, a, ttl)
		}
	}
	var e edit
	s.replacePayers(&e)
	clear(s.quotas)
	if s.police {
		s.forgetCounts()
	}
	for _, g := range s.grants {
		g.quota, g.limit = "", ""
		s.limit(g, &e)
		if g.spent || g.allowance == zonegate.NoCap || len(g.sessions) == 0 {
			continue
		}
		total := g.used() + g.waiting()
		left := shaper.Left(g.allowance, total)
		s.arm(g, &e, total, shaper.Brake(left, g.ratio))
		g.rearm, g.doze = false, false
		g.due = now.Add(shaper.NextLook(left, s.speed(g)))
	}
	var list []*session
	for id, x := range s.sessions {
		if x.grant == nil {
			continue // nobody has ordered it yet; it is in no map, so it is out
		}
		x.next = s.wanted(x)
		list = append(list, x)
		e.place(id, placed{}, x.next, s.left(x.order))
	}
	e.write(&b)
	if err := s.nft.Commit(&b); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", ErrOwned, err)
		}
		return fmt.Errorf("making the table: %w", err)
	}
	for _, x := range s.sessions {
		x.placed = placed{}
	}
	for _, x := range list {
		x.placed = x.next
	}
	s.stray = stray{}
	s.table = true
	s.kick()
	return nil
}

// stray is what the kernel holds and no session refers to.
type stray struct {
	edit    edit
	classes map[*link][]class
}

// adopt reads what an earlier process left: sessions with their classes and
// counters, and what belongs to none. It changes nothing.
func (s *Shaper) adopt() error {
	if s.adopted {
		return nil
	}
	found, err := s.readTable()
	if err != nil {
		return fmt.Errorf("reading what is enforced: %w", err)
	}
	classes := map[*link]map[uint16]class{}
	for _, l := range s.links() {
		if _, err := l.look(s.route); err != nil {
			continue
		}
		q, err := s.root(l)
		if err != nil || !q.ours(l.major) {
			continue
		}
		list, err := s.dump(place{l.index, l.major})
		if err != nil {
			return fmt.Errorf("listing classes of %s: %w", l.name, err)
		}
		classes[l] = map[uint16]class{}
		for _, c := range list {
			if c.minor >= firstMinor && c.minor <= lastMinor {
				classes[l][c.minor] = c
			}
		}
	}
	s.stray.edit = found.payers
	now, mono := time.Now(), s.clock.Now().Mono
	for id, f := range found.sessions {
		c, ok := classes[s.lan][f.minor]
		if (!ok || c.inner) && !f.counted || f.minor != f.up || f.minor == 0 {
			found.strays(&s.stray.edit, id, f)
			continue
		}
		if !ok {
			c.parent = rootMinor
		}
		x := &session{
			order:  zonegate.Order{Session: id, Device: f.device},
			minor:  f.minor,
			parent: c.parent,
			sent:   make([]uint64, 1+len(s.wans)),
			wait:   make([]uint64, 1+len(s.wans)),
			born:   now, moved: now,
			spent: !f.live,
		}
		if f.expires > 0 {
			x.order.Until = mono + f.expires
		}
		x.placed = placed{
			device: f.device, live: f.live, until: x.order.Until, minor: f.minor, quota: f.quota,
			limit: f.limit, count: f.counted,
		}
		if f.counted {
			x.sent[0], x.sent[1] = f.down, f.sentUp
		}
		s.minors.take(x.minor)
		s.minors.take(x.parent)
		for l, byMinor := range classes {
			if c, ok := byMinor[x.minor]; ok {
				x.count(l, c.counters, now)
				delete(byMinor, x.minor)
			}
			delete(byMinor, x.parent)
		}
		s.sessions[id] = x
		if f.device != (zonegate.MAC{}) {
			s.devices[f.device] = x
		}
	}
	s.stray.classes = map[*link][]class{}
	for l, byMinor := range classes {
		for minor, c := range byMinor {
			s.minors.take(minor) // until it is deleted
			s.stray.classes[l] = append(s.stray.classes[l], c)
		}
	}
	s.stray.edit.unobject = found.objects
	s.payMark = max(s.payMark, found.payMark)
	s.generation = found.generation
	s.adopted = true
	return nil
}

// foundSession is what the table says about a mark.
type foundSession struct {
	minor, up uint16
	device    zonegate.MAC
	live      bool
	expires   time.Duration
	quota     string
	// Without HTB.
	limit        string
	counted      bool
	down, sentUp uint64
}

type foundTable struct {
	sessions   map[zonegate.SessionID]*foundSession
	payers     edit // what is left of payers
	payMark    uint32
	objects    []string
	generation uint32
}

// strays has everything about a mark removed.
func (foundTable) strays(e *edit, id zonegate.SessionID, f *foundSession) {
	old := placed{device: f.device, live: f.live, quota: f.quota, limit: f.limit, count: f.counted}
	e.place(id, old, placed{}, 0)
	key := nft.Element{Key: markKey(id)}
	if f.minor != 0 {
		e.undown = append(e.undown, key)
	}
	if f.up != 0 {
		e.unup = append(e.unup, key)
	}
}

func (s *Shaper) readTable() (foundTable, error) {
	found := foundTable{sessions: map[zonegate.SessionID]*foundSession{}}
	_, ok, err := s.present()
	if err != nil || !ok {
		return found, err
	}
	of := func(mark []byte) *foundSession {
		m, ok := nft.FromHost32(mark)
		if !ok {
			return &foundSession{}
		}
		f := found.sessions[zonegate.SessionID(m)]
		if f == nil {
			f = &foundSession{}
			found.sessions[zonegate.SessionID(m)] = f
		}
		return f
	}
	for set, take := range map[*nft.Set]func(nft.Element){
		setDown: func(e nft.Element) {
			c, _ := nft.FromHost32(e.Data)
			of(e.Key).minor = uint16(c)
		},
		setUp: func(e nft.Element) {
			c, _ := nft.FromHost32(e.Data)
			of(e.Key).up = uint16(c)
		},
		setLive: func(e nft.Element) {
			f := of(e.Key)
			f.live, f.expires = true, e.Expires
		},
		setHeir:      func(nft.Element) {},
		setPayer:     func(nft.Element) {},
		setDevice:    func(e nft.Element) { copy(of(e.Data).device[:], e.Key) },
		setQuota:     func(e nft.Element) { of(e.Key).quota = e.Object },
		setCountDown: func(e nft.Element) { of(e.Key).counted = true },
		setLimitDown: func(e nft.Element) {
			of(e.Key).limit = strings.TrimSuffix(e.Object, "d")
			found.see(of(e.Key).limit)
		},
	} {
		list, err := s.nft.Elements(tableName, set.Name)
		if errors.Is(err, unix.ENOENT) {
			continue // a table of another form
		}
		if err != nil {
			return found, err
		}
		for _, e := range list {
			if !found.payerLeft(set, e) {
				take(e)
			}
		}
	}
	quotas, err := s.nft.Quotas(tableName)
	if err != nil {
		return found, err
	}
	for _, q := range quotas {
		if id, down, ok := countOf(q.Name); ok {
			f := found.sessions[id]
			switch {
			case f == nil || !f.counted:
				found.objects = append(found.objects, q.Name)
			case down:
				f.down = q.Consumed
			default:
				f.sentUp = q.Consumed
			}
			continue
		}
		found.objects = append(found.objects, q.Name)
		found.see(q.Name)
	}
	return found, nil
}

// see notes the generation in the name of an object, so that it is not used
// again.
func (f *foundTable) see(name string) {
	if _, gen, ok := strings.Cut(name, "."); ok {
		if n, err := strconv.ParseUint(gen, 10, 32); err == nil {
			f.generation = max(f.generation, uint32(n))
		}
	}
}

// dropStrayClasses deletes classes that no map leads to.
func (s *Shaper) dropStrayClasses() error {
	var errs []error
	for l, list := range s.stray.classes {
		// Leaves before the classes that they are below.
		for _, inner := range []bool{false, true} {
			var r requests
			for _, c := range list {
				if c.inner == inner {
					r.delClass(l.index, l.major, c.minor)
				}
			}
			errs = append(errs, s.tell(l, &r))
		}
		for _, c := range list {
			s.minors.free(c.minor)
		}
	}
	s.stray.classes = nil
	return errors.Join(errs...)
}
