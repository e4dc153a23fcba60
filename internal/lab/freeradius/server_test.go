package freeradius

import (
	"context"
	"crypto/md5"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Each way of accounting starts, and an accounting request is answered.
func TestStart(t *testing.T) {
	for name, a := range map[string]Accounting{"answer": Answer, "detail": Detail, "sqlite": SQLite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Start(t.Context(), Config{Secret: "testing123", Accounting: a, Users: []User{
				{Name: "K7QP", Password: "K7QP", Reply: []string{`Mikrotik-Rate-Limit = "256k/1M"`, "Session-Timeout = 60"}}}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				dir := s.dir
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(dir); !os.IsNotExist(err) {
					t.Errorf("%s was left: %v", dir, err)
				}
			}()
			conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.Acct))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// An Accounting-Request (RFC 2866 section 4.1): Start of session "0001".
			for kind := byte(1); kind <= 3; kind++ {
				p := accountingRequest("testing123", kind)
				if _, err := conn.Write(p); err != nil {
					t.Fatal(err)
				}
				if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				answer := make([]byte, 4096)
				n, err := conn.Read(answer)
				if err != nil || n < 20 || answer[0] != 5 || answer[1] != p[1] {
					t.Fatalf("status %d: answer %x, %v\n%s", kind, answer[:n], err, s.Log())
				}
			}
			if a == Detail {
				if text, err := os.ReadFile(s.dir + "/detail"); err != nil || !strings.Contains(string(text), "0001") {
					t.Errorf("the detail file has %q, %v", text, err)
				}
			}
			if a == SQLite {
				if file, err := os.ReadFile(s.dir + "/accounting.db"); err != nil || !strings.Contains(string(file), "0001") {
					t.Errorf("the database has no session, %v", err)
				}
			}
			if log := s.Log(); strings.Contains(log, "Error") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

// As a NAS it obeys what is signed with its secret, and keeps it.
func TestOrders(t *testing.T) {
	s, err := Start(t.Context(), Config{Secret: "testing123", Orders: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.CoA))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if orders, err := s.Orders(); orders != "" || err != nil {
		t.Fatalf("orders before any: %q, %v", orders, err)
	}
	for _, code := range []byte{40, 43} { // Disconnect-Request, CoA-Request
		p := accountingRequest("testing123", code)
		p[0] = code
		clear(p[4:20])
		sum := md5.Sum(append(p[:len(p):len(p)], "testing123"...))
		copy(p[4:], sum[:])
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4096)
		if n, err := conn.Read(answer); err != nil || n < 20 || answer[0] != code+1 {
			t.Fatalf("answer %x, %v", answer[:n], err)
		}
	}
	orders, err := s.Orders()
	if err != nil || !strings.Contains(orders, "Packet-Type = Disconnect-Request") || !strings.Contains(orders, "Packet-Type = CoA-Request") {
		t.Errorf("orders %q, %v", orders, err)
	}
}

func TestWrongConfiguration(t *testing.T) {
	s, err := Start(t.Context(), Config{Secret: "testing123", Users: []User{{Name: "a", Password: "b", Reply: []string{"Session-Timeout = = 1"}}}})
	if err == nil {
		s.Close()
		t.Fatal("a wrong users file was taken")
	}
	if !strings.Contains(err.Error(), "users") {
		t.Errorf("the error does not tell why: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Start(ctx, Config{Secret: "testing123"}); err == nil {
		s.Close()
		t.Fatal("started although cancelled")
	}
}

func accountingRequest(secret string, kind byte) []byte {
	p := make([]byte, 20)
	p[0], p[1] = 4, kind
	p = append(p, 40, 6, 0, 0, 0, kind)
	p = append(p, 44, 6, '0', '0', '0', '1')
	p = append(p, 1, 6, 'K', '7', 'Q', 'P')
	p = append(p, 4, 6, 127, 0, 0, 1)
	p[3] = byte(len(p))
	sum := md5.Sum(append(p[:len(p):len(p)], secret...))
	copy(p[4:], sum[:])
	return p
}
