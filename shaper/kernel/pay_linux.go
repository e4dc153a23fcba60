package kernel

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"zonegate"
	"zonegate/shaper/kernel/nft"
)

// A Payer is a stranger who pays on a provider's page: until then, and for so
// many octets up and down together, its device reaches what [PayHosts] allows,
// by HTTPS alone. Nobody else does.
type Payer struct {
	Device zonegate.MAC
	// Until is on the Clock's monotonic scale. The same device with another end
	// has paid anew and gets all its octets.
	Until  time.Duration
	Octets uint64
}

// A payer has a mark like a session, and its flows pass by the same maps: in
// the class of the garden, against a quota of its own. Marks of payers are
// above those of all sessions there can be.
type payer struct {
	Payer
	mark uint32
	// used is what the quota had counted when it was last read, beyond quotas
	// that are gone.
	used uint64
	// placed says that the table has it.
	placed bool
}

const (
	firstPayMark = 0xffff0000
	lastPayMark  = 0xfffffffe
	// maxPayers bounds how many can be at once. The gate bounds payments.
	maxPayers = 256
	payPrefix = "pay"
	// samePayer is how much the end of a payer found may differ from its
	// order's.
	samePayer = 2 * time.Second
)

func isPayMark(mark uint32) bool { return mark >= firstPayMark && mark <= lastPayMark }

func (p *payer) quota() string { return payPrefix + strconv.FormatUint(uint64(p.mark), 16) }

// SetPayers makes exactly these devices payers. Repeating it changes nothing;
// it also adopts what an earlier process left. A payer that goes online keeps
// its connections. Busy are the payers that have sent or got something since
// it was called last.
func (s *Shaper) SetPayers(ctx context.Context, want []Payer) (busy []zonegate.MAC, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(want) == 0 && len(s.payers) == 0 && s.adopted {
		return nil, nil
	}
	if !s.adopted || !s.table {
		if err := errors.Join(s.prepare(), s.adopt()); err != nil {
			return nil, err
		}
	}
	busy = s.readPayers()
	now := s.clock.Now().Mono
	var b nft.Batch
	var gone, fresh []*payer
	keep := map[zonegate.MAC]bool{}
	for _, w := range want {
		if w.Until <= now || keep[w.Device] || len(keep) >= maxPayers {
			continue
		}
		keep[w.Device] = true
		p := s.payers[w.Device]
		if p != nil && p.placed && (p.Until-w.Until).Abs() < samePayer {
			p.Octets = w.Octets // an adopted one does not know
			continue
		}
		if p != nil {
			gone = append(gone, p)
		}
		p = &payer{Payer: w, mark: s.nextPayMark()}
		s.payers[w.Device] = p
		fresh = append(fresh, p)
	}
	for d, p := range s.payers {
		if !keep[d] {
			gone = append(gone, p)
			delete(s.payers, d)
		}
	}
	for _, p := range gone {
		if p.placed {
			s.removePayer(&b, p)
		}
	}
	if !s.table {
		return busy, nil // with the table
	}
	for _, p := range fresh {
		s.addPayer(&b, p, now)
	}
	if b.Len() == 0 {
		return busy, nil
	}
	if err := s.commit(&b); err != nil {
		s.repairSoon(0)
		return busy, err
	}
	var errs []error
	for _, p := range gone {
		if s.devices[p.Device] == nil {
			errs = append(errs, s.nft.DeleteMark(p.mark))
		}
	}
	return busy, errors.Join(errs...)
}

// nextPayMark is one that has not been used for long: flows may still have it.
func (s *Shaper) nextPayMark() uint32 {
	for {
		if s.payMark++; !isPayMark(s.payMark) {
			s.payMark = firstPayMark
		}
		free := true
		for _, p := range s.payers {
			free = free && p.mark != s.payMark
		}
		if free {
			return s.payMark
		}
	}
}

