package kernel

import (
	"net/netip"
	"time"

	"zonegate/shaper/kernel/nft"
)

const (
	tableName = "zonegate"

	// majorDown and majorUp are the HTB handles on the LAN and the WANs.
	majorDown uint16 = 1
	majorUp   uint16 = 2

	// rootMinor is the class of the whole link, above all others.
	rootMinor uint16 = 1
	// firstMinor to lastMinor are for customers.
	firstMinor uint16 = 2
	lastMinor  uint16 = 0xfffc
	// gardenMinor is the class of what strangers may reach.
	gardenMinor uint16 = 0xfffd
	// localMinor is the default class: what the gateway itself sends, and what
	// it forwards for others.
	localMinor uint16 = 0xfffe

	// Priorities of our chains. Conntrack is at -200, fw4's destination NAT at
	// -100, its filter at 0.
	prioIdentify = -160
	prioPortal   = -105
	prioGate     = -10
	prioMeter    = 10

	// A stranger's questions to the name server.
	askRate   = 20 // per second and device
	askBurst  = 60
	askMemory = time.Minute

	// heirMemory is how long a flow without a packet from its device finds the
	// device's new session.
	heirMemory = 6 * time.Hour
)

// The sets and maps of the table. Marks are SessionIDs.
var (
	// setDevice says which session a MAC belongs to, for as long as its paid
	// time runs.
	setDevice = &nft.Set{Table: tableName, Name: "device", Key: []nft.DataType{nft.TypeEther}, Data: nft.TypeMark, Timeouts: true}
	// setLive holds the sessions that pass.
	setLive = &nft.Set{Table: tableName, Name: "live", Key: []nft.DataType{nft.TypeMark}, Timeouts: true}
	setDown = &nft.Set{Table: tableName, Name: "down", Key: []nft.DataType{nft.TypeMark}, Data: nft.TypeClassID}
	setUp   = &nft.Set{Table: tableName, Name: "up", Key: []nft.DataType{nft.TypeMark}, Data: nft.TypeClassID}
	// setQuota says which quota object stops a session.
	setQuota = &nft.Set{Table: tableName, Name: "quota", Key: []nft.DataType{nft.TypeMark}, Object: nft.ObjQuota}
	// setHeir says which session a device's flows pass to when its own ends.
	// They pass with the device's next packet anyway, but a device that waits
	// for an answer sends none.
	setHeir = &nft.Set{Table: tableName, Name: "heir", Key: []nft.DataType{nft.TypeMark}, Data: nft.TypeMark, Timeout: heirMemory}
	// setLAN4 and setLAN6 are the LAN's own prefixes.
	setLAN4 = &nft.Set{Table: tableName, Name: "lan4", Key: []nft.DataType{nft.TypeIPv4}, Interval: true}
	setLAN6 = &nft.Set{Table: tableName, Name: "lan6", Key: []nft.DataType{nft.TypeIPv6}, Interval: true}
	// setGarden4 and setGarden6 are what strangers may reach.
	setGarden4 = &nft.Set{Table: tableName, Name: "garden4", Key: []nft.DataType{nft.TypeIPv4}, Timeouts: true}
	setGarden6 = &nft.Set{Table: tableName, Name: "garden6", Key: []nft.DataType{nft.TypeIPv6}, Timeouts: true}
	// setPayer says which mark a stranger's flows to a provider's page have, and
	// setPay4 and setPay6 where such pages are.
	setPayer = &nft.Set{Table: tableName, Name: "payer", Key: []nft.DataType{nft.TypeEther}, Data: nft.TypeMark, Timeouts: true}
	setPay4  = &nft.Set{Table: tableName, Name: "pay4", Key: []nft.DataType{nft.TypeIPv4}, Timeouts: true}
	setPay6  = &nft.Set{Table: tableName, Name: "pay6", Key: []nft.DataType{nft.TypeIPv6}, Timeouts: true}
	// setAsking limits the questions of strangers, per device. When it is
	// full, the limit for all of them together still holds.
	setAsking = &nft.Set{Table: tableName, Name: "asking", Key: []nft.DataType{nft.TypeEther}, Dynamic: true, Timeout: askMemory, Size: 4096}

	// Where the kernel has no HTB: what bounds a session's rates, and what
	// counts its octets (a quota that never runs out).
	setLimitDown = &nft.Set{Table: tableName, Name: "limitdown", Key: []nft.DataType{nft.TypeMark}, Object: nft.ObjLimit}
	setLimitUp   = &nft.Set{Table: tableName, Name: "limitup", Key: []nft.DataType{nft.TypeMark}, Object: nft.ObjLimit}
	setCountDown = &nft.Set{Table: tableName, Name: "countdown", Key: []nft.DataType{nft.TypeMark}, Object: nft.ObjQuota}
	setCountUp   = &nft.Set{Table: tableName, Name: "countup", Key: []nft.DataType{nft.TypeMark}, Object: nft.ObjQuota}

	policeSets = []*nft.Set{setLimitDown, setLimitUp, setCountDown, setCountUp}

	allSets = []*nft.Set{
		setDevice, setLive, setDown, setUp, setQuota, setHeir,
		setLAN4, setLAN6, setGarden4, setGarden6, setAsking, setPayer, setPay4, setPay6,
	}
)

