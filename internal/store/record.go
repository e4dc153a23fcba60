package store

import (
	"fmt"
	"time"

	"zonegate"
)

// The journal's form of the domain's records. A payload is the format version,
// the instant, the number of events, and each event as its kind and fields.
// Kinds are never renumbered and their fields never change: a new form gets a
// new kind, and the old one stays readable.
const recordVersion = 1

const (
	kindZoneFounded     = 1
	kindPlanSet         = 2
	kindVouchersAdded   = 3
	kindVoucherRevoked  = 4
	kindGrantIssued     = 5
	kindGrantActivated  = 6
	kindDeviceAdded     = 7
	kindGrantMoved      = 8
	kindToppedUp        = 9
	kindGrantReplanned  = 10
	kindGrantEnded      = 11
	kindSessionOpened   = 12
	kindSessionStopped  = 13
	kindSessionClosed   = 14
	kindUsageCounted    = 15
	kindSessionAdmitted = 16 // SessionOpened with terms
	kindSessionReported = 17
	kindSessionTold     = 18
	kindSessionLost     = 19
	kindSessionResumed  = 20
	kindSessionOver     = 21
	kindTicketsAdded    = 22 // VouchersAdded with passwords
	kindHubPlanSet      = 23 // PlanSet of the hub
	kindBatchAdded      = 24 // VouchersAdded of the hub
	kindHubLinked       = 25
	kindHubApplied      = 26
	kindDelivered       = 27
	kindPurchaseAdded   = 28
	kindBatchRevoked    = 29
	kindSettingSet      = 30
	kindIntentMade      = 31
	kindIntentTold      = 32
)

func encodeRecord(r zonegate.Record) ([]byte, error) {
	e := &encoder{b: make([]byte, 0, 128)}
	e.uint(recordVersion)
	e.instant(r.At)
	e.uint(uint64(len(r.Events)))
	for _, event := range r.Events {
		if err := e.event(event); err != nil {
			return nil, err
		}
	}
	return e.b, nil
}

func decodeRecord(seq uint64, payload []byte) (zonegate.Record, error) {
	d := &decoder{b: payload}
	if v := d.uint(); d.err == nil && v != recordVersion {
		d.fail(fmt.Sprintf("record version %d", v))
	}
	r := zonegate.Record{Seq: seq, At: d.instant()}
	n := d.count()
	for i := 0; i < n && d.err == nil; i++ {
		r.Events = append(r.Events, d.event())
	}
	if err := d.end(); err != nil {
		return zonegate.Record{}, fmt.Errorf("reading record %d: %w", seq, err)
	}
	return r, nil
}

func (e *encoder) instant(i zonegate.Instant) {
	e.string(i.Boot)
	e.int(int64(i.Mono))
	e.time(i.Wall)
	e.bool(i.Trusted)
}

func (d *decoder) instant() zonegate.Instant {
	return zonegate.Instant{Boot: d.string(), Mono: time.Duration(d.int()), Wall: d.time(), Trusted: d.bool()}
}

func (e *encoder) ref(r zonegate.PlanRef) { e.string(r.ID); e.uint(uint64(r.Version)) }

func (d *decoder) ref() zonegate.PlanRef {
	return zonegate.PlanRef{ID: d.string(), Version: uint32(d.uint())}
}

func (e *encoder) terms(t zonegate.Terms) {
	e.ref(t.Plan)
	e.uint(t.Limit)
	e.int(int64(t.Ends))
}

func (d *decoder) terms() zonegate.Terms {
	return zonegate.Terms{Plan: d.ref(), Limit: d.uint(), Ends: time.Duration(d.int())}
}

func (e *encoder) link(l zonegate.HubLink) {
	e.string(l.Hub)
	e.string(l.Site)
	e.string(l.Gateway)
	e.raw(l.CodeKey[:])
	e.uint(l.Applied)
	e.bool(l.Revoked)
}

func (d *decoder) link() zonegate.HubLink {
	return zonegate.HubLink{
		Hub: d.string(), Site: d.string(), Gateway: d.string(), CodeKey: d.zoneKey(),
		Applied: d.uint(), Revoked: d.bool(),
	}
}

