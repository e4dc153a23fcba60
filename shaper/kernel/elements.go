package kernel

import (
	"fmt"
	"time"

	"zonegate"
	"zonegate/shaper/kernel/nft"
)

// placed is what the table holds for a session.
type placed struct {
	device zonegate.MAC // zero: not there
	live   bool
	until  time.Duration // as in Order
	minor  uint16        // in the class maps; zero: not there
	quota  string        // name of the object; empty: not there
	// Without HTB:
	limit string // stem of the names of the two limit objects
	count bool   // its counting objects
}

// An edit collects what a batch changes in the sets. Removals come first in
// it: a session is out of the live set before anything else happens, and a
// device can pass from one session to another.
type edit struct {
	unlive, undevice, unquota, undown, unup []nft.Element
	unpayer, payer                          []nft.Element
	unobject                                []string
	object                                  []quotaObject
	quota, down, up, device, live, heir     []nft.Element

	// Without HTB.
	unlimit, uncount   []nft.Element // of both maps
	unlimitObject      []string
	limitObject        []nft.Limit
	limitDown, limitUp []nft.Element
	countDown, countUp []nft.Element
}

type quotaObject struct {
	name  string
	bytes uint64
}

func (e *edit) empty() bool {
	return len(e.unlimit)+len(e.uncount)+len(e.unlimitObject)+len(e.limitObject)+len(e.limitDown)+len(e.countDown)+
		len(e.unpayer)+len(e.payer)+len(e.unlive)+len(e.undevice)+len(e.unquota)+len(e.undown)+len(e.unup)+len(e.unobject)+
		len(e.object)+len(e.quota)+len(e.down)+len(e.device)+len(e.live)+len(e.heir) == 0
}

func markKey(id zonegate.SessionID) []byte { return nft.Host32(uint32(id)) }

// place brings what the table holds for a session from old to want. left is
// how long it may stay live; zero is no end.
func (e *edit) place(id zonegate.SessionID, old, want placed, left time.Duration) {
	key := markKey(id)
	relive := old.live && (!want.live || old.until != want.until)
	if relive {
		e.unlive = append(e.unlive, nft.Element{Key: key})
	}
	redevice := old.device != zonegate.MAC{} && (old.device != want.device || old.until != want.until)
	if redevice {
		e.undevice = append(e.undevice, nft.Element{Key: nft.HW(old.device), Data: key})
	}
	if old.quota != "" && old.quota != want.quota {
		e.unquota = append(e.unquota, nft.Element{Key: key})
	}
	if old.minor != 0 && old.minor != want.minor {
		e.undown = append(e.undown, nft.Element{Key: key})
		e.unup = append(e.unup, nft.Element{Key: key})
	}
	if want.quota != "" && want.quota != old.quota {
		e.quota = append(e.quota, nft.Element{Key: key, Object: want.quota})
	}
	if want.minor != 0 && want.minor != old.minor {
		e.down = append(e.down, nft.Element{Key: key, Data: classID(majorDown, want.minor)})
		e.up = append(e.up, nft.Element{Key: key, Data: classID(majorUp, want.minor)})
	}
	if old.limit != "" && old.limit != want.limit {
		e.unlimit = append(e.unlimit, nft.Element{Key: key})
	}
	if want.limit != "" && old.limit != want.limit {
		e.limitDown = append(e.limitDown, nft.Element{Key: key, Object: want.limit + "d"})
		e.limitUp = append(e.limitUp, nft.Element{Key: key, Object: want.limit + "u"})
	}
	if old.count && !want.count {
		// The objects stay until they have been read.
		e.uncount = append(e.uncount, nft.Element{Key: key})
	}
	if want.count && !old.count {
		down, up := countNames(id)
		e.object = append(e.object, quotaObject{down, neverEnds}, quotaObject{up, neverEnds})
		e.countDown = append(e.countDown, nft.Element{Key: key, Object: down})
		e.countUp = append(e.countUp, nft.Element{Key: key, Object: up})
	}
	none := zonegate.MAC{}
	if want.device != none && (redevice || old.device == none) {
		e.device = append(e.device, nft.Element{Key: nft.HW(want.device), Data: key, Timeout: left})
	}
	if want.live && (relive || !old.live) {
		e.live = append(e.live, nft.Element{Key: key, Timeout: left})
	}
}

func classID(major, minor uint16) []byte { return nft.Host32(uint32(major)<<16 | uint32(minor)) }

// neverEnds is the limit of a quota object that only counts.
const neverEnds = 1 << 62

// countNames are the names of the objects that count a session's octets.
func countNames(id zonegate.SessionID) (down, up string) {
	return fmt.Sprintf("d%d", id), fmt.Sprintf("u%d", id)
}

// write puts the changes into a batch. Elements that can time out are added
// before they are deleted: a batch fails if one is missing, and the kernel may
// have let one go at any moment.
func (e *edit) write(b *nft.Batch) {
	change := func(f func(*nft.Set, ...nft.Element), s *nft.Set, list []nft.Element) {
		if len(list) > 0 {
			f(s, list...)
		}
	}
	change(b.AddElements, setLive, e.unlive)
	change(b.DelElements, setLive, e.unlive)
	change(b.AddElements, setDevice, e.undevice)
	change(b.DelElements, setDevice, e.undevice)
	change(b.AddElements, setPayer, e.unpayer)
	change(b.DelElements, setPayer, e.unpayer)
	change(b.DelElements, setQuota, e.unquota)
	change(b.DelElements, setDown, e.undown)
	change(b.DelElements, setUp, e.unup)
	change(b.DelElements, setLimitDown, e.unlimit)
	change(b.DelElements, setLimitUp, e.unlimit)
	change(b.DelElements, setCountDown, e.uncount)
	change(b.DelElements, setCountUp, e.uncount)
	for _, name := range e.unlimitObject {
		b.DelLimit(tableName, name)
	}
	for _, l := range e.limitObject {
		b.AddLimit(tableName, l)
	}
	for _, name := range e.unobject {
		b.DelQuota(tableName, name)
	}
	for _, q := range e.object {
		b.AddQuota(tableName, q.name, q.bytes, 0, true)
	}
	change(b.AddElements, setQuota, e.quota)
	change(b.AddElements, setLimitDown, e.limitDown)
	change(b.AddElements, setLimitUp, e.limitUp)
	change(b.AddElements, setCountDown, e.countDown)
	change(b.AddElements, setCountUp, e.countUp)
	change(b.AddElements, setDown, e.down)
	change(b.AddElements, setUp, e.up)
	change(b.AddElements, setDevice, e.device)
	change(b.AddElements, setLive, e.live)
	change(b.AddElements, setHeir, e.heir)
	change(b.AddElements, setPayer, e.payer)
}
