package kernel

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
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
	// used is what the quota had counted when it was last read; before is what
	// those had that are gone with their table.
	used, before uint64
	// placed says that the table has it.
	placed bool
}

const (
	firstPayMark = 0xffff0000
	lastPayMark  = 0xfffffffe
	// maxPayers bounds how many can be at once. The gate bounds payments.
	maxPayers = 256
	payPrefix = "pay"
	// payHostTime is the least time for which payers reach an address.
	payHostTime = 20 * time.Minute
	// samePayer is how much the ends of one payer may differ.
	samePayer = 2 * time.Second
)

func isPayMark(mark uint32) bool { return mark >= firstPayMark && mark <= lastPayMark }

func (p *payer) quota() string { return payPrefix + strconv.FormatUint(uint64(p.mark), 16) }

// SetPayers makes exactly these devices payers. Repeating it changes nothing.
// Those of an earlier process stay until the first orders, which must have been
// given, and have to be set again. A payer that goes online keeps its connections. Busy are the payers that have sent or got something since
// it was called last.
func (s *Shaper) SetPayers(ctx context.Context, want []Payer) (busy []zonegate.MAC, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.settled {
		return nil, errors.New("nobody can pay before the first orders")
	}
	busy = s.readPayers()
	now := s.clock.Now().Mono
	var e edit
	var gone []*payer
	keep := map[zonegate.MAC]bool{}
	for _, w := range want {
		if w.Until <= now || keep[w.Device] || len(keep) >= maxPayers {
			continue
		}
		keep[w.Device] = true
		p := s.payers[w.Device]
		if p != nil && p.placed && (p.Until-w.Until).Abs() < samePayer {
			continue
		}
		if p != nil {
			gone = append(gone, p)
		}
		p = &payer{Payer: w, mark: s.nextPayMark()}
		s.payers[w.Device] = p
		s.addPayer(&e, p, now)
	}
	for d, p := range s.payers {
		if !keep[d] {
			gone = append(gone, p)
			delete(s.payers, d)
		}
	}
	if !s.table {
		return busy, nil // with the table
	}
	for _, p := range gone {
		s.removePayer(&e, p)
	}
	if e.empty() {
		return busy, nil
	}
	var b nft.Batch
	e.write(&b)
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

// put appends an element; written out, each append would be a hundred octets.
func put(list *[]nft.Element, key, data []byte, timeout time.Duration) {
	*list = append(*list, nft.Element{Key: key, Data: data, Timeout: timeout})
}

// addPayer lets a payer in.
func (s *Shaper) addPayer(e *edit, p *payer, now time.Duration) {
	left := max(p.Until-now, time.Millisecond)
	key := nft.Host32(p.mark)
	p.before, p.used, p.placed = p.before+p.used, 0, true
	e.object = append(e.object, quotaObject{p.quota(), max(p.Octets-min(p.before, p.Octets), 1)})
	e.quota = append(e.quota, nft.Element{Key: key, Object: p.quota()})
	put(&e.down, key, classID(majorDown, gardenMinor), 0)
	put(&e.up, key, classID(majorUp, gardenMinor), 0)
	put(&e.live, key, nil, left)
	put(&e.payer, nft.HW(p.Device), key, left)
}

// removePayer takes a payer out. The flows of one that is online now pass to
// its session.
func (s *Shaper) removePayer(e *edit, p *payer) {
	key := nft.Host32(p.mark)
	put(&e.unlive, key, nil, 0)
	put(&e.unquota, key, nil, 0)
	put(&e.undown, key, nil, 0)
	put(&e.unup, key, nil, 0)
	put(&e.unpayer, nft.HW(p.Device), key, 0)
	e.unobject = append(e.unobject, p.quota())
	if x := s.devices[p.Device]; x != nil {
		put(&e.heir, key, markKey(x.order.Session), 0)
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
func (s *Shaper) replacePayers(e *edit) {
	now := s.clock.Now().Mono
	for d, p := range s.payers {
		if p.Until <= now {
			delete(s.payers, d)
			continue
		}
		s.addPayer(e, p, now)
	}
}

// payerLeft notes an element of a payer of an earlier process, to be removed
// with the first orders. Its mark is not used again soon: flows may have it.
func (f *foundTable) payerLeft(set *nft.Set, e nft.Element) bool {
	name := e.Key
	if set == setPayer {
		name = e.Data
	}
	mark, _ := nft.FromHost32(name)
	if !isPayMark(mark) {
		return false
	}
	f.payMark = max(f.payMark, mark)
	lists := map[*nft.Set]*[]nft.Element{
		setPayer: &f.payers.unpayer, setLive: &f.payers.unlive, setQuota: &f.payers.unquota,
		setDown: &f.payers.undown, setUp: &f.payers.unup,
	}
	if list := lists[set]; list != nil {
		put(list, e.Key, e.Data, 0)
	}
	return true
}

// PayHosts are what payers may reach besides the walled garden.
type PayHosts struct{ Shaper *Shaper }

// Allow lets payers reach addresses for as long as ttl (what a name server said
// about a name of a provider's), and no less than a payment takes: the
// connection that a page holds shall not die of a short one.
func (h PayHosts) Allow(ctx context.Context, addrs []netip.Addr, ttl time.Duration) error {
	return h.Shaper.allow(ctx, h.Shaper.payHosts, setPay4, setPay6, addrs, max(ttl, payHostTime))
}
