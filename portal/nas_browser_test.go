package portal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// typist serves the portal to a browser that nobody sits at: into the page
// where a code is typed it puts a script that does so, once. All other pages
// and their policies are as they are.
func (z *nasZone) typist(code string) {
	script := fmt.Sprintf(`var f = document.querySelector("input[name=code]"); f.value = %q; f.form.submit()`, code)
	sum := sha256.Sum256([]byte(script))
	source := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	pages := z.server.RemoteHandler()
	var typed atomic.Bool
	z.portal = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		pages.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		if body := answer.Body.Bytes(); bytes.Contains(body, []byte(`name="code"`)) && typed.CompareAndSwap(false, true) {
			w.Header().Del("Content-Length")
			w.Header().Set("Content-Security-Policy", w.Header().Get("Content-Security-Policy")+"; script-src "+source)
			answer.Body.WriteString("<script>" + script + "</script>")
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	z.t.Cleanup(z.portal.Close)
}

// A real browser, which holds forms and redirects to our policy, is taken to
// the NAS and back, without a tap after the code's.
func TestBrowserSignsInAtANAS(t *testing.T) {
	for name, arrange := range map[string]func(*nasZone) (address string, online func() bool){
		"mikrotik": func(z *nasZone) (string, func() bool) {
			m := z.newMikroTik("bar", macA)
			return m.URL, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.online }
		},
		"uam": func(z *nasZone) (string, func() bool) {
			u := z.newUAM("ecole", macA, "a secret of 20 octets")
			return u.URL, func() bool { u.mu.Lock(); defer u.mu.Unlock(); return u.online }
		},
	} {
		t.Run(name, func(t *testing.T) {
			z := newNASZone(t)
			z.typist(z.codes("b-day", 1)[0])
			address, online := arrange(z)
			dom := browse(t, "--virtual-time-budget=10000", "--dump-dom", address+"/")
			if !online() {
				t.Error("the NAS has not let the browser in")
			}
			for _, want := range []string{"<h1>You are online</h1>", "Forfait jour"} {
				if !strings.Contains(dom, want) {
					t.Errorf("the browser does not show %q: %s", want, readable(dom))
				}
			}
		})
	}
}
