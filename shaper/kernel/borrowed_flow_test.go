package kernel_test

import (
	"encoding/binary"
	"net"
	"testing"

	"zonegate"
)

// TestBorrowedFlow has a stranger send in a payer's flow, with the payer's
// addresses and his own MAC. What comes down for the payer goes on, and the
// payer is told nothing.
func TestBorrowedFlow(t *testing.T) {
	t.Parallel()
	z := newZone(t, 2)
	z.serve(5000)
	payer, stranger := z.phones[0], z.phones[1]
	e := z.start(z.config())
	e.apply(order(1, payer, 10))
	var c *net.UDPConn
	payer.do(func() {
		var err error
		c, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(payer.v4), Port: 9}, &net.UDPAddr{IP: net.ParseIP(site4), Port: 5000})
		if err != nil {
			t.Fatal(err)
		}
	})
	defer c.Close()
	if !exchange(c, 10) {
		t.Fatal("the payer is not online")
	}
	var wan zonegate.MAC
	z.gw.do(func() {
		dev, err := net.InterfaceByName("wan")
		if err != nil {
			t.Fatal(err)
		}
		wan = zonegate.MAC(dev.HardwareAddr)
	})
	arrived := z.inet.wireTap().listen()
	heard := payer.wireTap().listen()
	strange, inet := stranger.wireTap(), z.inet.wireTap()
	forged := udp(payer.v4, site4, 5000, []byte("word<forged>"))
	binary.BigEndian.PutUint16(forged, 9)
	binary.BigEndian.PutUint16(forged[6:], 0) // no checksum
	strange.send(ether(gatewayMAC, stranger.mac, nil, ip4(payer.v4, site4, 17, 0, nil, forged)))
	// The stranger is refused by the gateway itself, so it has dealt with that.
	if stranger.echo(site4, 1) {
		t.Error("the stranger is online")
	}
	inet.send(ether(wan, zonegate.MAC{2, 9}, nil, ip4(site4, payer.v4, 17, 0, nil, udp(site4, payer.v4, 9, []byte("word<news>")))))
	heard.await(t, "news")
	if arrived.has("forged") || heard.has("forged") {
		t.Error("the forged packet got out, or was answered with an error to the payer")
	}
}
