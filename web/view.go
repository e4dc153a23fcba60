package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/url"
	"time"
)

//go:embed style.css
var style string

// StyleSource is the style sheet's hash, as a Content-Security-Policy names
// it.
var StyleSource = source(style)

// submit sends the one form of the page to the NAS: the only script there is,
// and nothing but a saved tap.
const submit = "document.forms[0].submit()"

// ScriptSource is the hash of the script of SignInPage.
var ScriptSource = source(submit)

func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A Page is what all pages have in common.
type Page struct {
	Lang Lang
	// Sticky says that the customer picked the language, so links keep it.
	Sticky bool
	Zone   string
	// Contact is how a customer reaches the seller; may be empty.
	Contact string
	// Message is what the operator has to say, above everything else; may be
	// empty.
	Message string
	// Megabyte is how many octets the zone calls one megabyte.
	Megabyte uint64
	// Self is the page that the link to the other language leads to, empty for
	// no link; Token is its t parameter, if any.
	Self, Token string
	// State, on the pages of a customer whom a NAS holds, is what the NAS said,
	// signed: the s parameter of Self and of every form.
	State string
	// Alert is shown above everything else, Notice too but calmly; TextNone is
	// no notice.
	Alert  *Alert
	Notice Text
	// NoPay says under the price list why nobody can pay by mobile money now;
	// TextNone says nothing.
	NoPay Text
}

// An Alert says what went wrong and what to do next.
type Alert struct {
	What, Next string
}

// Link returns the address of a page of the portal, with the language if the
// customer picked one.
func (p Page) Link(path, token string) string {
	q := url.Values{}
	if token != "" {
		q.Set("t", token)
	}
	if p.Sticky {
		q.Set("lang", p.Lang.Tag())
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func (p Page) other() Lang {
	if p.Lang == French {
		return English
	}
	return French
}

func (p Page) otherLink() string {
	p.Sticky, p.Lang = true, p.other()
	to := p.Link(p.Self, p.Token)
	if p.State != "" {
		to += "&s=" + url.QueryEscape(p.State)
	}
	return to
}

// A Plan is one line of the price list.
type Plan struct {
	Name     string
	Amount   int64
	Currency string
	Duration time.Duration
	// Cap is in octets, Rate in bit/s towards the customer; zero means none.
	Cap, Rate uint64
	Devices   int
	// Pay is the page where it is paid by mobile money; empty if it cannot be.
	Pay string
}

// A Balance is what is left of something bought.
type Balance struct {
	Plan string
	// Started says that the time has begun to count.
	Started  bool
	TimeLeft time.Duration
	// Ends is zero when nobody knows.
	Ends time.Time
	// Cap is zero without a data cap.
	Cap, Used, OctetsLeft uint64
	// CIR and MIR are in bit/s towards the customer; zero means none.
	CIR, MIR uint64
}

// A Home is the page where a code is typed.
type Home struct {
	Page
	// Code is what was typed before, Confirm asks whether the code shall come
	// to this device.
	Code    string
	Confirm bool
	// Waiting is what was bought and can go on; nil if nothing.
	Waiting *Balance
	// FormToken goes with the buttons.
	FormToken string
	Plans     []Plan
	// Adding says that the device is online and the code is for later.
	Adding bool
	// Payment is the page of the device's payment that is not decided, if any.
	Payment string
}

// A PayForm is the page where a mobile payment is started.
type PayForm struct {
	Page
	Plan      string
	Amount    int64
	Currency  string
	FormToken string
	Hidden    []Field
	Ways      []Way
	// Example is a number as one is typed; empty if none is asked for. Phone is
	// what was typed before.
	Example, Phone string
	// Back is the page with the plans.
	Back string
}

// A Field is a hidden one.
type Field struct{ Name, Value string }

// A Way is a way to pay.
type Way struct {
	ID, Name string
	Picked   bool
}

// A Payment is one that was started.
type Payment struct {
	Page
	// Refresh is when which page is loaded next, as HTML writes it; may be
	// empty.
	Refresh string
	// Title and Lines say where it is; Done says that it is paid.
	Title Text
	Lines []string
	Done  bool
	// URL is the provider's page; Ask is where the button "I have paid" leads,
	// with FormToken; Next is another page to go to, and Button what the link
	// says. Each may be empty.
	URL            string
	Ask, FormToken string
	Next           string
	Button         Text
	// Plan is what is paid for, Sum how much and with what. Code redeems it;
	// may be empty.
	Plan, Sum, Code string
}

// A Status is the page of a device that has something.
type Status struct {
	Page
	Online, Pending bool
	Balance         Balance
	Queue           []Balance
	FormToken       string
	// TimeStops says that the time stands still while the device is offline.
	TimeStops bool
	// KeepURL is the whole address of this page; empty when it is not known.
	KeepURL string
	// Held says that the device is behind a NAS: no button here reaches it.
	Held bool
	// Payment is as in Home.
	Payment string
}

// A Held is the first page of a customer whom a NAS holds.
type Held struct {
	Page
	// Code is what was typed before, Confirm asks whether the code shall come
	// to this device.
	Code    string
	Confirm bool
	// Failed says that the NAS did not let the customer in: going on is the
	// next thing to try.
	Failed bool
	Plans  []Plan
}

// A SignIn is the form with which a browser signs in at a NAS.
type SignIn struct {
	Page
	// Action is the login address of the NAS; Password is what it wants to
	// see, clear or hashed; Then is where it leads afterwards.
	Action, User, Password, Then string
}

// An Elsewhere is the page of a grant that is not on this device.
type Elsewhere struct {
	Page
	Balance   Balance
	FormToken string
}

// A Message is a page that says one thing.
type Message struct {
	Page
	// Back is the page to go to, if any, and Button what the button there says.
	Back   string
	Button Text
}
