// Package kernel is the Linux data path of a zone: it makes the sessions of
// the domain pass at their rates and stops them at their limits, with one
// nftables table, one HTB per device and a few routing rules, all by netlink.
//
// Who a packet belongs to is decided once, by the MAC address that it comes
// from, and remembered by conntrack: the mark of a flow is the SessionID. The
// whole conntrack mark is ours. Everything else (does it pass, in which rate
// class, against which cap) is a map lookup by that mark, in both directions
// and both address families, so the cost of a packet does not grow with the
// number of customers.
//
// The rooms: table.go is the ruleset, elements.go what changes in it while
// customers come and go; tc.go and class_linux.go are the rate classes;
// cap_linux.go watches data caps; pay_linux.go lets strangers who pay reach the
// provider's page and nothing else; police_linux.go replaces classes where the
// kernel has none; route_linux.go closes the gate when the
// table is gone; watch_linux.go is the task that keeps everything as it should
// be; neigh_linux.go finds a customer's MAC; check_linux.go explains what a
// machine lacks.
//
// What is addressed to the gateway itself is the system's firewall's matter:
// it must accept, from the LAN, DHCP, ICMP and neighbour discovery, and the
// ports of the portal and of the name server. Requests for the latter two come
// in redirected (ct status dnat), with our ports as destination.
//
// A sold bit is a layer-3 bit and a sold octet a layer-3 octet. Rates are set
// 1.8 % higher, of which the link header takes half: a download of full
// packets measures about 1 % more than was sold in layer-3 bytes, and about
// 2.5 % less in TCP payload.
//
// Kernel state outlives the process: payers stay online at their rate, cap and
// remaining time, strangers stay out. The next process adopts it.
//
// Nothing here knows plans, vouchers or prices, and nothing is executed: no
// nft, tc or ip. The nftables encoding lives in package nft below.
package kernel
