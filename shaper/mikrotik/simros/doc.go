// Package simros is a simulated RouterOS: the binary API of a MikroTik on a
// listener, with the menus that a hotspot operator uses, and the hotspot, the
// queues and the limits behind them. It is a test double for shaper/mikrotik
// and the router of the lab; nothing that runs at a customer's may import it.
//
// It is written from public documents. Comments name them by these letters:
//
//	[API]   MikroTik documentation, Management tools, section API
//	[HOT]   MikroTik documentation, HotSpot - Captive portal
//	[USER]  MikroTik wiki, Manual:IP/Hotspot/User
//	[QUEUE] MikroTik documentation, Queues
//	[29]    MikroTik RouterOS 2.9 reference manual, HotSpot chapters
//	[CHG]   MikroTik change logs
//	[TF]    terraform-provider-routeros: sample objects, field names, issues
//	[LIB]   librouteros, "Api analysis": recorded conversations
//	[ERR]   errors.txt, the hotspot's message file that MikroTik ships
//	[LAB]   "Lab REST contract" of the public project mtha: what two routers
//	        with RouterOS 7.23.7 answered
//	[POWER] the scripts of edmarlozada/mikrotik-fix-usertime-onbrownout, which
//	        mend users' time after power cuts
//	[FIELD] messages and formats quoted by public programs that meet them
//
// Where no document was found, the comment says "assumed".
//
// What it does not do: packets. Traffic is told to it in octets, so shaping,
// drops and the order of packets are not simulated; a rate limit is a queue
// with the right numbers, not a delay, and of the firewall only packet marks by
// address have an effect. RADIUS, scripts, CHAP on the login page, two hosts
// with one MAC and the effect of /ip/service are not there either.
package simros