func (d *decoder) zoneKey() (k zonegate.ZoneKey) { d.raw(k[:]); return k }

func (e *encoder) event(event zonegate.Event) error {
	switch v := event.(type) {
	case zonegate.ZoneFounded:
		e.uint(kindZoneFounded)
		e.raw(v.Key[:])
	case zonegate.PlanSet:
		if v.Plan.Hub == "" {
			e.uint(kindPlanSet)
			e.plan(v.Plan)
			break
		}
		e.uint(kindHubPlanSet)
		e.plan(v.Plan)
		e.string(v.Plan.Hub)
	case zonegate.VouchersAdded:
		kind := uint64(kindVouchersAdded)
		switch {
		case v.Hub:
			kind = kindBatchAdded
		case len(v.Secrets) > 0:
			kind = kindTicketsAdded
		}
		e.uint(kind)
		e.string(v.Batch)
		e.ref(v.Plan)
		e.string(v.Site)
		e.time(v.Expires)
		e.uint(uint64(len(v.Keys)))
		for i, k := range v.Keys {
			e.raw(k[:])
			if kind == kindTicketsAdded {
				e.string(v.Secrets[i])
			}
		}
	case zonegate.VoucherRevoked:
		e.uint(kindVoucherRevoked)
		e.raw(v.Key[:])
	case zonegate.GrantIssued:
		e.uint(kindGrantIssued)
		e.uint(uint64(v.Grant))
		e.string(v.Source.Kind)
		e.string(v.Source.Ref)
		e.raw(v.Voucher[:])
		e.ref(v.Plan)
		e.raw(v.Device[:])
	case zonegate.GrantActivated:
		e.uint(kindGrantActivated)
		e.uint(uint64(v.Grant))
	case zonegate.DeviceAdded:
		e.uint(kindDeviceAdded)
		e.uint(uint64(v.Grant))
		e.raw(v.Device[:])
	case zonegate.GrantMoved:
		e.uint(kindGrantMoved)
		e.uint(uint64(v.Grant))
		e.raw(v.From[:])
		e.raw(v.To[:])
	case zonegate.ToppedUp:
		e.uint(kindToppedUp)
		e.uint(uint64(v.Grant))
		e.uint(v.Octets)
		e.int(int64(v.Time))
	case zonegate.GrantReplanned:
		e.uint(kindGrantReplanned)
		e.uint(uint64(v.Grant))
		e.ref(v.Plan)
	case zonegate.GrantEnded:
		e.uint(kindGrantEnded)
		e.uint(uint64(v.Grant))
		e.uint(uint64(v.State))
	case zonegate.SessionOpened:
		kind := uint64(kindSessionOpened)
		if v.Terms != (zonegate.Terms{}) {
			kind = kindSessionAdmitted
		}
		e.uint(kind)
		e.uint(uint64(v.Session))
		e.uint(uint64(v.Grant))
		e.raw(v.Device[:])
		e.string(v.Path)
		if kind == kindSessionAdmitted {
			e.terms(v.Terms)
		}
	case zonegate.SessionReported:
		e.uint(kindSessionReported)
		e.uint(uint64(v.Session))
		e.string(v.Key)
		e.string(v.Handle)
	case zonegate.SessionTold:
		e.uint(kindSessionTold)
		e.uint(uint64(v.Session))
		e.terms(v.Terms)
	case zonegate.SessionLost:
		e.uint(kindSessionLost)
		e.uint(uint64(v.Session))
	case zonegate.SessionResumed:
		e.uint(kindSessionResumed)
		e.uint(uint64(v.Session))
	case zonegate.SessionOver:
		e.uint(kindSessionOver)
		e.uint(uint64(v.Session))
		e.octets(v.Octets)
	case zonegate.SessionStopped:
		e.uint(kindSessionStopped)
		e.uint(uint64(v.Session))
	case zonegate.SessionClosed:
		e.uint(kindSessionClosed)
		e.uint(uint64(v.Session))
		e.octets(v.Octets)
	case zonegate.UsageCounted:
		e.uint(kindUsageCounted)
		e.uint(uint64(len(v.Sessions)))
		for _, s := range v.Sessions {
			e.uint(uint64(s.Session))
			e.octets(s.Octets)
		}
	case zonegate.HubLinked:
		e.uint(kindHubLinked)
		e.link(v.Link)
		e.uint(v.Next)
	case zonegate.HubApplied:
		e.uint(kindHubApplied)
		e.uint(v.Seq)
	case zonegate.EntriesDelivered:
		e.uint(kindDelivered)
		e.uint(v.Through)
	case zonegate.PurchaseAdded:
		e.uint(kindPurchaseAdded)
		e.string(v.Purchase)
		e.ref(v.Plan)
		e.time(v.Expires)
		e.raw(v.Key[:])
		e.raw(v.Claim[:])
	case zonegate.BatchRevoked:
		e.uint(kindBatchRevoked)
		e.string(v.Batch)
	case zonegate.SettingSet:
		e.uint(kindSettingSet)
		e.string(v.Name)
		e.string(v.Value)
	case zonegate.IntentMade:
		e.uint(kindIntentMade)
		e.raw(v.ID[:])
		e.wish(&v)
	case zonegate.IntentTold:
		e.uint(kindIntentTold)
		e.raw(v.ID[:])
		e.news(v.News)
		e.string(v.Purchase)
	default:
		return fmt.Errorf("the journal has no form for a %T", event)
	}
	return nil
}