// The chains.
const (
	chainIdentify = "identify"
	chainInbound  = "inbound"
	chainStranger = "stranger"
	chainPortal   = "portal"
	chainGate     = "gate"
	chainOutgoing = "outgoing"
	chainIncoming = "incoming"
	chainRefuse   = "refuse"
	chainMeter    = "meter"
)

var allChains = []nft.Chain{
	{Table: tableName, Name: chainInbound},
	{Table: tableName, Name: chainStranger},
	{Table: tableName, Name: chainRefuse},
	{Table: tableName, Name: chainOutgoing},
	{Table: tableName, Name: chainIncoming},
	{Table: tableName, Name: chainIdentify, Type: nft.Filter, Hook: nft.Prerouting, Priority: prioIdentify, Policy: nft.PolicyAccept},
	{Table: tableName, Name: chainPortal, Type: nft.NAT, Hook: nft.Prerouting, Priority: prioPortal, Policy: nft.PolicyAccept},
	{Table: tableName, Name: chainGate, Type: nft.Filter, Hook: nft.Forward, Priority: prioGate, Policy: nft.PolicyAccept},
	{Table: tableName, Name: chainMeter, Type: nft.Filter, Hook: nft.Forward, Priority: prioMeter, Policy: nft.PolicyAccept},
}

