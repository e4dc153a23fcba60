package nas

// Attribute types (RFC 2865, 2866, 2869, 3162, 3576) that profiles use. As
// octets, because that is what a handle keeps.
const (
	typeUserName            byte = 1
	typeNASIPAddress        byte = 4
	typeNASPort             byte = 5
	typeFramedIPAddress     byte = 8
	typeClass               byte = 25
	typeVendorSpecific      byte = 26
	typeSessionTimeout      byte = 27
	typeIdleTimeout         byte = 28
	typeCalledStationID     byte = 30
	typeCallingStationID    byte = 31
	typeNASIdentifier       byte = 32
	typeAcctSessionID       byte = 44
	typePortLimit           byte = 62
	typeAcctInterimInterval byte = 85
	typeNASPortID           byte = 87
	typeNASIPv6Address      byte = 95
)