func (d *decoder) grant() zonegate.GrantID     { return zonegate.GrantID(d.uint()) }
func (d *decoder) session() zonegate.SessionID { return zonegate.SessionID(d.uint()) }

func (d *decoder) mac() (m zonegate.MAC) { d.raw(m[:]); return m }

func (d *decoder) intentID() (id zonegate.IntentID) { d.raw(id[:]); return id }

// A wish is what an intent is from its beginning, without its id.
func (e *encoder) wish(v *zonegate.IntentMade) {
	e.raw(v.Device[:])
	e.string(v.NAS)
	e.ref(v.Plan)
	e.int(v.Price.Amount)
	e.string(v.Price.Currency)
	e.string(v.Channel)
	e.string(v.Phone)
	e.raw(v.Claim[:])
}

func (d *decoder) wish(id zonegate.IntentID) zonegate.IntentMade {
	return zonegate.IntentMade{
		ID: id, Device: d.mac(), NAS: d.string(), Plan: d.ref(),
		Price:   zonegate.Money{Amount: d.int(), Currency: d.string()},
		Channel: d.string(), Phone: d.string(), Claim: d.key(),
	}
}

func (e *encoder) news(n zonegate.News) {
	e.uint(uint64(n.State))
	e.string(n.Transaction)
	e.string(n.Flow)
	e.string(n.URL)
	e.string(n.Reason)
	e.bool(n.Unsure)
}

func (d *decoder) news() zonegate.News {
	state := d.uint()
	if state > uint64(zonegate.IntentRefunded) {
		d.fail("payment state")
		state = 0
	}
	return zonegate.News{
		State: zonegate.IntentState(state), Transaction: d.string(), Flow: d.string(), URL: d.string(),
		Reason: d.string(), Unsure: d.bool(),
	}
}

func (d *decoder) key() (k zonegate.VoucherKey) { d.raw(k[:]); return k }

