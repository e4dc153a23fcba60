package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A moneyFile is the file of --money as it stands there. Secrets are never in
// it: it names the files or the variables that have them.
type moneyFile struct {
	Provider    map[string]providerTable   `toml:"provider"`
	Messenger   messengerTable             `toml:"messenger"`
	Withdrawals map[string]withdrawalTable `toml:"withdrawals"`
	Payouts     payoutsTable               `toml:"payouts"`
}

// A providerTable has the keys of every kind; which of them a kind takes is in
// kinds.
type providerTable struct {
	Kind     string         `toml:"kind"`
	Collect  *bool          `toml:"collect"`
	PayOut   *bool          `toml:"pay_out"`
	Timeout  string         `toml:"timeout"`
	Test     bool           `toml:"test"`
	Plain    bool           `toml:"plain"`
	CAFile   string         `toml:"ca_file"`
	Channels []channelTable `toml:"channels"`

	Merchant   string   `toml:"merchant"`
	Currencies []string `toml:"currencies"`

	URL       string `toml:"url"`
	PayURL    string `toml:"pay_url"`
	CheckURL  string `toml:"check_url"`
	PayoutURL string `toml:"payout_url"`
	PageURL   string `toml:"page_url"`
	CardURL   string `toml:"card_url"`

	Email        string   `toml:"email"`
	FirstName    string   `toml:"first_name"`
	LastName     string   `toml:"last_name"`
	PayoutDone   []string `toml:"payout_done"`
	PayoutFailed []string `toml:"payout_failed"`
	RefundDone   []string `toml:"refund_done"`
	QueryPosts   bool     `toml:"query_posts"`

	TokenFile      string `toml:"token_file"`
	TokenEnv       string `toml:"token_env"`
	PublicKeyFile  string `toml:"public_key_file"`
	PublicKeyEnv   string `toml:"public_key_env"`
	PrivateKeyFile string `toml:"private_key_file"`
	PrivateKeyEnv  string `toml:"private_key_env"`
	SecretKeyFile  string `toml:"secret_key_file"`
	SecretKeyEnv   string `toml:"secret_key_env"`
	CallbackFile   string `toml:"callback_secret_file"`
	CallbackEnv    string `toml:"callback_secret_env"`
	CallbackHMAC   bool   `toml:"callback_hmac"`
	PasswordFile   string `toml:"password_file"`
	PasswordEnv    string `toml:"password_env"`

	Hosts []string `toml:"hosts"`
}

type channelTable struct {
	ID   string `toml:"id"`
	Name string `toml:"name"`
	Flow string `toml:"flow"`
}

type messengerTable struct {
	SMS  *smsTable  `toml:"sms"`
	Mail *mailTable `toml:"mail"`
	Log  *logTable  `toml:"log"`
}

type smsTable struct {
	URL        string            `toml:"url"`
	Method     string            `toml:"method"`
	Headers    map[string]string `toml:"headers"`
	Body       string            `toml:"body"`
	Accept     string            `toml:"accept"`
	Plus       bool              `toml:"plus"`
	Timeout    string            `toml:"timeout"`
	SecretFile string            `toml:"secret_file"`
	SecretEnv  string            `toml:"secret_env"`
	CAFile     string            `toml:"ca_file"`
}

type mailTable struct {
	Server       string `toml:"server"`
	From         string `toml:"from"`
	Subject      string `toml:"subject"`
	User         string `toml:"user"`
	Timeout      string `toml:"timeout"`
	PasswordFile string `toml:"password_file"`
	PasswordEnv  string `toml:"password_env"`
}

type logTable struct {
	ShowText bool `toml:"show_text"`
}

