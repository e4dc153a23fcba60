package store

import (
	"encoding/binary"
	"time"

	"zonegate"
)

// The stored form of the state's entities, in the state file and in snapshots.
// A changed form gets the next version, and the reader keeps the old one.
const entityVersion = 1

// Sections of the state file, and entry kinds of a snapshot, in the order in
// which a snapshot has them: what a gateway needs to serve comes first.
const (
	sectionMeta       = 1
	sectionPlan       = 2
	sectionLiveGrant  = 3
	sectionSession    = 4
	sectionUnused     = 5 // vouchers that can still be redeemed
	sectionSales      = 6
	sectionUsed       = 7 // vouchers that were redeemed or revoked
	sectionEndedGrant = 8
	sectionSetting    = 9
	sectionEntry      = 10 // what the hub has not acknowledged
	sectionIntent     = 11 // payments
)

var sections = []byte{
	sectionMeta, sectionPlan, sectionLiveGrant, sectionSession,
	sectionUnused, sectionSales, sectionUsed, sectionEndedGrant,
	sectionSetting, sectionEntry, sectionIntent,
}

// liveSections are what a gateway keeps in memory.
var liveSections = []byte{
	sectionMeta, sectionPlan, sectionLiveGrant, sectionSession, sectionUnused, sectionSales, sectionSetting,
	sectionIntent,
}

var metaKey = []byte("meta")

func (e *encoder) plan(p zonegate.Plan) {
	e.string(p.ID)
	e.uint(uint64(p.Version))
	e.string(p.Name)
	e.int(p.Price.Amount)
	e.string(p.Price.Currency)
	e.int(int64(p.Duration))
	e.uint(p.DataCap)
	e.uint(p.Rate.CIRUp)
	e.uint(p.Rate.CIRDown)
	e.uint(p.Rate.MIRUp)
	e.uint(p.Rate.MIRDown)
	e.uint(uint64(p.Time))
	e.uint(uint64(p.DevicesMax))
	e.bool(p.Trial)
	e.bool(p.Withdrawn)
}

func (d *decoder) plan() zonegate.Plan {
	return zonegate.Plan{
		ID: d.string(), Version: uint32(d.uint()), Name: d.string(),
		Price:    zonegate.Money{Amount: d.int(), Currency: d.string()},
		Duration: time.Duration(d.int()), DataCap: d.uint(),
		Rate: zonegate.Rate{CIRUp: d.uint(), CIRDown: d.uint(), MIRUp: d.uint(), MIRDown: d.uint()},
		Time: zonegate.TimePolicy(d.uint()), DevicesMax: int(d.uint()), Trial: d.bool(), Withdrawn: d.bool(),
	}
}

func planKey(r zonegate.PlanRef) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(r.ID), 0), r.Version)
}

func sealPlan(p zonegate.Plan) []byte {
	e := &encoder{}
	e.plan(p)
	if p.Hub == "" {
		return seal(entityVersion, e.b)
	}
	e.string(p.Hub)
	return seal(hubVersion, e.b)
}

// hubVersion is the form of a plan, and of the meta, of a zone that knows a hub.
const hubVersion = 2

func openPlan(value []byte) (zonegate.Plan, error) {
	d, version := unsealAny(value, hubVersion)
	p := d.plan()
	if version == hubVersion {
		p.Hub = d.string()
	}
	return p, d.end()
}

func voucherSection(v zonegate.Voucher) byte {
	if v.Grant != 0 || v.Revoked {
		return sectionUsed
	}
	return sectionUnused
}

func sealVoucher(v zonegate.Voucher) []byte {
	e := &encoder{}
	e.raw(v.Key[:])
	e.ref(v.Plan)
	e.string(v.Batch)
	e.string(v.Site)
	e.time(v.Expires)
	e.bool(v.Revoked)
	e.uint(uint64(v.Grant))
	switch {
	case v.Hub:
		e.string(v.Purchase)
		e.raw(v.Twin[:])
		return seal(hubVoucherVersion, e.b)
	case v.Secret != "":
		e.string(v.Secret)
		return seal(ticketVersion, e.b)
	}
	return seal(entityVersion, e.b)
}

