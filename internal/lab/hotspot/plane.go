package hotspot

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"zonegate"
	"zonegate/shaper/kernel/nft"
)

const (
	tableName = "hotspot"
	// seenFor is how long the kernel remembers that a device has sent, which is
	// read long before.
	seenFor = time.Minute
	// endless is a quota that only counts.
	endless = 1 << 62
	// burst is beside the second that the kernel adds to every byte limit.
	burst = 80 << 10

	prioPower = -300 // before everything
	prioNAT   = -105
	prioGate  = 0
)

var (
	// setSeen holds who has sent since it was last read.
	setSeen = &nft.Set{Table: tableName, Name: "seen", Key: []nft.DataType{nft.TypeEther, nft.TypeIPv4}, Dynamic: true, Timeout: seenFor}
	// setActive holds who may send, and setAddress who may receive.
	setActive  = &nft.Set{Table: tableName, Name: "active", Key: []nft.DataType{nft.TypeEther, nft.TypeIPv4}}
	setAddress = &nft.Set{Table: tableName, Name: "address", Key: []nft.DataType{nft.TypeIPv4}}
	// What counts a device's octets, and what bounds its rates.
	setCountUp   = &nft.Set{Table: tableName, Name: "countup", Key: []nft.DataType{nft.TypeIPv4}, Object: nft.ObjQuota}
	setCountDown = &nft.Set{Table: tableName, Name: "countdown", Key: []nft.DataType{nft.TypeIPv4}, Object: nft.ObjQuota}
	setLimitUp   = &nft.Set{Table: tableName, Name: "limitup", Key: []nft.DataType{nft.TypeIPv4}, Object: nft.ObjLimit}
	setLimitDown = &nft.Set{Table: tableName, Name: "limitdown", Key: []nft.DataType{nft.TypeIPv4}, Object: nft.ObjLimit}
)

// A plane is the kernel's part of the router. It is not safe for concurrent
// use.
type plane struct {
	conn    *nft.Conn
	passing map[netip.Addr]*passing
	made    int // objects, so that no name is used twice
}

// A passing device is one that the kernel lets through.
type passing struct {
	mac          zonegate.MAC
	addr         netip.Addr
	name         string // of its quotas, before "u" and "d"
	limits       string // of its limits; empty for none
	rates        rates
	up, down     uint64 // counted so far
	toUp, toDown uint64 // of that, what the simulation has
}

// rates of a device in bit/s; zero is no bound.
type rates struct{ up, down uint64 }

func (r rates) parts() [2]uint64 { return [2]uint64{r.up, r.down} }

// openPlane loads the rules: nobody passes yet.
func openPlane(o Options) (*plane, error) {
	conn, err := nft.Dial()
	if err != nil {
		return nil, err
	}
	var b nft.Batch
	b.AddTable(nft.Table{Name: tableName, Flags: nft.Owner})
	for _, s := range []*nft.Set{setSeen, setActive, setAddress, setCountUp, setCountDown, setLimitUp, setLimitDown} {
		b.AddSet(s)
	}
	for _, c := range []nft.Chain{
		{Table: tableName, Name: "power", Type: nft.Filter, Hook: nft.Prerouting, Priority: prioPower, Policy: nft.PolicyAccept},
		{Table: tableName, Name: "notice", Type: nft.Filter, Hook: nft.Prerouting, Priority: prioPower + 1, Policy: nft.PolicyAccept},
		{Table: tableName, Name: "servlet", Type: nft.NAT, Hook: nft.Prerouting, Priority: prioNAT, Policy: nft.PolicyAccept},
		{Table: tableName, Name: "input", Type: nft.Filter, Hook: nft.Input, Priority: prioGate, Policy: nft.PolicyAccept},
		{Table: tableName, Name: "forward", Type: nft.Filter, Hook: nft.Forward, Priority: prioGate, Policy: nft.PolicyAccept},
		{Table: tableName, Name: "sent"}, {Table: tableName, Name: "received"}, {Table: tableName, Name: "unauth"},
	} {
		b.AddChain(c)
	}
	rule := func(chain string, exprs ...nft.Expr) { b.AddRule(tableName, chain, "", exprs...) }
	from, to := nft.IIFName(o.LAN), nft.OIFName(o.LAN)
	// The key of a device, at R2: its MAC, padded to eight octets, and address.
	device := nft.Seq(nft.LoadEtherSaddr(nft.R2), nft.LoadIPv4Saddr(nft.R32(6)))
	portal := netip.PrefixFrom(o.Portal.Addr(), 32)

	rule("notice", from, nft.Saddr(o.Network), device, nft.UpdateSet(setSeen.Name, nft.R2, 0))

	// As RouterOS does: the hotspot's own web server is behind a redirection,
	// for everybody at the hotspot's address and for strangers everywhere.
	own := nft.Daddr(netip.PrefixFrom(o.Address, 32))
	rule("servlet", from, own, nft.TCPDport(80), nft.Redirect(o.Servlet))
	rule("servlet", from, nft.Daddr(portal), nft.Accept())
	rule("servlet", from, nft.IsIPv4(), nft.TCPDport(80), device, nft.LookupNot(setActive.Name, nft.R2), nft.Redirect(o.Servlet))

	// The set-up script's rule for the management ports.
	rule("input", from, nft.TCPDport(o.API.Port()), nft.RejectTCPReset())

	rule("forward", from, nft.Goto("sent"))
	rule("forward", to, nft.Goto("received"))

	// IPv6 would go around the hotspot.
	rule("sent", nft.IsIPv6(), nft.Goto("unauth"))
	rule("sent", nft.Daddr(portal), nft.TCPDport(o.Portal.Port()), nft.Accept())
	rule("sent", device, nft.LookupNot(setActive.Name, nft.R2), nft.Goto("unauth"))
	rule("sent", nft.LoadIPv4Saddr(nft.R1), nft.ObjectMap(setLimitUp.Name, nft.R1), nft.Drop())
	rule("sent", nft.LoadIPv4Saddr(nft.R1), nft.ObjectMap(setCountUp.Name, nft.R1))

	rule("received", nft.IsIPv6(), nft.Drop())
	rule("received", nft.Saddr(portal), nft.L4Proto(nft.TCP), nft.CTState(nft.StateEstablished), nft.Accept())
	rule("received", nft.LoadIPv4Daddr(nft.R1), nft.LookupNot(setAddress.Name, nft.R1), nft.Drop())
	rule("received", nft.LoadIPv4Daddr(nft.R1), nft.ObjectMap(setLimitDown.Name, nft.R1), nft.Drop())
	rule("received", nft.LoadIPv4Daddr(nft.R1), nft.ObjectMap(setCountDown.Name, nft.R1))

	rule("unauth", nft.L4Proto(nft.TCP), nft.RejectTCPReset())
	rule("unauth", nft.Reject(nft.AdminProhibited))
	if err := conn.Commit(&b); err != nil {
		return nil, errors.Join(fmt.Errorf("loading the hotspot's rules: %w", err), conn.Close())
	}
	return &plane{conn: conn, passing: make(map[netip.Addr]*passing)}, nil
}

