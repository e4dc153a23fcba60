package portal

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

// captiveState is the answer of RFC 8908 section 5.
type captiveState struct {
	Captive   bool   `json:"captive"`
	PortalURL string `json:"user-portal-url"`
	CanExtend bool   `json:"can-extend-session"`
	// Absent while captive; the second also when something bought has no cap.
	SecondsRemaining *int64  `json:"seconds-remaining,omitempty"`
	BytesRemaining   *uint64 `json:"bytes-remaining,omitempty"`
}

// captive answers the captive portal API of RFC 8908. It does so without TLS
// too, but devices only believe it over HTTPS with a certificate that they can
// check, so the network should announce the https URL or none.
//
// What remains is that of the grant in use and of its queue together: a device
// becomes captive only when both are over.
func (s *Server) captive(c *gin.Context) {
	a := captiveState{Captive: true, CanExtend: true, PortalURL: s.base(c.Request) + "/"}
	if s.TLSCert != "" {
		a.PortalURL = "https://" + net.JoinHostPort(s.Name, strconv.Itoa(int(s.tlsPort()))) + "/"
	}
	if mac, err := s.device(c.Request); err == nil {
		if st := s.Gate.Standing(mac); st.Online && !st.Pending {
			a.Captive = false
			left, octets, capped := st.Grant.TimeLeft, st.Grant.OctetsLeft, st.Grant.Cap != 0
			for _, b := range st.Queue {
				left += b.TimeLeft
				octets += b.OctetsLeft
				capped = capped && b.Cap != 0
			}
			seconds := int64(left / time.Second)
			a.SecondsRemaining = &seconds
			if capped {
				a.BytesRemaining = &octets
			}
		}
	}
	body, err := json.Marshal(a)
	if err != nil {
		s.refuse(c, refusalFault)
		return
	}
	c.Header("Cache-Control", "private, no-store")
	c.Data(http.StatusOK, "application/captive+json", append(body, '\n'))
}
