package lab_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"zonegate/internal/lab"
)

// One code, typed on two phones in the same moment by people in a hurry, is
// one purchase of one of them.
func TestOneCodeOnTwoPhonesAtOnce(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1, Phones: 4})
	phones := []string{"phone1", "phone2", "phone3", "phone4"}
	const rounds, each = 5, 4
	plans := 0
	for range rounds {
		code := z.code("fast")
		answers := make([][]int, len(phones))
		ready := make(chan struct{})
		var mu sync.Mutex
		var all sync.WaitGroup
		for i, phone := range phones {
			for range each {
				conn, err := z.Dial(t.Context(), phone, "tcp", "10.77.0.1:2050")
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					defer conn.Close()
					<-ready
					status := 0
					body := "code=" + code
					fmt.Fprintf(conn, "POST /voucher HTTP/1.1\r\nHost: 10.77.0.1:2050\r\nConnection: close\r\n"+
						"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					all, _ := io.ReadAll(conn)
					_, _ = fmt.Sscanf(string(all), "HTTP/1.1 %d", &status)
					mu.Lock()
					answers[i] = append(answers[i], status)
					mu.Unlock()
				})
			}
		}
		close(ready)
		all.Wait()
		winners := 0
		for i, list := range answers {
			for _, status := range list {
				if status != list[0] || status != http.StatusOK && status != http.StatusConflict {
					t.Errorf("%s was answered %v", phones[i], list)
					break
				}
			}
			if list[0] == http.StatusOK {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("the code was accepted on %d phones: %v", winners, answers)
		}
	}
	for _, phone := range phones {
		st := z.standing(phone)
		if st.Plan != "" {
			plans += 1 + len(st.Queue)
		}
	}
	if plans != rounds {
		t.Errorf("%d codes became %d plans", rounds, plans)
	}
}

// A standing is what the portal tells a phone about itself.
type standing struct {
	Online bool              `json:"online"`
	Plan   string            `json:"plan"`
	Token  string            `json:"token"`
	Form   string            `json:"form_token"`
	Queue  []json.RawMessage `json:"queue"`
}

func (z zone) standing(phone string, more ...string) (st standing) {
	z.Helper()
	a := z.curl(phone, append([]string{"-H", "Accept: application/json"}, append(more, lab.PortalURL+"status.json")...)...)
	if err := json.Unmarshal([]byte(a.body), &st); err != nil {
		z.Fatalf("the status of %s: %d %q: %v", phone, a.status, a.body, err)
	}
	return st
}

// Nobody sees, stops or takes what another phone bought by saying that he is
// that phone.
func TestNobodySpeaksForAnotherPhone(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	z.pay("phone1", "fast")
	mine, his := z.standing("phone1"), z.standing("phone2")
	if mine.Form == his.Form || mine.Form == "" {
		t.Fatalf("form tokens %q and %q", mine.Form, his.Form)
	}
	var lies []string
	for _, h := range []string{"X-Forwarded-For", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Forwarded"} {
		value := "10.77.0.11"
		if h == "Forwarded" {
			value = "for=10.77.0.11"
		}
		lies = append(lies, "-H", h+": "+value)
	}
	if st := z.standing("phone2", lies...); st.Online || st.Plan != "" || st.Form != his.Form {
		t.Errorf("with forwarding headers phone2 is told %+v", st)
	}
	for what, form := range map[string]string{
		"no token": "x=1", "an empty token": "f=", "a made up token": "f=0000000000000000",
		"the token of phone1": "f=" + mine.Form,
	} {
		for _, path := range []string{"logout", "connect", "move"} {
			form := form + "&t=" + mine.Token
			a := z.curl("phone2", append(append([]string{}, lies...), "-d", form, lab.PortalURL+path)...)
			if a.status < 400 || a.status > 499 {
				t.Errorf("%s with %s: got %d %q, want a refusal", path, what, a.status, a.body)
			}
		}
	}
	// With a token of his own he stops nobody else, and a made up name of a
	// plan gives nothing.
	z.curl("phone2", append(append([]string{}, lies...), "-d", "f="+his.Form, lab.PortalURL+"logout")...)
	forged := mine.Token[:len(mine.Token)-1] + "0"
	if forged == mine.Token {
		forged = mine.Token[:len(mine.Token)-1] + "1"
	}
	for _, token := range []string{forged, mine.Token[:8], "000000000000000000000000", "../" + mine.Token} {
		a := z.curl("phone2", "-d", "f="+his.Form, "-d", "t="+url.QueryEscape(token), lab.PortalURL+"move")
		if a.status < 400 || a.status > 499 {
			t.Errorf("moving plan %q: got %d %q, want a refusal", token, a.status, a.body)
		}
	}
	if !z.isOnline("phone1") || !z.isOut("phone2") {
		t.Error("somebody else changed who is online")
	}
	if n := len(z.sessions()); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// A phone that guesses is stopped, whatever addresses it gives itself, and
// nobody else is.
func TestGuessingStopsTheGuesser(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	guess := func(n int, more ...string) answer {
		return z.curl("phone2", append(more, "-d", fmt.Sprintf("code=0000-%04d", n), "http://[2001:db8:77::1]:2050/voucher")...)
	}
	for i := range 5 {
		if a := guess(i); a.status == http.StatusTooManyRequests || a.status < 400 {
			t.Fatalf("guess %d: got %d %q", i, a.status, a.body)
		}
	}
	for i := range 3 {
		addr := fmt.Sprintf("2001:db8:77::f:%d", i+1)
		output(t, z.Lab, "phone2", "ip", "addr", "add", addr+"/64", "dev", "eth0", "nodad")
		if a := guess(9, "--interface", addr); a.status != http.StatusTooManyRequests {
			t.Errorf("a guess from %s: got %d %q, want 429", addr, a.status, a.body)
		}
	}
	code := z.code("fast")
	if a := z.redeem("phone2", code); a.status != http.StatusTooManyRequests {
		t.Errorf("the right code after too many wrong ones: got %d %q", a.status, a.body)
	}
	if a := z.redeem("phone1", code); a.status != http.StatusOK || !strings.HasSuffix(a.body, "\n") {
		t.Errorf("the right code on another phone: got %d %q", a.status, a.body)
	}
}

// The portal and the name server are there for the LAN. From the internet they
// are refused, at the LAN's addresses too.
func TestTheInternetSeesNoPortal(t *testing.T) {
	z := openZone(t, lab.Options{Vouchers: -1})
	if out, err := z.Command("internet", "ip", "route", "replace", "10.77.0.0/24", "via", "198.51.100.1").CombinedOutput(); err != nil {
		t.Fatalf("finding a way to the LAN: %v: %s", err, out)
	}
	if a := z.curl("phone1", "http://10.77.0.1:2050/"); a.status != http.StatusOK {
		t.Fatalf("a phone gets %d from the portal", a.status)
	}
	for _, url := range []string{
		"http://10.77.0.1:2050/", "http://[2001:db8:77::1]:2050/", "http://198.51.100.1:2050/", "telnet://10.77.0.1:2053",
	} {
		if a := z.curl("internet", "--max-time", "2", url); a.exit == 0 || a.status != 0 {
			t.Errorf("%s answers the internet with %d", url, a.status)
		}
	}
}
