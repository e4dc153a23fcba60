package central

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"zonegate"
	"zonegate/sync/api"
)

// Bounds of what a hub may push, far beyond what anybody means. They keep
// products inside 64 bits and pages readable.
const (
	maxSeconds = 10 * 366 * 24 * 3600
	maxOctets  = 1 << 60
	maxRate    = 1e12 // bit/s
	minLink    = 32e3 // bit/s
	maxPrice   = 1e12
	maxID      = 64
	maxName    = 100
	maxText    = 500
	maxDomains = 500
)

// change turns a push into what the Gate takes. Unknown fields are ignored;
// what makes no sense is refused with the reason. It checks what is the
// wire's; what the domain knows better (a committed rate above the maximum,
// free plans that are no trial, versions) the Gate refuses.
func change(p api.Push) (zonegate.HubChange, error) {
	switch p.Kind {
	case api.KindPlan:
		return decoded(p, changePlan)
	case api.KindPlanGone:
		return decoded(p, func(b api.PlanWithdrawn) (zonegate.HubChange, error) {
			return zonegate.PlanGone{ID: b.ID, Version: b.Version}, checkID("plan", b.ID)
		})
	case api.KindBatch:
		return decoded(p, changeBatch)
	case api.KindBatchRevoked:
		return decoded(p, func(b api.BatchRevoked) (zonegate.HubChange, error) {
			return zonegate.BatchGone{Batch: b.Batch}, checkID("batch", b.Batch)
		})
	case api.KindGrant:
		return decoded(p, changeGrant)
	case api.KindGrantRevoked:
		return decoded(p, func(b api.GrantRevoked) (zonegate.HubChange, error) {
			return zonegate.GrantGone{Grant: b.Grant}, checkID("grant", b.Grant)
		})
	case api.KindRevoked:
		return decoded(p, func(api.GatewayRevoked) (zonegate.HubChange, error) { return zonegate.HubGone{}, nil })
	case api.KindBrand:
		return decoded(p, changeBrand)
	case api.KindGarden:
		return decoded(p, changeGarden)
	case api.KindLink:
		return decoded(p, changeLink)
	case api.KindMessage:
		return decoded(p, changeMessage)
	}
	return nil, fmt.Errorf("this gateway does not know %.40q", p.Kind)
}

func decoded[B any](p api.Push, turn func(B) (zonegate.HubChange, error)) (zonegate.HubChange, error) {
	var body B
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return nil, fmt.Errorf("the body of %s cannot be read: %w", p.Kind, err)
	}
	c, err := turn(body)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func checkID(what, id string) error {
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("the id of the %s must have 1 to %d plain characters", what, maxID)
	}
	return nil
}

// checkText checks words for people.
func checkText(what, s string, most int) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%s must be one line without control characters", what)
	case utf8.RuneCountInString(s) > most:
		return fmt.Errorf("%s must have at most %d characters", what, most)
	}
	return nil
}

func changePlan(b api.PlanSet) (zonegate.HubChange, error) {
	plan, err := domainPlan(b.Plan)
	return zonegate.PlanPushed{Plan: plan, Running: b.Running}, err
}

// domainPlan checks a plan and turns it into the domain's.
func domainPlan(p api.Plan) (zonegate.Plan, error) {
	if err := checkID("plan", p.ID); err != nil {
		return zonegate.Plan{}, err
	}
	bad := func(format string, args ...any) (zonegate.Plan, error) {
		return zonegate.Plan{}, fmt.Errorf("plan %s: "+format, append([]any{p.ID}, args...)...)
	}
	switch {
	case p.Version == 0:
		return bad("versions count from 1")
	case p.Name == "":
		return bad("it has no name")
	case p.Seconds <= 0 || p.Seconds > maxSeconds:
		return bad("the duration must be 1 second to 10 years, not %d s", p.Seconds)
	case p.Octets > maxOctets:
		return bad("the data cap of %d octets is absurd", p.Octets)
	case p.Price.Amount < 0 || p.Price.Amount > maxPrice:
		return bad("the price of %d is absurd", p.Price.Amount)
	case len(p.Price.Currency) != 3 || strings.ToUpper(p.Price.Currency) != p.Price.Currency:
		return bad("the currency must be three capitals, not %.10q", p.Price.Currency)
	case p.CIRUp > maxRate || p.CIRDown > maxRate || p.MIRUp > maxRate || p.MIRDown > maxRate:
		return bad("a rate above %.0f Gbit/s is absurd", maxRate/1e9)
	}
	if err := checkText("the plan's name", p.Name, maxName); err != nil {
		return zonegate.Plan{}, err
	}
	plan := zonegate.Plan{
		ID: p.ID, Version: p.Version, Name: p.Name,
		Price:    zonegate.Money{Amount: p.Price.Amount, Currency: p.Price.Currency},
		Duration: time.Duration(p.Seconds) * time.Second, DataCap: p.Octets,
		Rate:       zonegate.Rate{CIRUp: p.CIRUp, CIRDown: p.CIRDown, MIRUp: p.MIRUp, MIRDown: p.MIRDown},
		DevicesMax: p.DevicesMax, Trial: p.Trial, Withdrawn: p.Withdrawn,
	}
	if p.Online {
		plan.Time = zonegate.Online
	}
	return plan, plan.Validate()
}

// expires reads a moment that may be missing. One before the domain's zero
// time of people would mean "never".
func expires(t *time.Time) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if t.Year() < 2020 || t.Year() > 2200 {
		return time.Time{}, fmt.Errorf("the expiry %s is absurd", t.UTC().Format(time.RFC3339))
	}
	return t.UTC(), nil
}