// ticketVersion is the form of a voucher with a password, hubVoucherVersion that
// of one of the hub's, which never has one.
const (
	ticketVersion     = 2
	hubVoucherVersion = 3
)

func openVoucher(value []byte) (zonegate.Voucher, error) {
	d, version := unsealAny(value, hubVoucherVersion)
	v := zonegate.Voucher{
		Key: d.key(), Plan: d.ref(), Batch: d.string(), Site: d.string(),
		Expires: d.time(), Revoked: d.bool(), Grant: d.grant(),
	}
	switch version {
	case ticketVersion:
		v.Secret = d.string()
	case hubVoucherVersion:
		v.Hub, v.Purchase, v.Twin = true, d.string(), d.key()
	}
	return v, d.end()
}

func grantKey(id zonegate.GrantID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

func grantSection(g zonegate.Grant) byte {
	if g.State.Ended() {
		return sectionEndedGrant
	}
	return sectionLiveGrant
}

func sealGrant(g zonegate.Grant) []byte {
	e := &encoder{}
	e.uint(uint64(g.ID))
	e.string(g.Source.Kind)
	e.string(g.Source.Ref)
	e.ref(g.Plan)
	e.uint(uint64(g.State))
	e.uint(uint64(len(g.Devices)))
	for _, m := range g.Devices {
		e.raw(m[:])
	}
	e.uint(g.Cap)
	e.octets(g.Used)
	e.uint(uint64(g.Time))
	e.bool(g.Running)
	e.int(int64(g.EndsAt))
	e.int(int64(g.TimeLeft))
	e.time(g.Issued)
	e.time(g.Started)
	e.int(int64(g.Moved))
	e.bool(g.EverMoved)
	return seal(entityVersion, e.b)
}

func openGrant(value []byte) (zonegate.Grant, error) {
	d := unseal(entityVersion, value)
	g := zonegate.Grant{
		ID: d.grant(), Source: zonegate.Source{Kind: d.string(), Ref: d.string()},
		Plan: d.ref(), State: zonegate.GrantState(d.uint()),
	}
	n := d.count()
	for i := 0; i < n && d.err == nil; i++ {
		g.Devices = append(g.Devices, d.mac())
	}
	g.Cap, g.Used, g.Time = d.uint(), d.octets(), zonegate.TimePolicy(d.uint())
	g.Running, g.EndsAt, g.TimeLeft = d.bool(), time.Duration(d.int()), time.Duration(d.int())
	g.Issued, g.Started = d.time(), d.time()
	g.Moved, g.EverMoved = time.Duration(d.int()), d.bool()
	return g, d.end()
}

func sessionKey(id zonegate.SessionID) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(id))
}

func sealSession(s zonegate.Session) []byte {
	e := &encoder{}
	e.uint(uint64(s.ID))
	e.uint(uint64(s.Grant))
	e.raw(s.Device[:])
	e.string(s.Path)
	e.octets(s.Octets)
	e.bool(s.Stopped)
	e.terms(s.Terms)
	e.string(s.Key)
	e.string(s.Handle)
	e.int(int64(s.Opened))
	e.bool(s.Lost)
	e.bool(s.Over)
	return seal(sessionVersion, e.b)
}

// sessionVersion is the present form of a session. Version 1 ends before the
// terms.
const sessionVersion = 2

func openSession(value []byte) (zonegate.Session, error) {
	d, version := unsealAny(value, sessionVersion)
	s := zonegate.Session{
		ID: d.session(), Grant: d.grant(), Device: d.mac(), Path: d.string(),
		Octets: d.octets(), Stopped: d.bool(),
	}
	if version > 1 {
		s.Terms, s.Key, s.Handle = d.terms(), d.string(), d.string()
		s.Opened, s.Lost, s.Over = time.Duration(d.int()), d.bool(), d.bool()
	}
	return s, d.end()
}

func salesKey(s zonegate.DaySales) []byte {
	return []byte(s.Day + "\x00" + s.Plan + "\x00" + s.Total.Currency)
}

func sealSales(s zonegate.DaySales) []byte {
	e := &encoder{}
	e.string(s.Day)
	e.string(s.Plan)
	e.uint(s.Count)
	e.int(s.Total.Amount)
	e.string(s.Total.Currency)
	return seal(entityVersion, e.b)
}

