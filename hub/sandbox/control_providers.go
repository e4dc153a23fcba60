package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// controlProviders lays what concerns the providers.
func (s *Server) controlProviders(lay func(pattern string, do func(r *http.Request) answer)) {
	shown := func(v any) answer { return answer{status: http.StatusOK, body: v} }
	outcome := func(err error) answer {
		if err != nil {
			return detail(http.StatusNotFound, err.Error())
		}
		return answer{status: http.StatusNoContent}
	}
	lay("GET /charges", func(r *http.Request) answer {
		q := r.URL.Query()
		return shown(s.Charges(func(c Charge) bool {
			ref := q.Get("reference")
			return (q.Get("open") == "" || c.State == StateOpen) && (ref == "" || c.Reference == ref || c.ID == ref)
		}))
	})
	lay("GET /phones", func(*http.Request) answer { return shownPage(phones(s.Open())) })
	lay("POST /charges/{id}/approve", func(r *http.Request) answer { return outcome(s.Approve(r.PathValue("id"))) })
	lay("POST /charges/{id}/refuse", func(r *http.Request) answer {
		var in struct {
			Reason string `json:"reason"`
		}
		if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" && r.ContentLength != 0 {
			if a, ok := readControl(r, &in); !ok {
				return a
			}
		}
		return outcome(s.Refuse(r.PathValue("id"), in.Reason))
	})
	lay("POST /charges/{id}/forge", func(r *http.Request) answer { return outcome(s.Forge(r.PathValue("id"))) })
	lay("GET /movements", func(r *http.Request) answer {
		ref := r.URL.Query().Get("reference")
		return shown(s.Movements(func(m Movement) bool { return ref == "" || m.Reference == ref || m.ID == ref }))
	})
	lay("GET /messages", func(r *http.Request) answer { return shown(s.Messages(r.URL.Query().Get("to"))) })
	lay("PUT /delay", func(r *http.Request) answer {
		var in struct {
			MS int64 `json:"ms"`
		}
		if a, ok := readControl(r, &in); !ok {
			return a
		}
		s.SetDelay(time.Duration(in.MS) * time.Millisecond)
		return answer{status: http.StatusNoContent}
	})
	lay("PUT /quirks", func(r *http.Request) answer {
		var q Quirks
		if a, ok := readControl(r, &q); !ok {
			return a
		}
		if err := s.SetQuirks(q); err != nil {
			return detail(http.StatusUnprocessableEntity, err.Error())
		}
		return answer{status: http.StatusNoContent}
	})
	lay("PUT /callbacks", func(r *http.Request) answer {
		var in struct {
			MyPayGa string `json:"mypayga"`
			KKiaPay string `json:"kkiapay"`
		}
		if a, ok := readControl(r, &in); !ok {
			return a
		}
		s.SetCallbacks(in.MyPayGa, in.KKiaPay)
		return answer{status: http.StatusNoContent}
	})
	lay("PUT /nelsius", func(r *http.Request) answer {
		var in struct {
			Available int64  `json:"available"`
			KYC       string `json:"kyc"`
		}
		if a, ok := readControl(r, &in); !ok {
			return a
		}
		if err := s.SetWallet(in.Available, in.KYC); err != nil {
			return detail(http.StatusUnprocessableEntity, err.Error())
		}
		return answer{status: http.StatusNoContent}
	})
}

// SetDelay changes Options.Delay for what is begun from now on.
func (s *Server) SetDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Delay = d
}

// SetQuirks changes the quirks from now on.
func (s *Server) SetQuirks(q Quirks) error {
	if !slices.Contains([]string{"", RepeatCharge, RepeatRefuse, RepeatSame}, q.Repeat) ||
		!slices.Contains([]string{"", StateObject, StateString, StateDouble}, q.StateData) {
		return fmt.Errorf("a repeated reference is %s, %s or %s; data of the state is %s, %s or %s",
			RepeatCharge, RepeatRefuse, RepeatSame, StateObject, StateString, StateDouble)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks = q
	return nil
}

// SetCallbacks changes where MyPayGa and KKiaPay call back to, as the merchant
// does in their dashboards; empty is nobody.
func (s *Server) SetCallbacks(mypayga, kkiapay string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.MyPayGa.CallbackURL, s.o.KKiaPay.WebhookURL = mypayga, kkiapay
}

// SetWallet changes what can be withdrawn at Nelsius, in XAF, and how well the
// owner is known.
func (s *Server) SetWallet(available int64, kyc string) error {
	if _, ok := nelKYC[kyc]; !ok || available < 0 {
		return fmt.Errorf("a wallet has at least 0 XAF, and its owner is unverified, basic, verified or premium, not %q", kyc)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nel.available, s.nel.kyc = available, kyc
	return nil
}

// Wallet is what Nelsius has of the reseller's: to withdraw, and on its way.
func (s *Server) Wallet() (available, blocked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleDue()
	return s.nel.available, s.nel.blocked
}
