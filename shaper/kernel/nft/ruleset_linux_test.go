package nft

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/ruleset.nft")

// everything is a ruleset that uses every kind of set, object and expression.
func everything() *Batch {
	var b Batch
	const tbl = "zg_all"
	b.AddTable(Table{Name: tbl})
	b.DelTable(tbl)
	b.AddTable(Table{Name: tbl})

	sub := &Set{Table: tbl, Name: "sub", Key: []DataType{TypeEther}, Data: TypeMark, Timeouts: true}
	live := &Set{Table: tbl, Name: "live", Key: []DataType{TypeMark}, Timeouts: true}
	class := &Set{Table: tbl, Name: "class", Key: []DataType{TypeMark}, Data: TypeClassID}
	brake := &Set{Table: tbl, Name: "brake", Key: []DataType{TypeMark}, Object: ObjQuota}
	police := &Set{Table: tbl, Name: "police", Key: []DataType{TypeMark}, Object: ObjLimit}
	garden4 := &Set{Table: tbl, Name: "garden4", Key: []DataType{TypeIPv4}, Timeout: time.Hour}
	garden6 := &Set{Table: tbl, Name: "garden6", Key: []DataType{TypeIPv6}, Timeouts: true}
	nets := &Set{Table: tbl, Name: "nets", Key: []DataType{TypeIPv4}, Interval: true}
	nets6 := &Set{Table: tbl, Name: "nets6", Key: []DataType{TypeIPv6}, Interval: true}
	lease := &Set{Table: tbl, Name: "lease", Key: []DataType{TypeEther, TypeIPv4}}
	svc := &Set{Table: tbl, Name: "svc", Key: []DataType{TypeProto, TypePort}, Interval: true}
	lans := &Set{Table: tbl, Name: "lans", Key: []DataType{TypeIfname}}
	ports := &Set{Table: tbl, Name: "ports", Key: []DataType{TypePort}, Interval: true}
	seen := &Set{Table: tbl, Name: "seen", Key: []DataType{TypeEther}, Timeout: time.Minute, Dynamic: true, Size: 1024}
	for _, s := range []*Set{sub, live, class, brake, police, garden4, garden6, nets, nets6, lease, svc, lans, ports, seen} {
		b.AddSet(s)
	}
	mac := HW([6]byte{0x02, 0, 0, 0xaa, 0xbb, 0xcc})
	b.AddQuota(tbl, "q258", 5_000_000_000, 1_000, true)
	b.AddQuota(tbl, "within", 1<<20, 0, false)
	b.AddLimit(tbl, Limit{Name: "l258", Rate: 125_000, Burst: 16_000, Over: true})
	b.AddCounter(tbl, "everyone")
	b.AddElements(sub, Element{Key: mac, Data: Host32(258)})
	b.AddElements(live, Element{Key: Host32(258), Timeout: 24 * time.Hour})
	b.AddElements(class, Element{Key: Host32(258), Data: Host32(0x0001_0102)})
	b.AddElements(brake, Element{Key: Host32(258), Object: "q258"})
	b.AddElements(police, Element{Key: Host32(258), Object: "l258"})
	b.AddElements(garden4, Element{Key: Addr(netip.MustParseAddr("192.0.2.7"))})
	b.AddElements(garden6, Element{Key: Addr(netip.MustParseAddr("2001:db8::7"))})
	for _, p := range []string{"10.0.0.0/8", "192.168.3.0/24", "203.0.113.9/32"} {
		first, last := PrefixRange(netip.MustParsePrefix(p))
		b.AddElements(nets, Element{Key: first, KeyEnd: last})
	}
	first, last := PrefixRange(netip.MustParsePrefix("fe80::/10"))
	b.AddElements(nets6, Element{Key: first, KeyEnd: last})
	b.AddElements(lease, Element{Key: Concat(mac, Addr(netip.MustParseAddr("10.1.2.3")))})
	b.AddElements(svc, Element{Key: Concat([]byte{UDP}, Net16(5000)), KeyEnd: Concat([]byte{UDP}, Net16(5010))})
	b.AddElements(lans, Element{Key: IfnameKey("br-lan")})
	b.AddElements(ports, Element{Key: Net16(80), KeyEnd: Net16(90)}, Element{Key: Net16(65000), KeyEnd: Net16(65535)})

	b.AddChain(Chain{Table: tbl, Name: "walled"})
	b.AddChain(Chain{Table: tbl, Name: "gate", Type: Filter, Hook: Forward, Priority: -10, Policy: PolicyDrop})
	b.AddChain(Chain{Table: tbl, Name: "charge", Type: Filter, Hook: Forward, Priority: 10, Policy: PolicyAccept})
	b.AddChain(Chain{Table: tbl, Name: "portal", Type: NAT, Hook: Prerouting, Priority: -105, Policy: PolicyAccept})
	b.AddChain(Chain{Table: tbl, Name: "out", Type: NAT, Hook: Postrouting, Priority: 100, Policy: PolicyAccept})
	b.AddChain(Chain{Table: tbl, Name: "reroute", Type: Route, Hook: Output, Priority: -150, Policy: PolicyAccept})
	b.AddChain(Chain{Table: tbl, Name: "early", Type: Filter, Hook: Prerouting, Priority: -140, Policy: PolicyAccept})
	b.AddChain(Chain{Table: tbl, Name: "guard", Type: Filter, Hook: Input, Priority: 0, Policy: PolicyAccept})
	for _, c := range []string{"walled", "gate", "charge", "portal", "out", "reroute", "early", "guard"} {
		b.FlushChain(tbl, c)
	}
	rule := func(chain string, exprs ...Expr) { b.AddRule(tbl, chain, "", exprs...) }

	rule("walled", LoadIPv4Daddr(R1), Lookup("garden4", R1), Accept())
	rule("walled", LoadIPv6Daddr(R1), Lookup("garden6", R1), Accept())
	rule("walled", L4Proto(TCP), LoadDport(R1), Lookup("ports", R1), Return())
	rule("walled", Meta(MetaL4Proto, R32(0)), LoadDport(R32(1)), Lookup("svc", R1), Accept())
	rule("walled", L4Proto(TCP), RejectTCPReset())
	rule("walled", Reject(AdminProhibited))

	b.AddRule(tbl, "gate", "who is it", IIFName("br-lan"), LoadEtherSaddr(R1), Map("sub", R1, R1), SetCT(CTKeyMark, R1))
	rule("gate", CT(CTKeyMark, R1), Lookup("live", R1), SetMetaMark(0x5a47), Accept())
	rule("gate", CT(CTKeyMark, R1), LookupNot("live", R1), Counter(), Goto("walled"))
	rule("gate", CTState(StateEstablished|StateRelated), CTReply(), Accept())
	rule("gate", CTStatus(StatusDNAT), Accept())
	rule("gate", CTMarkIs(7), CTOriginal(), Drop())
	rule("gate", CTMarkIsNot(0), MetaMarkIs(1), Jump("walled"))
	rule("gate", OIFName("wlan*"), NotIIFName("br-lan"), Drop())
	rule("gate", NotOIFName("eth0"), Daddr(netip.MustParsePrefix("10.0.0.0/8")), Drop())
	rule("gate", Saddr(netip.MustParsePrefix("fe80::/10")), Drop())
	rule("gate", Daddr(netip.MustParsePrefix("192.0.2.1/32")), TCPDport(443), Reject(HostUnreachable))
	rule("gate", LoadIPv4Saddr(R1), Lookup("nets", R1), Drop())
	rule("gate", LoadIPv6Saddr(R1), Lookup("nets6", R1), Drop())
	rule("gate", Meta(MetaIIFName, R1), Lookup("lans", R1), Drop())
	// A concatenation: the MAC takes two 4-byte registers, the address the third.
	rule("gate", IsIPv4(), LoadEtherSaddr(R32(0)), Payload(NetworkHeader, 12, 4, R32(2)), LookupNot("lease", R1), Drop())

	rule("charge", CT(CTKeyMark, R1), ObjectMap("brake", R1), Drop())
	rule("charge", CT(CTKeyMark, R1), ObjectMap("police", R1), Drop())
	rule("charge", CT(CTKeyMark, R1), Map("class", R1, R1), SetMeta(MetaPriority, R1))
	rule("charge", Object(ObjQuota, "within"), Object(ObjCounter, "everyone"), Accept())
	rule("charge", LimitBytes(125_000, 16_000, true), Drop())

	rule("portal", IIFName("br-lan"), TCPDport(80), Redirect(8080))
	rule("portal", IIFName("br-lan"), UDPDport(53), Redirect(5353))
	rule("out", OIFName("eth0"), Masquerade())
	rule("reroute", Meta(MetaPktType, R1), Cmp(Eq, R1, []byte{2}), SetCTMark(9))
	rule("early", Spoofed(), Drop())
	rule("early", Meta(MetaProtocol, R1), Cmp(Eq, R1, Net16(0x0800)), Accept())
	rule("early", Meta(MetaMark, R1), Bitwise(R1, R1, Host32(0xffffff00), Host32(0x5a)), SetMeta(MetaMark, R1))
	rule("guard", LoadEtherSaddr(R1), UpdateSet("seen", R1, 0, LimitPackets(10, 5, true)), Drop())
	rule("guard", LoadEtherSaddr(R1), AddToSet("seen", R1, 30*time.Second))
	return &b
}

