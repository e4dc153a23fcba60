package simros

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// login knows both methods.
//
// Since 6.43 name and password come in the first sentence [API]. Before, a
// first /login is answered with a challenge, and the second carries "00" and
// the MD5 of a zero octet, the password and the challenge [API, LIB]. 6.43 and
// 6.44 take both; 6.45 removed the old one [CHG]. An older router that is sent
// a password does not look at it and answers with a challenge: go-routeros
// relies on that.
func (s *session) login(c *command) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.commands[c.path]++
	name, _ := c.attr("name")
	password, plain := c.attr("password")
	response, answered := c.attr("response")
	old := !s.r.version.atLeast(6, 45)
	refusal := errLogin
	if !s.r.version.atLeast(6, 43) {
		refusal, plain = errLoginOld, false
	}
	switch {
	case answered && old:
		challenge := s.challenge
		s.challenge = nil
		if challenge == nil || !s.r.knows(name, func(secret string) bool {
			return subtle.ConstantTimeCompare([]byte(strings.ToLower(response)), []byte(answer(challenge, secret))) == 1
		}) {
			s.trap(c, refusal)
			return
		}
	case plain:
		if !s.r.knows(name, func(secret string) bool { return secret == password }) {
			s.trap(c, refusal)
			return
		}
	case old:
		s.challenge = make([]byte, 16)
		rand.Read(s.challenge)
		s.done(c, "=ret="+hex.EncodeToString(s.challenge))
		return
	default:
		s.trap(c, refusal)
		return
	}
	policies := s.r.policies(name)
	if !policies["api"] {
		s.trap(c, refusal) // assumed: the same words as for a wrong password
		return
	}
	s.policies = policies
	s.done(c)
}

func answer(challenge []byte, password string) string {
	h := md5.New()
	h.Write([]byte{0})
	h.Write([]byte(password))
	h.Write(challenge)
	return "00" + hex.EncodeToString(h.Sum(nil))
}

// knows asks whether that user exists, is enabled and has a password that ok
// accepts.
func (r *Router) knows(name string, ok func(password string) bool) bool {
	it, trap := r.menus["/user"].find(name)
	return trap == nil && it.v["disabled"] != "true" && ok(it.v["password"])
}

// policies are the words of the user's group, those with "!" left out [TF].
func (r *Router) policies(name string) map[string]bool {
	out := make(map[string]bool)
	it, trap := r.menus["/user"].find(name)
	if trap != nil {
		return out
	}
	if group := r.menus["/user/group"].byID(it.v["group"]); group != nil {
		for p := range strings.SplitSeq(group.v["policy"], ",") {
			if !strings.HasPrefix(p, "!") {
				out[p] = true
			}
		}
	}
	return out
}