// addPayer lets a payer in.
func (s *Shaper) addPayer(b *nft.Batch, p *payer, now time.Duration) {
	left := max(p.Until-now, time.Millisecond)
	key := nft.Host32(p.mark)
	b.AddQuota(tableName, p.quota(), p.Octets, min(p.used, p.Octets), true)
	b.AddElements(setQuota, nft.Element{Key: key, Object: p.quota()})
	b.AddElements(setDown, nft.Element{Key: key, Data: classID(majorDown, gardenMinor)})
	b.AddElements(setUp, nft.Element{Key: key, Data: classID(majorUp, gardenMinor)})
	b.AddElements(setLive, nft.Element{Key: key, Timeout: left})
	b.AddElements(setPayer, nft.Element{Key: nft.HW(p.Device), Data: key, Timeout: left})
	p.placed = true
}

// removePayer takes a payer out; the kernel may have let go of what times out.
// The flows of one that is online now pass to its session.
func (s *Shaper) removePayer(b *nft.Batch, p *payer) {
	key := nft.Host32(p.mark)
	for set, e := range map[*nft.Set]nft.Element{
		setLive: {Key: key}, setPayer: {Key: nft.HW(p.Device), Data: key},
	} {
		b.AddElements(set, e)
		b.DelElements(set, e)
	}
	b.DelElements(setQuota, nft.Element{Key: key})
	b.DelElements(setDown, nft.Element{Key: key})
	b.DelElements(setUp, nft.Element{Key: key})
	b.DelQuota(tableName, p.quota())
	if x := s.devices[p.Device]; x != nil {
		b.AddElements(setHeir, nft.Element{Key: key, Data: markKey(x.order.Session)})
	}
}

// readPayers notes what payers have used, also for a table that is made anew.
func (s *Shaper) readPayers() (busy []zonegate.MAC) {
	for _, p := range s.payers {
		if !p.placed {
			continue
		}
		if q, err := s.nft.Quota(tableName, p.quota()); err == nil && q.Consumed != p.used {
			p.used = q.Consumed
			busy = append(busy, p.Device)
		}
	}
	return busy
}

// replacePayers puts the payers into a table that is made anew.
func (s *Shaper) replacePayers(b *nft.Batch) {
	now := s.clock.Now().Mono
	for d, p := range s.payers {
		if p.Until <= now {
			delete(s.payers, d)
			continue
		}
		s.addPayer(b, p, now)
	}
}

// foundPayer is what the table says about a payer's mark.
type foundPayer struct {
	device        zonegate.MAC
	expires       time.Duration
	live          bool
	down, up      bool
	quota         bool // in the map
	object        bool
	limit, octets uint64
}

// adoptPayers takes over the payers of an earlier process, and has what is left
// of others removed with the first orders.
func (s *Shaper) adoptPayers(found map[uint32]*foundPayer) {
	now := s.clock.Now().Mono
	for mark, f := range found {
		s.payMark = max(s.payMark, mark)
		if f.live && f.device != (zonegate.MAC{}) && f.down && f.up && f.quota && f.object {
			s.payers[f.device] = &payer{
				Payer: Payer{Device: f.device, Until: now + f.expires, Octets: f.limit},
				mark:  mark, used: f.octets, placed: true,
			}
			continue
		}
		key := nft.Element{Key: nft.Host32(mark)}
		e := &s.stray.edit
		if f.live {
			e.unlive = append(e.unlive, key)
		}
		if f.device != (zonegate.MAC{}) {
			e.unpayer = append(e.unpayer, nft.Element{Key: nft.HW(f.device), Data: key.Key})
		}
		if f.quota {
			e.unquota = append(e.unquota, key)
		}
		if f.down {
			e.undown = append(e.undown, key)
		}
		if f.up {
			e.unup = append(e.unup, key)
		}
		if f.object {
			e.unobject = append(e.unobject, (&payer{mark: mark}).quota())
		}
	}
}

// payMarkOf reads the mark in the name of a payer's quota.
func payMarkOf(name string) (uint32, bool) {
	hex, ok := strings.CutPrefix(name, payPrefix)
	mark, err := strconv.ParseUint(hex, 16, 32)
	return uint32(mark), ok && err == nil && isPayMark(uint32(mark))
}

// PayHosts are what payers may reach besides the walled garden.
type PayHosts struct{ *Shaper }

// Allow lets payers reach addresses for as long as ttl (what a name server said
// about a name of a provider's).
func (h PayHosts) Allow(ctx context.Context, addrs []netip.Addr, ttl time.Duration) error {
	return h.allow(ctx, h.payHosts, setPay4, setPay6, addrs, ttl)
}