var expires = regexp.MustCompile(`expires \S+`)

func listRuleset(t *testing.T) string {
	return expires.ReplaceAllString(run(t, "nft", "list", "ruleset"), "expires X")
}

func TestRulesetAsNftPrintsIt(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	b := everything()
	if err := c.Check(b); err != nil {
		t.Fatalf("checking: %v", err)
	}
	if got := listRuleset(t); got != "" {
		t.Fatalf("a check left something behind:\n%s", got)
	}
	commit(t, c, b)
	once := listRuleset(t)
	commit(t, c, b)
	if diff := cmp.Diff(once, listRuleset(t)); diff != "" {
		t.Errorf("applied twice (-once +twice):\n%s", diff)
	}
	const golden = "testdata/ruleset.nft"
	if *update {
		if err := os.WriteFile(golden, []byte(once), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), once); diff != "" {
		t.Errorf("ruleset (-want +got):\n%s", diff)
	}
}

// What nft prints, it must be able to read: the types and user data are right.
func TestRulesetReadBackByNft(t *testing.T) {
	enterNamespace(t)
	c := dial(t)
	commit(t, c, everything())
	first := listRuleset(t)
	file := t.TempDir() + "/ruleset.nft"
	text := run(t, "nft", "list", "ruleset")
	if err := os.WriteFile(file, []byte("flush ruleset\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nft", "-f", file).CombinedOutput()
	if err != nil {
		t.Fatalf("nft -f: %v\n%s", err, out)
	}
	if diff := cmp.Diff(first, listRuleset(t)); diff != "" {
		t.Errorf("after nft read it (-ours +nft's):\n%s", diff)
	}
}
