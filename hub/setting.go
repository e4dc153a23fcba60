package hub

import (
	"strings"

	"zonegate/sync/api"
)

// settingKinds are the kinds of pushes of which the last one is in force.
var settingKinds = []string{api.KindBrand, api.KindGarden, api.KindLink, api.KindMessage}

const (
	maxDomains = 200
	maxText    = 500 // octets of a text for customers
	maxLink    = 1e12
)

// checkSetting returns the kind of a setting, or what makes no sense in it.
func checkSetting(body any) (kind string, err error) {
	switch b := body.(type) {
	case api.Brand:
		if b.Language != "" && b.Language != "fr" && b.Language != "en" {
			return "", invalid("the language must be fr or en")
		}
		if err := texts(b.Name, b.Contact); err != nil {
			return "", err
		}
		return api.KindBrand, nil
	case api.Message:
		return api.KindMessage, texts(b.FR, b.EN)
	case api.Link:
		if b.Down == 0 || b.Up == 0 || b.Down > maxLink || b.Up > maxLink {
			return "", invalid("the link must have a rate down and a rate up, in bit/s")
		}
		return api.KindLink, nil
	case api.Garden:
		if len(b.Domains) > maxDomains {
			return "", invalid("%d domains; %d at most", len(b.Domains), maxDomains)
		}
		for _, d := range b.Domains {
			if !domain(d) {
				return "", invalid("%q is not a domain", clip(d, 80))
			}
		}
		return api.KindGarden, nil
	}
	return "", invalid("there is no such setting")
}

func texts(ss ...string) error {
	for _, s := range ss {
		if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0xfffd }) {
			return invalid("a text must be %d octets or less, without control characters", maxText)
		}
	}
	return nil
}

// domain checks the shape of a name; the gateway decides what it takes.
func domain(d string) bool {
	d = strings.TrimPrefix(d, "*.")
	labels := strings.Split(d, ".")
	if len(d) > 253 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.ContainsFunc(l, func(r rune) bool {
				return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r > 0x7f)
			}) {
			return false
		}
	}
	return true
}
