package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonegate/hub"
)

// write puts files into a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const wholeMoney = `
[provider.rdc]
kind = "flexpay"
merchant = "SHOP1"
currencies = ["CDF"]
pay_url = "https://backend.example/api/rest/v1"
check_url = "https://check.example/api/rest/v1"
token_file = "DIR/flexpay.token"
timeout = "20s"

[provider.gabon]
kind = "mypayga"
email = "hub@example.org"
secret_key_env = "MYPAYGA_KEY"
collect = false
pay_out = true

[[provider.gabon.channels]]
id = "AIRTEL_GA"
name = "Airtel"
flow = "push"

[messenger.sms]
url = "https://sms.example/send"
body = "to={to}&text={text}&key={secret}"
secret_file = "DIR/sms.key"

[messenger.mail]
server = "mail.example:587"
from = "hub@example.org"

[withdrawals.XAF]
payer = "gabon"
approve_above = 200000
daily = { basic = 100000, verified = 200000 }

[withdrawals.CDF]
phones = ["243xxxxxxxxx"]
operators = ["mpesa"]
multiple = 100
min = 50000
max = 50000000
daily = { verified = 100000000 }
payer = "rdc"
automatic = true

[payouts]
number_wait = "0s"
refund_wait = "5m"
`

func money(t *testing.T, text, public string) (*till, error) {
	t.Helper()
	dir := write(t, map[string]string{"flexpay.token": "token\n", "sms.key": "key"})
	name := filepath.Join(dir, "money.toml")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := func(v string) (string, bool) { return "stest_key", v == "MYPAYGA_KEY" }
	m, err := loadMoney(name, public, lookup, slog.New(slog.DiscardHandler), &strings.Builder{})
	if err == nil {
		t.Cleanup(m.close)
	}
	return m, err
}

func TestMoneyFile(t *testing.T) {
	m, err := money(t, strings.Replace(wholeMoney, "collect = false", "collect = false\ntest = true", 1), "https://hub.example/")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.collectors) != 1 || m.collectors["rdc"] == nil || len(m.payouts.Payers) != 2 || len(m.payouts.Refunders) != 1 || len(m.callbacks) != 2 || m.webhook != "" {
		t.Errorf("the till is %+v", m)
	}
	if caps := m.collectors["rdc"].Caps(); len(caps.Currencies) != 1 || caps.Test {
		t.Errorf("rdc can %+v", caps)
	}
	p := m.payouts
	if p.CallbackURL("rdc") != "https://hub.example/callbacks/rdc" || p.NumberWait >= 0 || p.RefundWait != 5*time.Minute || p.Messenger == nil || len(p.Rules) != 2 {
		t.Errorf("payouts are %+v", p)
	}
	if cdf, xaf := p.Rules[0], p.Rules[1]; cdf.Payer != "rdc" || !cdf.Automatic || cdf.FeeMin != 0 || cdf.Min != 50000 || cdf.FeePermille != 15 ||
		xaf.ApproveAbove != 200000 || xaf.Max != 500000 || xaf.Daily[hub.KYCBasic] != 100000 || xaf.Daily[hub.KYCPremium] != 0 || xaf.Phones[0] != "2376xxxxxxxx" {
		t.Errorf("the rules are %+v", p.Rules)
	}
	if none, err := loadMoney("", "", noEnvironment, nil, nil); err != nil || len(none.collectors) > 0 || none.payouts.Messenger != nil {
		t.Errorf("without a file: %+v, %v", none, err)
	}
}

// What is wrong is named with its place, and with what mends it.
func TestMoneyFileRefused(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"unknown key":       {`merchant = "SHOP1"`, `merchand = "SHOP1"`, []string{":4:1: ", "no setting provider.rdc.merchand"}},
		"wrong type":        {`["CDF"]`, `"CDF"`, []string{":5:", "currencies"}},
		"no TOML":           {`[payouts]`, `[payouts`, []string{"money.toml:"}},
		"unknown kind":      {`kind = "flexpay"`, `kind = "paypal"`, []string{":3:1: provider.rdc.kind", "flexpay", "mypayga"}},
		"another's key":     {`merchant = "SHOP1"`, "merchant = \"SHOP1\"\nemail = \"a@b\"", []string{":5:1: provider.rdc.email", "no such setting", "token_file"}},
		"bad name":          {`[provider.rdc]`, `[provider.RDC-1]`, []string{":2:", "small letters"}},
		"plain HTTP":        {`https://backend.example`, `http://backend.example`, []string{":2:", "https"}},
		"plain in earnest":  {`merchant = "SHOP1"`, "merchant = \"SHOP1\"\nplain = true", []string{":5:1: provider.rdc.plain", "test = true"}},
		"no merchant":       {`merchant = "SHOP1"`, ``, []string{":2:", "merchant"}},
		"no secret":         {`token_file = "DIR/flexpay.token"`, ``, []string{":2:", "provider.rdc.token_file", "token_env"}},
		"two secrets":       {`secret_key_env = "MYPAYGA_KEY"`, "secret_key_env = \"MYPAYGA_KEY\"\nsecret_key_file = \"x\"", []string{":14:1: provider.gabon.secret_key_env", "keep one"}},
		"no such file":      {`DIR/sms.key`, `DIR/none`, []string{"messenger.sms.secret_file", "no such file"}},
		"no such variable":  {`"MYPAYGA_KEY"`, `"OTHER"`, []string{"secret_key_env", "no OTHER"}},
		"no time":           {`"20s"`, `"20"`, []string{":9:1: provider.rdc.timeout", `"20s"`}},
		"a template":        {`to={to}&text={text}`, `to={to}`, []string{"messenger.sms", "{text}"}},
		"two messengers":    {"[messenger.mail]", "[messenger.log]\n[messenger.mail]", []string{"messenger.log", "keep one"}},
		"no phones":         {"[messenger.sms]\nurl = \"https://sms.example/send\"\nbody = \"to={to}&text={text}&key={secret}\"\nsecret_file = \"DIR/sms.key\"", "", []string{"withdrawals", "[messenger.sms]"}},
		"no such payer":     {`payer = "gabon"`, `payer = "benin"`, []string{"withdrawals.XAF", `"benin"`, "cannot pay out"}},
		"may not pay":       {`pay_out = true`, `pay_out = false`, []string{"withdrawals.XAF", "cannot pay out"}},
		"not enough":        {`operators = ["mpesa"]`, ``, []string{"withdrawals.CDF", "operators"}},
		"a rule of nothing": {`min = 50000`, `min = 90000000`, []string{"withdrawals.CDF"}},
		"a wait":            {`"5m"`, `"soon"`, []string{"payouts.refund_wait"}},
		"a channel":         {`flow = "push"`, `flow = "pull"`, []string{"provider.gabon", "AIRTEL_GA"}},
	} {
		text := strings.Replace(wholeMoney, "collect = false", "test = true", 1)
		if !strings.Contains(text, c.from) {
			t.Fatalf("%s: the file has no %q", name, c.from)
		}
		_, err := money(t, strings.Replace(text, c.from, c.to, 1), "https://hub.example")
		if err == nil {
			t.Errorf("%s was taken", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q has no %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "stest_key") || strings.Contains(err.Error(), "token\n") {
			t.Errorf("%s: %q has a secret in it", name, err)
		}
	}
	if _, err := money(t, wholeMoney, ""); err == nil || !strings.Contains(err.Error(), "--public-url") {
		t.Errorf("without a public address: %v", err)
	}
	if _, err := money(t, wholeMoney, "http://hub.example"); err == nil || !strings.Contains(err.Error(), "--public-url") {
		t.Errorf("with one of plain HTTP: %v", err)
	}
}