// event reads one event. Composite literals evaluate their fields in the order
// written, which is the order of the encoder.
func (d *decoder) event() zonegate.Event {
	switch kind := d.uint(); kind {
	case kindZoneFounded:
		var v zonegate.ZoneFounded
		d.raw(v.Key[:])
		return v
	case kindPlanSet:
		return zonegate.PlanSet{Plan: d.plan()}
	case kindHubPlanSet:
		p := d.plan()
		p.Hub = d.string()
		return zonegate.PlanSet{Plan: p}
	case kindVouchersAdded, kindTicketsAdded, kindBatchAdded:
		v := zonegate.VouchersAdded{Batch: d.string(), Plan: d.ref(), Site: d.string(), Expires: d.time(), Hub: kind == kindBatchAdded}
		n := d.count()
		for i := 0; i < n && d.err == nil; i++ {
			v.Keys = append(v.Keys, d.key())
			if kind == kindTicketsAdded {
				v.Secrets = append(v.Secrets, d.string())
			}
		}
		return v
	case kindVoucherRevoked:
		return zonegate.VoucherRevoked{Key: d.key()}
	case kindGrantIssued:
		return zonegate.GrantIssued{
			Grant:   d.grant(),
			Source:  zonegate.Source{Kind: d.string(), Ref: d.string()},
			Voucher: d.key(), Plan: d.ref(), Device: d.mac(),
		}
	case kindGrantActivated:
		return zonegate.GrantActivated{Grant: d.grant()}
	case kindDeviceAdded:
		return zonegate.DeviceAdded{Grant: d.grant(), Device: d.mac()}
	case kindGrantMoved:
		return zonegate.GrantMoved{Grant: d.grant(), From: d.mac(), To: d.mac()}
	case kindToppedUp:
		return zonegate.ToppedUp{Grant: d.grant(), Octets: d.uint(), Time: time.Duration(d.int())}
	case kindGrantReplanned:
		return zonegate.GrantReplanned{Grant: d.grant(), Plan: d.ref()}
	case kindGrantEnded:
		v := zonegate.GrantEnded{Grant: d.grant(), State: zonegate.GrantState(d.uint())}
		if !v.State.Ended() || v.State > zonegate.Revoked {
			d.fail("grant state")
		}
		return v
	case kindSessionOpened:
		return zonegate.SessionOpened{Session: d.session(), Grant: d.grant(), Device: d.mac(), Path: d.string()}
	case kindSessionAdmitted:
		return zonegate.SessionOpened{Session: d.session(), Grant: d.grant(), Device: d.mac(), Path: d.string(), Terms: d.terms()}
	case kindSessionReported:
		return zonegate.SessionReported{Session: d.session(), Key: d.string(), Handle: d.string()}
	case kindSessionTold:
		return zonegate.SessionTold{Session: d.session(), Terms: d.terms()}
	case kindSessionLost:
		return zonegate.SessionLost{Session: d.session()}
	case kindSessionResumed:
		return zonegate.SessionResumed{Session: d.session()}
	case kindSessionOver:
		return zonegate.SessionOver{Session: d.session(), Octets: d.octets()}
	case kindSessionStopped:
		return zonegate.SessionStopped{Session: d.session()}
	case kindSessionClosed:
		return zonegate.SessionClosed{Session: d.session(), Octets: d.octets()}
	case kindUsageCounted:
		n := d.count()
		v := zonegate.UsageCounted{}
		for i := 0; i < n && d.err == nil; i++ {
			v.Sessions = append(v.Sessions, zonegate.SessionOctets{Session: d.session(), Octets: d.octets()})
		}
		return v
	case kindHubLinked:
		return zonegate.HubLinked{Link: d.link(), Next: d.uint()}
	case kindHubApplied:
		return zonegate.HubApplied{Seq: d.uint()}
	case kindDelivered:
		return zonegate.EntriesDelivered{Through: d.uint()}
	case kindPurchaseAdded:
		return zonegate.PurchaseAdded{
			Purchase: d.string(), Plan: d.ref(), Expires: d.time(), Key: d.key(), Claim: d.key(),
		}
	case kindBatchRevoked:
		return zonegate.BatchRevoked{Batch: d.string()}
	case kindSettingSet:
		return zonegate.SettingSet{Name: d.string(), Value: d.string()}
	case kindIntentMade:
		return d.wish(d.intentID())
	case kindIntentTold:
		return zonegate.IntentTold{ID: d.intentID(), News: d.news(), Purchase: d.string()}
	default:
		d.fail(fmt.Sprintf("event kind %d", kind))
		return nil
	}
}