// skeleton writes everything in the table but the elements of its sets: what
// is there already stays, and rules are replaced, so it may be committed at
// any time. lan is the customers' interface, bit the packet mark that lets a
// packet be routed; police is for kernels without HTB.
func skeleton(b *nft.Batch, flags nft.TableFlags, lan string, bit uint32, portal, dns uint16, police bool) {
	b.AddTable(nft.Table{Name: tableName, Flags: flags})
	for _, s := range allSets {
		b.AddSet(s)
	}
	if police {
		for _, s := range policeSets {
			b.AddSet(s)
		}
	}
	for _, c := range allChains {
		b.AddChain(c)
	}
	for _, c := range allChains {
		b.FlushChain(tableName, c.Name)
	}
	rule := func(chain, comment string, exprs ...nft.Expr) {
		b.AddRule(tableName, chain, comment, exprs...)
	}
	mark := nft.CT(nft.CTKeyMark, nft.R1)
	live := nft.Seq(mark, nft.Lookup(setLive.Name, nft.R1))
	stranger := nft.CTMarkIs(0)
	routed := nft.Seq(
		nft.Meta(nft.MetaMark, nft.R1),
		nft.Bitwise(nft.R1, nft.R1, nft.Host32(bit), nft.Host32(0)),
		nft.Cmp(nft.Neq, nft.R1, nft.Host32(0)),
	)
	mayRoute := nft.Seq(
		nft.Meta(nft.MetaMark, nft.R1),
		nft.Bitwise(nft.R1, nft.R1, nft.Host32(^bit), nft.Host32(bit)),
		nft.SetMeta(nft.MetaMark, nft.R1),
	)
	related := nft.CTState(nft.StateRelated)
	established := nft.CTState(nft.StateEstablished)
	class := func(major uint16) nft.Expr {
		return nft.Seq(
			nft.Immediate(nft.R1, nft.Host32(uint32(major)<<16|uint32(gardenMinor))),
			nft.SetMeta(nft.MetaPriority, nft.R1),
		)
	}

	// Who is it? Every packet from the LAN says so again, so a flow passes to
	// a new session of its device at once. An error message belongs to the flow
	// that it talks about, so whoever sends one could take that over, or be
	// charged to it; phones have no need to send any.
	rule(chainIdentify, "", nft.NotIIFName(lan), nft.Goto(chainInbound))
	rule(chainIdentify, "", mayRoute)
	// Questions come to port 53, where they are limited, and are led to the
	// forwarder's port only after this.
	rule(chainIdentify, "", portIs(nft.UDP, dns), nft.Drop())
	rule(chainIdentify, "", portIs(nft.TCP, dns), nft.Drop())
	rule(chainIdentify, "", nft.L4Proto(nft.ICMP), related, nft.Drop())
	rule(chainIdentify, "", nft.L4Proto(nft.ICMPv6), related, nft.Drop())
	rule(chainIdentify, "", nft.LoadEtherSaddr(nft.R1), nft.Map(setDevice.Name, nft.R1, nft.R1),
		nft.SetCT(nft.CTKeyMark, nft.R1), nft.Accept())
	// A stranger who pays has a mark in the flows to the provider's page alone.
	for _, web := range []nft.Expr{portIs(nft.TCP, 443), portIs(nft.UDP, 443)} {
		for _, to := range []nft.Expr{
			nft.Seq(nft.LoadIPv4Daddr(nft.R1), nft.Lookup(setPay4.Name, nft.R1)),
			nft.Seq(nft.LoadIPv6Daddr(nft.R1), nft.Lookup(setPay6.Name, nft.R1)),
		} {
			rule(chainIdentify, "", web, to, nft.LoadEtherSaddr(nft.R1), nft.Map(setPayer.Name, nft.R1, nft.R1),
				nft.SetCT(nft.CTKeyMark, nft.R1), nft.Accept())
		}
	}
	// A flow of a payer is not a stranger's: whoever sends in it from another
	// device would cut it off, with one packet.
	rule(chainIdentify, "", live, nft.Drop())
	rule(chainIdentify, "", nft.SetCTMark(0))
	rule(chainIdentify, "", nft.Goto(chainStranger))

	// Only these may be routed to the LAN.
	rule(chainInbound, "", mark, nft.Map(setHeir.Name, nft.R1, nft.R1), nft.SetCT(nft.CTKeyMark, nft.R1))
	rule(chainInbound, "", live, mayRoute, nft.Accept())
	rule(chainInbound, "", established, nft.LoadIPv4Saddr(nft.R1), nft.Lookup(setGarden4.Name, nft.R1), mayRoute, nft.Accept())
	rule(chainInbound, "", established, nft.LoadIPv6Saddr(nft.R1), nft.Lookup(setGarden6.Name, nft.R1), mayRoute, nft.Accept())
	rule(chainInbound, "", stranger, related, mayRoute)

	// A stranger may ask for names, at a bounded rate.
	for _, p := range []uint8{nft.UDP, nft.TCP} {
		rule(chainStranger, "", portIs(p, 53), nft.LoadEtherSaddr(nft.R1),
			nft.UpdateSet(setAsking.Name, nft.R1, 0, nft.LimitPackets(askRate, askBurst, true)), nft.Drop())
		rule(chainStranger, "", portIs(p, 53), nft.LimitPackets(askRate*50, askBurst*50, true), nft.Drop())
	}

	rule(chainPortal, "", portIs(nft.TCP, 80), nft.LoadIPv4Daddr(nft.R1), nft.Lookup(setGarden4.Name, nft.R1), nft.Accept())
	rule(chainPortal, "", portIs(nft.TCP, 80), nft.LoadIPv6Daddr(nft.R1), nft.Lookup(setGarden6.Name, nft.R1), nft.Accept())
	rule(chainPortal, "", nft.IIFName(lan), stranger, nft.TCPDport(80), nft.Redirect(portal))
	rule(chainPortal, "", nft.IIFName(lan), stranger, nft.UDPDport(53), nft.Redirect(dns))
	rule(chainPortal, "", nft.IIFName(lan), stranger, nft.TCPDport(53), nft.Redirect(dns))

	rule(chainGate, "", nft.IIFName(lan), nft.Goto(chainOutgoing))
	rule(chainGate, "", nft.OIFName(lan), nft.Goto(chainIncoming))

	rule(chainOutgoing, "customers do not reach each other", nft.OIFName(lan), nft.Goto(chainRefuse))
	rule(chainOutgoing, "", nft.LoadIPv4Saddr(nft.R1), nft.LookupNot(setLAN4.Name, nft.R1), nft.Drop())
	rule(chainOutgoing, "", nft.LoadIPv6Saddr(nft.R1), nft.LookupNot(setLAN6.Name, nft.R1), nft.Drop())
	// This very packet got its mark from the device map, whose elements come
	// and go with those of the live set: asking that too would only cost.
	rule(chainOutgoing, "", nft.CTMarkIsNot(0), nft.Accept())
	// Conntrack gives these no mark, whoever sends them: a payer's connection
	// must not be reset for a packet that came late.
	rule(chainOutgoing, "", nft.CTState(nft.StateInvalid), nft.Drop())
	// The web alone: behind an address of the garden may be a proxy.
	for _, web := range []nft.Expr{portIs(nft.TCP, 80), portIs(nft.TCP, 443), portIs(nft.UDP, 443)} {
		rule(chainOutgoing, "", web, nft.LoadIPv4Daddr(nft.R1), nft.Lookup(setGarden4.Name, nft.R1), class(majorUp), nft.Accept())
		rule(chainOutgoing, "", web, nft.LoadIPv6Daddr(nft.R1), nft.Lookup(setGarden6.Name, nft.R1), class(majorUp), nft.Accept())
	}
	rule(chainOutgoing, "", nft.Goto(chainRefuse))

	// A marked packet that may be routed was found live a moment ago. Not so
	// for a session that ended: its class would count it.
	rule(chainIncoming, "", nft.CTMarkIsNot(0), routed, nft.Accept())
	rule(chainIncoming, "", nft.CTMarkIsNot(0), nft.Drop())
	rule(chainIncoming, "", established, nft.LoadIPv4Saddr(nft.R1), nft.Lookup(setGarden4.Name, nft.R1), class(majorDown), nft.Accept())
	rule(chainIncoming, "", established, nft.LoadIPv6Saddr(nft.R1), nft.Lookup(setGarden6.Name, nft.R1), class(majorDown), nft.Accept())
	rule(chainIncoming, "", nft.L4Proto(nft.ICMP), related, class(majorDown), nft.Accept())
	rule(chainIncoming, "", nft.L4Proto(nft.ICMPv6), related, class(majorDown), nft.Accept())
	rule(chainIncoming, "", nft.Drop())

	// A phone that is told so at once shows the portal; one that is left
	// waiting shows a broken network.
	rule(chainRefuse, "", nft.L4Proto(nft.TCP), nft.RejectTCPReset())
	rule(chainRefuse, "", nft.Reject(nft.AdminProhibited))

	// After the system's own filter, so that nothing is charged that it drops,
	// and in the forward hook, before which the kernel sets the priority
	// itself.
	if police {
		rule(chainMeter, "", nft.IIFName(lan), mark, nft.ObjectMap(setLimitUp.Name, nft.R1), nft.Drop())
		rule(chainMeter, "", nft.OIFName(lan), mark, nft.ObjectMap(setLimitDown.Name, nft.R1), nft.Drop())
	}
	rule(chainMeter, "", mark, nft.ObjectMap(setQuota.Name, nft.R1), nft.Drop())
	if police {
		rule(chainMeter, "", nft.IIFName(lan), mark, nft.ObjectMap(setCountUp.Name, nft.R1))
		rule(chainMeter, "", nft.OIFName(lan), mark, nft.ObjectMap(setCountDown.Name, nft.R1))
	}
	rule(chainMeter, "", nft.IIFName(lan), mark, nft.Map(setUp.Name, nft.R1, nft.R1), nft.SetMeta(nft.MetaPriority, nft.R1))
	rule(chainMeter, "", nft.OIFName(lan), mark, nft.Map(setDown.Name, nft.R1, nft.R1), nft.SetMeta(nft.MetaPriority, nft.R1))
}

func portIs(proto uint8, port uint16) nft.Expr {
	return nft.Seq(nft.L4Proto(proto), nft.LoadDport(nft.R1), nft.Cmp(nft.Eq, nft.R1, nft.Net16(port)))
}

// prefixElements are prefixes as elements of an interval set. They must not
// overlap.
func prefixElements(prefixes []netip.Prefix) (v4, v6 []nft.Element) {
	for _, p := range prefixes {
		first, last := nft.PrefixRange(p)
		e := nft.Element{Key: first, KeyEnd: last}
		if p.Addr().Is4() {
			v4 = append(v4, e)
		} else {
			v6 = append(v6, e)
		}
	}
	return v4, v6
}