func openSales(value []byte) (zonegate.DaySales, error) {
	d := unseal(entityVersion, value)
	s := zonegate.DaySales{
		Day: d.string(), Plan: d.string(), Count: d.uint(),
		Total: zonegate.Money{Amount: d.int(), Currency: d.string()},
	}
	return s, d.end()
}

// meta is the domain's meta and the place in the journal's chain.
type meta struct {
	zonegate.Meta
	hash [16]byte
}

func sealMeta(m meta) []byte {
	e := &encoder{}
	e.uint(m.Seq)
	e.raw(m.hash[:])
	e.raw(m.Key[:])
	e.uint(uint64(m.LastGrant))
	e.uint(uint64(m.LastSession))
	c := m.Clock
	e.int(int64(c.Calendar))
	e.int(int64(c.Online))
	e.instant(c.Last)
	e.time(c.Anchor)
	e.int(int64(c.AnchorAt))
	e.string(c.AnchorBoot)
	if m.Hub == (zonegate.HubLink{}) && m.FormerKey == (zonegate.ZoneKey{}) && m.LastEntry == 0 {
		return seal(entityVersion, e.b)
	}
	e.link(m.Hub)
	e.raw(m.FormerKey[:])
	e.uint(m.LastEntry)
	e.uint(m.Delivered)
	return seal(hubVersion, e.b)
}

func openMeta(value []byte) (meta, error) {
	d, version := unsealAny(value, hubVersion)
	var m meta
	m.Seq = d.uint()
	d.raw(m.hash[:])
	d.raw(m.Key[:])
	m.LastGrant, m.LastSession = d.grant(), d.session()
	m.Clock = zonegate.ServiceClock{
		Calendar: time.Duration(d.int()), Online: time.Duration(d.int()), Last: d.instant(),
		Anchor: d.time(), AnchorAt: time.Duration(d.int()), AnchorBoot: d.string(),
	}
	if version == hubVersion {
		m.Hub, m.FormerKey, m.LastEntry, m.Delivered = d.link(), d.zoneKey(), d.uint(), d.uint()
	}
	return m, d.end()
}

func entryKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func sealEntry(v zonegate.Entry) []byte {
	e := &encoder{}
	e.uint(v.N)
	e.time(v.At)
	e.uint(uint64(v.Kind))
	e.uint(uint64(v.Grant))
	e.string(v.Source.Kind)
	e.string(v.Source.Ref)
	e.bool(v.HubCode)
	e.string(v.Batch)
	e.ref(v.Plan)
	e.int(v.Price.Amount)
	e.string(v.Price.Currency)
	e.raw(v.Device[:])
	e.uint(uint64(v.State))
	e.octets(v.Used)
	e.uint(v.Octets)
	e.int(int64(v.Time))
	e.uint(uint64(v.Count))
	return seal(entityVersion, e.b)
}

func openEntry(value []byte) (zonegate.Entry, error) {
	d := unseal(entityVersion, value)
	v := zonegate.Entry{
		N: d.uint(), At: d.time(), Kind: zonegate.EntryKind(d.uint()), Grant: d.grant(),
		Source:  zonegate.Source{Kind: d.string(), Ref: d.string()},
		HubCode: d.bool(), Batch: d.string(), Plan: d.ref(),
		Price:  zonegate.Money{Amount: d.int(), Currency: d.string()},
		Device: d.mac(), State: zonegate.GrantState(d.uint()), Used: d.octets(),
		Octets: d.uint(), Time: time.Duration(d.int()), Count: int(d.uint()),
	}
	return v, d.end()
}

func sealSetting(name, value string) []byte {
	e := &encoder{}
	e.string(name)
	e.string(value)
	return seal(entityVersion, e.b)
}

func openSetting(value []byte) (name, text string, err error) {
	d := unseal(entityVersion, value)
	name, text = d.string(), d.string()
	return name, text, d.end()
}

func sealIntent(in zonegate.Intent) []byte {
	e := &encoder{}
	e.raw(in.ID[:])
	e.wish(&zonegate.IntentMade{
		Device: in.Device, NAS: in.NAS, Plan: in.Plan, Price: in.Price, Channel: in.Channel, Phone: in.Phone, Claim: in.Claim,
	})
	e.int(int64(in.Opened))
	e.time(in.Made)
	e.news(in.News)
	e.string(in.Purchase)
	return seal(entityVersion, e.b)
}

