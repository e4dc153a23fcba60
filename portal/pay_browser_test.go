package portal_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"zonegate"
)

// A real browser is taken from the form to the Internet by the pages alone: a
// number is typed into the form, and the waiting page, which has no script,
// finds out by itself that it was paid.
func TestBrowserPays(t *testing.T) {
	z := newZone(t)
	z.sells(mtn, moov)
	pages := z.server.Handler()
	script := fmt.Sprintf(`var f = document.forms[0]; f.phone.value = %q; f.way[0].checked = true; f.submit()`, mtnNumber)
	sum := sha256.Sum256([]byte(script))
	source := "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	var typed, looks atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := zonegate.ParseIntentID(strings.TrimPrefix(r.URL.Path, "/pay/")); ok && looks.Add(1) == 3 {
			if err := z.gate.SettleIntent(r.Context(), id, "tx", zonegate.Money{Amount: 200, Currency: "XOF"}); err != nil {
				t.Error(err)
			}
		}
		answer := httptest.NewRecorder()
		pages.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		if r.URL.Path == "/pay" && r.Method == http.MethodGet && typed.Add(1) == 1 {
			w.Header().Del("Content-Length")
			w.Header().Set("Content-Security-Policy", w.Header().Get("Content-Security-Policy")+source)
			answer.Body.WriteString("<script>" + script + "</script>")
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	defer srv.Close()
	dom := browse(t, "--virtual-time-budget=20000", "--dump-dom", srv.URL+"/pay?plan=b-day&lang=en")
	if !z.gate.Standing(macA).Online || looks.Load() != 3 {
		t.Errorf("online %v after %d looks", z.gate.Standing(macA).Online, looks.Load())
	}
	for _, want := range []string{"<h1>You are online</h1>", "Forfait jour"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the browser does not show %q: %s", want, readable(dom))
		}
	}
}