// A withdrawalTable overlays the documented rule; amounts are minor units.
type withdrawalTable struct {
	Phones       []string         `toml:"phones"`
	Operators    []string         `toml:"operators"`
	Multiple     *int64           `toml:"multiple"`
	Min          *int64           `toml:"min"`
	Max          *int64           `toml:"max"`
	Daily        map[string]int64 `toml:"daily"`
	Count        *int             `toml:"count"`
	FeePermille  *int64           `toml:"fee_permille"`
	FeeMin       *int64           `toml:"fee_min"`
	FeeMax       *int64           `toml:"fee_max"`
	ApproveAbove *int64           `toml:"approve_above"`
	ClaimFirst   *bool            `toml:"claim_first"`
	Payer        string           `toml:"payer"`
	Automatic    bool             `toml:"automatic"`
}

type payoutsTable struct {
	NumberWait string `toml:"number_wait"`
	RefundWait string `toml:"refund_wait"`
}

const maxMoneyFile = 64 << 10

// readMoney reads the file of --money, and says where its keys stand.
func readMoney(name string) (*moneyFile, *fileCheck, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading --money: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMoneyFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading --money: %w", err)
	}
	c := &fileCheck{name: name, places: map[string][2]int{}}
	if len(text) > maxMoneyFile {
		return nil, nil, usagef("%s is larger than %d KB; is it the money file?", name, maxMoneyFile>>10)
	}
	m := &moneyFile{}
	err = toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(m)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		for i := range unknown.Errors {
			line, column := unknown.Errors[i].Position()
			c.at(line, column, "there is no setting %s; see docs/money.md", strings.Join(unknown.Errors[i].Key(), "."))
		}
		return nil, nil, c.err()
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		what := strings.TrimPrefix(wrong.Error(), "toml: ")
		if k := strings.Join(wrong.Key(), "."); k != "" {
			what = k + ": " + what
		}
		c.at(line, column, "%s", what)
		return nil, nil, c.err()
	case err != nil:
		return nil, nil, usagef("%s: %v", name, err)
	}
	c.scan(text)
	return m, c, nil
}

// A fileCheck collects what is wrong with a file.
type fileCheck struct {
	name     string
	places   map[string][2]int // line and column of each key and header
	problems []problem
}

type problem struct {
	line, column int
	text         string
}

// scan notes where the keys stand.
func (c *fileCheck) scan(text []byte) {
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		var parts []string
		first := -1
		for it := e.Key(); it.Next(); {
			if first < 0 {
				first = int(it.Node().Raw.Offset)
			}
			parts = append(parts, string(it.Node().Data))
		}
		if first < 0 {
			continue
		}
		key := strings.Join(parts, ".")
		switch {
		case e.Kind != unstable.KeyValue:
			table = key
		case table != "":
			key = table + "." + key
		}
		line := bytes.Count(text[:first], []byte{'\n'}) + 1
		c.places[key] = [2]int{line, first - bytes.LastIndexByte(text[:first], '\n')}
	}
}

// has says whether a key stands in the file.
func (c *fileCheck) has(key string) bool { _, ok := c.places[key]; return ok }

// bad notes a problem with a key, at its place or that of its table.
func (c *fileCheck) bad(key, format string, args ...any) {
	what := key
	for key != "" && !c.has(key) {
		key = key[:max(strings.LastIndexByte(key, '.'), 0)]
	}
	at := c.places[key]
	c.at(at[0], at[1], "%s: %s", what, fmt.Sprintf(format, args...))
}

func (c *fileCheck) at(line, column int, format string, args ...any) {
	c.problems = append(c.problems, problem{line, column, fmt.Sprintf(format, args...)})
}

// err is all problems in the order of the file, or nil.
func (c *fileCheck) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	sort.SliceStable(c.problems, func(i, j int) bool { return c.problems[i].line < c.problems[j].line })
	lines := make([]string, len(c.problems))
	for i, p := range c.problems {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", c.name, p.line, p.column, p.text)
		if p.line == 0 {
			lines[i] = c.name + ": " + p.text
		}
	}
	return usageError{strings.Join(lines, "\nzonehub: ")}
}