func TestSecretFollowsItsFile(t *testing.T) {
	dir := write(t, map[string]string{"key": "first\n"})
	name := filepath.Join(dir, "key")
	s, err := openSecret(name, "", noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	now := s.current(slog.New(slog.NewTextHandler(&log, nil)))
	if now() != "first" || s.String() != "(secret)" {
		t.Errorf("the secret is %q", now())
	}
	replace := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name+".new", []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name+".new", mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	replace("second one", 0o600)
	if now() != "second one" {
		t.Errorf("after the change it is %q", now())
	}
	// What is no secret leaves the one before, and says so.
	for _, bad := range []struct {
		text string
		mode os.FileMode
	}{{"", 0o600}, {"two\nlines", 0o600}, {"for everybody", 0o644}, {strings.Repeat("x", 5000), 0o600}} {
		replace(bad.text, bad.mode)
		if now() != "second one" {
			t.Errorf("%.10q was taken", bad.text)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if now() != "second one" || strings.Count(log.String(), "stays in use") != 5 || strings.Contains(log.String(), "second") {
		t.Errorf("the log says %s", &log)
	}
	replace("third", 0o600)
	if now() != "third" {
		t.Errorf("at last it is %q", now())
	}
	if _, err := openSecret(name+"2", "", noEnvironment); err == nil {
		t.Error("a file that is not there was opened")
	}
	if _, err := openSecret("", "NONE", noEnvironment); err == nil {
		t.Error("a variable that is not there was read")
	}
}

// TestServeRefusesMoneyFirst: nothing is touched before the file makes sense.
func TestServeRefusesMoneyFirst(t *testing.T) {
	dir := write(t, map[string]string{"money.toml": "[provider.x]\nkind = 'y'\n"})
	data := filepath.Join(dir, "data")
	code, _, errs := zonehub(t, "", "serve", "--data", data, "--listen", "127.0.0.1:0", "--money", filepath.Join(dir, "money.toml"))
	if code != exitUsage || !strings.Contains(errs, "money.toml:2:1: provider.x.kind") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the data directory was made")
	}
	if code, _, errs = zonehub(t, "", "serve", "--data", data, "--money", filepath.Join(dir, "none.toml")); code != exitFailed || !strings.Contains(errs, "--money") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
