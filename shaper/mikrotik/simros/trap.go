package simros

import (
	"fmt"
	"strconv"
)

// A Trap is a refusal: the !trap sentence that a client gets.
type Trap struct {
	// Category is the number that [API] lists: 0 missing item or command, 1
	// argument value, 2 interrupted, 3 scripting, 4 general, 5 API, 6 TTY, 7
	// :return. Negative leaves it out, which [API] allows ("on some
	// occasions").
	Category int
	Message  string
}

// Error returns the router's message.
func (t *Trap) Error() string { return t.Message }

func (t *Trap) words() []string {
	w := []string{"!trap"}
	if t.Category >= 0 {
		w = append(w, "=category="+strconv.Itoa(t.Category))
	}
	return append(w, "=message="+t.Message)
}

func trapf(category int, format string, args ...any) *Trap {
	return &Trap{Category: category, Message: fmt.Sprintf(format, args...)}
}

// The messages below are the router's own.
var (
	errNoCommand   = &Trap{0, "no such command"}                    // [FIELD]
	errNoPrefix    = &Trap{0, "no such command prefix"}             // [FIELD]
	errNoItem      = &Trap{0, "no such item"}                       // [FIELD]
	errNoID        = &Trap{0, "missing =.id="}                      // [LAB]; the category is assumed
	errNoItem4     = &Trap{0, "no such item (4)"}                   // [FIELD] for an internal number
	errInterrupted = &Trap{2, "interrupted"}                        // [API] category 2; go-routeros ends a listen on it
	errPermission  = &Trap{-1, "not enough permissions (9)"}        // [FIELD]
	errLogin       = &Trap{-1, "invalid user name or password (6)"} // [FIELD] since 6.43
	errLoginOld    = &Trap{-1, "cannot log in"}                     // [LIB]
	errBadWord     = &Trap{-1, "expected end of command"}           // [FIELD]
)

// noMatch: [API] gives this very message with category 1.
func noMatch(name string) *Trap { return trapf(1, "input does not match any value of %s", name) }

// title is how a refusal calls the property: [LAB] a firewall rule's interface
// is "interface", whichever property names it.
func (p *prop) title() string {
	if p.label != "" {
		return p.label
	}
	return p.name
}

// invalid: [FIELD].
func invalid(name string) *Trap { return trapf(1, "invalid value for argument %s", name) }

// failure: general failures carry no category [FIELD].
func failure(format string, args ...any) *Trap { return trapf(-1, "failure: "+format, args...) }