func changeBatch(b api.BatchIssued) (zonegate.HubChange, error) {
	if err := checkID("batch", b.Batch); err != nil {
		return nil, err
	}
	plan, err := domainPlan(b.Plan)
	if err != nil {
		return nil, err
	}
	until, err := expires(b.Expires)
	if err != nil {
		return nil, err
	}
	if len(b.Keys) == 0 || len(b.Keys) > api.MaxKeys {
		return nil, fmt.Errorf("a batch brings 1 to %d codes at once, not %d", api.MaxKeys, len(b.Keys))
	}
	keys := make([]zonegate.VoucherKey, len(b.Keys))
	for i, k := range b.Keys {
		if keys[i], err = voucherKey(k); err != nil {
			return nil, fmt.Errorf("code %d: %w", i+1, err)
		}
	}
	return zonegate.BatchPushed{Batch: b.Batch, Plan: plan, Expires: until, Keys: keys}, nil
}

func voucherKey(raw []byte) (zonegate.VoucherKey, error) {
	var k zonegate.VoucherKey
	if len(raw) != len(k) {
		return k, fmt.Errorf("a key has %d octets, not %d", len(k), len(raw))
	}
	copy(k[:], raw)
	if k == (zonegate.VoucherKey{}) {
		return k, fmt.Errorf("a key of zeros is none")
	}
	return k, nil
}

func changeGrant(b api.GrantIssued) (zonegate.HubChange, error) {
	if err := checkID("grant", b.Grant); err != nil {
		return nil, err
	}
	plan, err := domainPlan(b.Plan)
	if err != nil {
		return nil, err
	}
	c := zonegate.GrantPushed{Grant: b.Grant, Plan: plan, Intent: b.Intent}
	if c.Expires, err = expires(b.Expires); err != nil {
		return nil, err
	}
	if b.Device == "" && len(b.Key) == 0 {
		return nil, fmt.Errorf("a purchase needs a device or the key of a claim code")
	}
	if b.Device != "" {
		if c.Device, err = device(b.Device); err != nil {
			return nil, err
		}
	}
	if len(b.Key) > 0 {
		if c.Key, err = voucherKey(b.Key); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// device reads the address of one device.
func device(s string) (zonegate.MAC, error) {
	var m zonegate.MAC
	a, err := net.ParseMAC(s)
	if err != nil || len(a) != len(m) || a[0]&1 != 0 || zonegate.MAC(a) == m {
		return m, fmt.Errorf("%.40q is no address of a device", s)
	}
	return zonegate.MAC(a), nil
}

// setting lays a body over a setting; nothing said lays the configuration open
// again.
func setting(name string, body any, empty bool) (zonegate.HubChange, error) {
	if empty {
		return zonegate.SettingPushed{Name: name}, nil
	}
	value, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding a setting: %w", err)
	}
	return zonegate.SettingPushed{Name: name, Value: string(value)}, nil
}

func changeBrand(b api.Brand) (zonegate.HubChange, error) {
	if err := checkText("the name", b.Name, maxName); err != nil {
		return nil, err
	}
	if err := checkText("the contact", b.Contact, 100); err != nil {
		return nil, err
	}
	if b.Language != "" && b.Language != "fr" && b.Language != "en" {
		return nil, fmt.Errorf("the language must be fr or en, not %.10q", b.Language)
	}
	return setting(zonegate.SettingBrand, b, b == api.Brand{})
}

func changeMessage(b api.Message) (zonegate.HubChange, error) {
	for _, text := range []string{b.FR, b.EN} {
		// A message may have several lines.
		if err := checkText("the message", strings.ReplaceAll(text, "\n", " "), maxText); err != nil {
			return nil, err
		}
	}
	return setting(zonegate.SettingMessage, b, b == api.Message{})
}

func changeLink(b api.Link) (zonegate.HubChange, error) {
	for _, rate := range []uint64{b.Down, b.Up} {
		if rate != 0 && rate < minLink || rate > maxRate {
			return nil, fmt.Errorf("a link of %d bit/s is absurd", rate)
		}
	}
	if (b.Down == 0) != (b.Up == 0) {
		return nil, fmt.Errorf("a link needs both directions, or none to go back to the configuration's")
	}
	return setting(zonegate.SettingLink, b, b == api.Link{})
}

// changeGarden checks the names as the configuration's are checked. An empty
// list is a garden without anything in it; a body without one is the
// configuration's garden.
func changeGarden(b api.Garden) (zonegate.HubChange, error) {
	if len(b.Domains) > maxDomains {
		return nil, fmt.Errorf("%d domains are too many; at most %d", len(b.Domains), maxDomains)
	}
	for _, d := range b.Domains {
		if !gardenDomain(d) {
			return nil, fmt.Errorf("%.80q is no name for the garden; write example.org or *.example.org", d)
		}
	}
	return setting(zonegate.SettingGarden, b, b.Domains == nil)
}

// gardenDomain accepts a host name with a dot, perhaps after "*.".
func gardenDomain(s string) bool {
	name := strings.TrimPrefix(s, "*.")
	if len(name) > 253 || !strings.Contains(name, ".") {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	return true
}

// onTrial says which settings can cut the gateway off.
func onTrial(name string) bool {
	return name == zonegate.SettingGarden || name == zonegate.SettingLink
}

// outcome of a push that the Gate refused.
func refusal(seq uint64, reason string) api.Ack {
	const most = 300
	if len(reason) > most {
		reason = strings.ToValidUTF8(reason[:most], "")
	}
	return api.Ack{Seq: seq, Outcome: api.Refused, Reason: reason}
}