func openIntent(value []byte) (zonegate.Intent, error) {
	d := unseal(entityVersion, value)
	w := d.wish(d.intentID())
	in := zonegate.Intent{
		ID: w.ID, Device: w.Device, NAS: w.NAS, Plan: w.Plan, Price: w.Price, Channel: w.Channel, Phone: w.Phone, Claim: w.Claim,
		Opened: time.Duration(d.int()), Made: d.time(), News: d.news(), Purchase: d.string(),
	}
	return in, d.end()
}

// An entry is one stored entity.
type entry struct {
	section    byte
	key, value []byte
	// not is the section the entity must not be in (any more); zero for none.
	not byte
}

// goneEntry says whether an entry with this key is not held any more.
func goneEntry(m *zonegate.Meta, key []byte) bool {
	n := binary.BigEndian.Uint64(key)
	return n <= m.Delivered || n > m.LastEntry
}

// entries returns the stored form of changes, without their meta.
func entries(c zonegate.Changes) []entry {
	var out []entry
	for _, p := range c.Plans {
		out = append(out, entry{section: sectionPlan, key: planKey(p.Ref()), value: sealPlan(p)})
	}
	for _, v := range c.Vouchers {
		s := voucherSection(v)
		out = append(out, entry{s, append([]byte(nil), v.Key[:]...), sealVoucher(v), sectionUnused + sectionUsed - s})
	}
	for _, g := range c.Grants {
		s := grantSection(g)
		out = append(out, entry{s, grantKey(g.ID), sealGrant(g), sectionLiveGrant + sectionEndedGrant - s})
	}
	for _, s := range c.Sessions {
		out = append(out, entry{section: sectionSession, key: sessionKey(s.ID), value: sealSession(s)})
	}
	for _, id := range c.Closed {
		out = append(out, entry{key: sessionKey(id), not: sectionSession})
	}
	for _, s := range c.Sales {
		out = append(out, entry{section: sectionSales, key: salesKey(s), value: sealSales(s)})
	}
	for name, value := range c.Settings {
		out = append(out, entry{section: sectionSetting, key: []byte(name), value: sealSetting(name, value)})
	}
	for _, in := range c.Intents {
		out = append(out, entry{section: sectionIntent, key: append([]byte(nil), in.ID[:]...), value: sealIntent(in)})
	}
	for _, id := range c.Dropped {
		out = append(out, entry{key: append([]byte(nil), id[:]...), not: sectionIntent})
	}
	for _, v := range c.Entries {
		out = append(out, entry{section: sectionEntry, key: entryKey(v.N), value: sealEntry(v)})
	}
	return out
}

// add decodes an entry into changes.
func add(c *zonegate.Changes, m *meta, section byte, value []byte) error {
	var err error
	switch section {
	case sectionMeta:
		*m, err = openMeta(value)
		c.Meta = m.Meta
	case sectionPlan:
		var p zonegate.Plan
		p, err = openPlan(value)
		c.Plans = append(c.Plans, p)
	case sectionUnused, sectionUsed:
		var v zonegate.Voucher
		v, err = openVoucher(value)
		c.Vouchers = append(c.Vouchers, v)
	case sectionLiveGrant, sectionEndedGrant:
		var g zonegate.Grant
		g, err = openGrant(value)
		c.Grants = append(c.Grants, g)
	case sectionSession:
		var s zonegate.Session
		s, err = openSession(value)
		c.Sessions = append(c.Sessions, s)
	case sectionSales:
		var s zonegate.DaySales
		s, err = openSales(value)
		c.Sales = append(c.Sales, s)
	case sectionSetting:
		var name, text string
		name, text, err = openSetting(value)
		if c.Settings == nil {
			c.Settings = map[string]string{}
		}
		c.Settings[name] = text
	case sectionEntry:
		var v zonegate.Entry
		v, err = openEntry(value)
		c.Entries = append(c.Entries, v)
	case sectionIntent:
		var in zonegate.Intent
		in, err = openIntent(value)
		c.Intents = append(c.Intents, in)
	default:
		return errFormat
	}
	return err
}
