package wire

import "layeh.com/radius"

// A Code is the type of a packet (RFC 2865 section 4, RFC 5176 section 2).
type Code = radius.Code

// The codes that are spoken here. Any other is [UnknownCode].
const (
	AccessRequest      = radius.CodeAccessRequest
	AccessAccept       = radius.CodeAccessAccept
	AccessReject       = radius.CodeAccessReject
	AccountingRequest  = radius.CodeAccountingRequest
	AccountingResponse = radius.CodeAccountingResponse
	AccessChallenge    = radius.CodeAccessChallenge
	StatusServer       = radius.CodeStatusServer
	DisconnectRequest  = radius.CodeDisconnectRequest
	DisconnectACK      = radius.CodeDisconnectACK
	DisconnectNAK      = radius.CodeDisconnectNAK
	CoARequest         = radius.CodeCoARequest
	CoAACK             = radius.CodeCoAACK
	CoANAK             = radius.CodeCoANAK
)

// A Type is the type of an attribute.
type Type uint8

// RFC 2865 section 5.
const (
	UserName          Type = 1
	UserPassword      Type = 2
	CHAPPassword      Type = 3
	NASIPAddress      Type = 4
	NASPort           Type = 5
	ServiceType       Type = 6
	FramedProtocol    Type = 7
	FramedIPAddress   Type = 8
	FilterID          Type = 11
	ReplyMessage      Type = 18
	State             Type = 24
	Class             Type = 25
	VendorSpecific    Type = 26
	SessionTimeout    Type = 27
	IdleTimeout       Type = 28
	TerminationAction Type = 29
	CalledStationID   Type = 30
	CallingStationID  Type = 31
	NASIdentifier     Type = 32
	ProxyState        Type = 33
	CHAPChallenge     Type = 60
	NASPortType       Type = 61
	PortLimit         Type = 62
)

// RFC 2866 section 5, RFC 2869 section 5, RFC 3162, RFC 4372, RFC 5176.
const (
	AcctStatusType       Type = 40
	AcctDelayTime        Type = 41
	AcctInputOctets      Type = 42
	AcctOutputOctets     Type = 43
	AcctSessionID        Type = 44
	AcctAuthentic        Type = 45
	AcctSessionTime      Type = 46
	AcctInputPackets     Type = 47
	AcctOutputPackets    Type = 48
	AcctTerminateCause   Type = 49
	AcctMultiSessionID   Type = 50
	AcctLinkCount        Type = 51
	AcctInputGigawords   Type = 52
	AcctOutputGigawords  Type = 53
	EventTimestamp       Type = 55
	EAPMessage           Type = 79
	MessageAuthenticator Type = 80
	AcctInterimInterval  Type = 85
	NASPortID            Type = 87
	ChargeableUserID     Type = 89
	NASIPv6Address       Type = 95
	ErrorCause           Type = 101
	FramedIPv6Address    Type = 168
)

// Values of Acct-Status-Type (RFC 2866 section 5.1).
const (
	StatusStart   uint32 = 1
	StatusStop    uint32 = 2
	StatusInterim uint32 = 3
	StatusOn      uint32 = 7
	StatusOff     uint32 = 8
)

// Values of Service-Type (RFC 2865 section 5.6).
const (
	ServiceLogin     uint32 = 1
	ServiceFramed    uint32 = 2
	ServiceCallCheck uint32 = 10
)

// A VendorID is the enterprise number in a Vendor-Specific attribute.
type VendorID uint32

// The vendors whose attributes are read or written.
const (
	Microsoft   VendorID = 311
	PfSense     VendorID = 13644
	WISPr       VendorID = 14122
	ChilliSpot  VendorID = 14559
	MikroTik    VendorID = 14988
	maxVendorID          = 1<<24 - 1
)

// MikroTik (14988).
const (
	MikroTikRecvLimit           Type = 1
	MikroTikXmitLimit           Type = 2
	MikroTikGroup               Type = 3
	MikroTikRateLimit           Type = 8
	MikroTikHostIP              Type = 10
	MikroTikMarkID              Type = 11
	MikroTikRecvLimitGigawords  Type = 14
	MikroTikXmitLimitGigawords  Type = 15
	MikroTikTotalLimit          Type = 17
	MikroTikTotalLimitGigawords Type = 18
	MikroTikAddressList         Type = 19
)

// WISPr (14122). Rates are bit/s.
const (
	WISPrLocationID           Type = 1
	WISPrLocationName         Type = 2
	WISPrLogoffURL            Type = 3
	WISPrRedirectionURL       Type = 4
	WISPrBandwidthMinUp       Type = 5
	WISPrBandwidthMinDown     Type = 6
	WISPrBandwidthMaxUp       Type = 7
	WISPrBandwidthMaxDown     Type = 8
	WISPrSessionTerminateTime Type = 9
)

// ChilliSpot and CoovaChilli (14559). Rates are kbit/s.
const (
	ChilliMaxInputOctets     Type = 1
	ChilliMaxOutputOctets    Type = 2
	ChilliMaxTotalOctets     Type = 3
	ChilliBandwidthMaxUp     Type = 4
	ChilliBandwidthMaxDown   Type = 5
	ChilliConfig             Type = 6
	ChilliMaxInputGigawords  Type = 21
	ChilliMaxOutputGigawords Type = 22
	ChilliMaxTotalGigawords  Type = 23
)

// pfSense (13644). Rates are bit/s as pfSense reads them.
const (
	PfSenseBandwidthMaxUp   Type = 1
	PfSenseBandwidthMaxDown Type = 2
	PfSenseMaxTotalOctets   Type = 3
)

// Microsoft (311), RFC 2548.
const (
	MSCHAPResponse  Type = 1
	MSCHAPError     Type = 2
	MSCHAPChallenge Type = 11
	MSCHAP2Response Type = 25
	MSCHAP2Success  Type = 26
)