// power drops every packet, or none, as a router without power does.
func (p *plane) power(on bool) error {
	var b nft.Batch
	b.FlushChain(tableName, "power")
	if !on {
		b.AddRule(tableName, "power", "the router is off", nft.NotIIFName("lo"), nft.Drop())
	}
	return p.conn.Commit(&b)
}

// A place is where a device was seen.
type place struct {
	mac  zonegate.MAC
	addr netip.Addr
}

// seen returns the devices that have sent since it was last called.
func (p *plane) seen() ([]place, error) {
	list, err := p.conn.Elements(tableName, setSeen.Name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	// What comes in between says so again with its next packet.
	var b nft.Batch
	b.FlushSet(tableName, setSeen.Name)
	if err := p.conn.Commit(&b); err != nil {
		return nil, err
	}
	places := make([]place, 0, len(list))
	for _, e := range list {
		if len(e.Key) < 12 {
			return nil, fmt.Errorf("reading who has sent: a key of %d octets", len(e.Key))
		}
		addr, _ := netip.AddrFromSlice(e.Key[8:12])
		places = append(places, place{mac: zonegate.MAC(e.Key[:6]), addr: addr})
	}
	return places, nil
}

// count reads what has passed.
func (p *plane) count() error {
	if len(p.passing) == 0 {
		return nil
	}
	quotas, err := p.conn.Quotas(tableName)
	if err != nil {
		return err
	}
	used := make(map[string]uint64, len(quotas))
	for _, q := range quotas {
		used[q.Name] = q.Consumed
	}
	for _, x := range p.passing {
		x.up, x.down = max(x.up, used[x.name+"u"]), max(x.down, used[x.name+"d"])
	}
	return nil
}

// let makes exactly these devices pass, at these rates.
func (p *plane) let(want map[netip.Addr]passing) error {
	var b nft.Batch
	for addr, x := range p.passing {
		if w, ok := want[addr]; ok && w.mac == x.mac {
			continue
		}
		p.stop(&b, x)
		delete(p.passing, addr)
	}
	for addr, w := range want {
		x := p.passing[addr]
		if x == nil {
			p.made++
			x = &passing{mac: w.mac, addr: addr, name: fmt.Sprintf("q%d", p.made)}
			p.passing[addr] = x
			key := nft.Addr(addr)
			b.AddQuota(tableName, x.name+"u", endless, 0, true)
			b.AddQuota(tableName, x.name+"d", endless, 0, true)
			b.AddElements(setCountUp, nft.Element{Key: key, Object: x.name + "u"})
			b.AddElements(setCountDown, nft.Element{Key: key, Object: x.name + "d"})
			p.bound(&b, x, w.rates)
			b.AddElements(setActive, nft.Element{Key: nft.Concat(nft.HW(x.mac), key)})
			b.AddElements(setAddress, nft.Element{Key: key})
		} else if x.rates != w.rates {
			p.bound(&b, x, w.rates)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return p.conn.Commit(&b)
}

func (p *plane) stop(b *nft.Batch, x *passing) {
	key := nft.Addr(x.addr)
	b.DelElements(setActive, nft.Element{Key: nft.Concat(nft.HW(x.mac), key)})
	b.DelElements(setAddress, nft.Element{Key: key})
	p.bound(b, x, rates{})
	b.DelElements(setCountUp, nft.Element{Key: key})
	b.DelElements(setCountDown, nft.Element{Key: key})
	b.DelQuota(tableName, x.name+"u")
	b.DelQuota(tableName, x.name+"d")
}

// bound gives a device other rates.
func (p *plane) bound(b *nft.Batch, x *passing, to rates) {
	key, names, old := nft.Addr(x.addr), x.limits, x.rates.parts()
	p.made++
	x.limits, x.rates = fmt.Sprintf("l%d", p.made), to
	for i, s := range []*nft.Set{setLimitUp, setLimitDown} {
		suffix := []string{"u", "d"}[i]
		if old[i] != 0 {
			b.DelElements(s, nft.Element{Key: key})
			b.DelLimit(tableName, names+suffix)
		}
		if rate := to.parts()[i]; rate != 0 {
			b.AddLimit(tableName, nft.Limit{Name: x.limits + suffix, Rate: max(rate/8, 1000), Burst: burst, Over: true})
			b.AddElements(s, nft.Element{Key: key, Object: x.limits + suffix})
		}
	}
}
