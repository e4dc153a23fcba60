package fakenas

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 2865 section 7.1.
func TestPasswordAndAnswer(t *testing.T) {
	want := unhex(t, "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003")
	var r Request
	r.Begin(AccessRequest, 0, []byte("xyzzy5461"))
	copy(r.Authenticator(), want[4:])
	r.Text(UserName, "nemo")
	r.Password("arctangent")
	r.Octets(NASIPAddress, []byte{192, 168, 1, 16})
	r.Uint32(NASPort, 3)
	if got := r.End(); !bytes.Equal(got, want) {
		t.Errorf("got\n%x, want\n%x", got, want)
	}
	answer := unhex(t, "0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103")
	whole := bytes.Clone(answer)
	if err := r.Check(answer); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(answer, whole) {
		t.Error("the answer was changed")
	}
	for i := range answer {
		wrong := bytes.Clone(answer)
		wrong[i] ^= 0x40
		if r.Check(wrong) == nil {
			t.Errorf("an answer with octet %d changed was taken", i)
		}
	}
}

// RFC 2865 section 7.2.
func TestCHAP(t *testing.T) {
	want := unhex(t, "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f707379031316e97557c316185895f293ff6344077275"+
		"0406c0a80110050600000014060600000002070600000001")
	var r Request
	r.Begin(AccessRequest, 1, []byte("xyzzy5461"))
	copy(r.Authenticator(), want[4:])
	r.Text(UserName, "flopsy")
	r.CHAP(0x16, "arctangent", nil)
	r.Octets(NASIPAddress, []byte{192, 168, 1, 16})
	r.Uint32(NASPort, 20)
	r.Uint32(ServiceType, 2)
	r.Uint32(7, 1)
	if got := r.End(); !bytes.Equal(got, want) {
		t.Errorf("got\n%x, want\n%x", got, want)
	}
}

// RFC 5997 section 6.1, and the wrong code of 6.2 put right.
func TestStatusServer(t *testing.T) {
	for _, c := range []struct {
		id           byte
		want, answer string
	}{
		{218, "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3", "02da0014ef0d552a4bf2d693ec2b6fe8b5411d66"},
		{179, "0cb30026925f6b66dd5fed571fcb1db7ad3882605012e8d6eabda910875cd91fdade26367858", "05b300140f6f92145f107e2f504e860a4860669c"},
	} {
		want := unhex(t, c.want)
		var r Request
		r.Begin(StatusServer, c.id, []byte("xyzzy5461"))
		copy(r.Authenticator(), want[4:])
		r.Sign()
		if got := r.End(); !bytes.Equal(got, want) {
			t.Errorf("got\n%x, want\n%x", got, want)
		}
		if err := r.Check(unhex(t, c.answer)); err != nil {
			t.Error(err)
		}
		r.buf[1]++
		if err := r.Check(unhex(t, c.answer)); !errors.Is(err, ErrOtherID) {
			t.Error(err)
		}
	}
}

// A Disconnect-Request of tcpdump's collection of captures: both signatures of
// RFC 5176 section 3.4.
func TestDisconnect(t *testing.T) {
	want := unhex(t, "28010026e1792d2b4ab349f1a4c0fcc733d091c1501258513d662847e5f8734a30dbdac8e4af")
	var r Request
	r.Begin(DisconnectRequest, 1, []byte("testing123"))
	r.Sign()
	if got := r.End(); !bytes.Equal(got, want) {
		t.Errorf("got\n%x, want\n%x", got, want)
	}
}
