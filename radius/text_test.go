package radius

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"zonegate"
)

// allTexts has every Reply-Message.
func allTexts() []text {
	list := []text{textTicket, textEmpty, textNoDevice, textBadDevice, textOtherMAC, textMethod, textEAP}
	for _, r := range refusals {
		list = append(list, r.says)
	}
	return list
}

func TestTextsFitAndAreHarmless(t *testing.T) {
	for _, x := range allTexts() {
		for _, l := range []Language{French, English} {
			s := strings.ReplaceAll(x.in(l), waitMark, l.wait(100000*time.Hour))
			if s == "" || len(s) > 253 || !utf8.ValidString(s) {
				t.Errorf("%d octets in %s: %q", len(s), l, s)
			}
			if strings.ContainsAny(s, "\"'<>\\&`\r\n\t\x00") {
				t.Errorf("a character that means something in a page of the NAS: %q", s)
			}
		}
		if x.french == x.english {
			t.Errorf("not translated: %q", x.french)
		}
		if strings.Contains(x.french, waitMark) != strings.Contains(x.english, waitMark) {
			t.Errorf("only one language says how long to wait: %q", x.english)
		}
	}
}

// Every sentinel of the domain is a Reply-Message, no answer at all, or cannot
// come out of a login. A new one makes this test fail until somebody decides.
func TestEverySentinelIsDecided(t *testing.T) {
	elsewhere := map[string]string{
		"ErrCorrupt":       "a journal that does not fit; a fault of ours",
		"ErrNoSuchSession": "only asked with a session's number",
		"ErrCodeConflict":  "only when codes are made",
		"ErrNoHub":         "only for the hub's client",
		"ErrStalePlan":     "only for a push", "ErrPlanTaken": "only for a push or the configuration",
		"ErrBadPush": "only for a push", "ErrNoSuchSetting": "only for a push",
		"ErrNoSuchEntry": "only for the hub's client",
		"ErrPaymentOpen": "only for the portal", "ErrManyPayments": "only for the portal",
		"ErrPaymentsFull": "only for the portal", "ErrBadIntent": "only for the portal",
		"ErrNoSuchIntent": "only for the portal and the hub's client",
	}
	values := map[string]error{
		"ErrNotPaidYet": zonegate.ErrNotPaidYet,
		"ErrNotDurable": zonegate.ErrNotDurable, "ErrStopped": zonegate.ErrStopped,
		"ErrWrongCode": zonegate.ErrWrongCode, "ErrCodeTooLong": zonegate.ErrCodeTooLong,
		"ErrWrongPassword": zonegate.ErrWrongPassword, "ErrForeignCode": zonegate.ErrForeignCode,
		"ErrUsedCode": zonegate.ErrUsedCode, "ErrExpiredCode": zonegate.ErrExpiredCode,
		"ErrRevokedCode": zonegate.ErrRevokedCode, "ErrOtherDevice": zonegate.ErrOtherDevice,
		"ErrMovedRecently": zonegate.ErrMovedRecently, "ErrTooManyCodes": zonegate.ErrTooManyCodes,
		"ErrTooOften": zonegate.ErrTooOften,
		"ErrNoGrant":  zonegate.ErrNoGrant, "ErrNoSuchGrant": zonegate.ErrNoSuchGrant,
		"ErrGrantEnded": zonegate.ErrGrantEnded, "ErrNoSuchPlan": zonegate.ErrNoSuchPlan,
	}
	found := 0
	for _, name := range sentinels(t, "..") {
		found++
		if _, ok := elsewhere[name]; ok {
			continue
		}
		err, ok := values[name]
		if !ok {
			t.Errorf("%s has neither a Reply-Message nor another decision", name)
			continue
		}
		for _, e := range []error{err, fmt.Errorf("wrapped: %w", err), &zonegate.RetryError{Err: err, After: 90 * time.Second}} {
			fr, ok := French.refuse(e)
			en, _ := English.refuse(e)
			if ok == unanswered(e) {
				t.Errorf("%s: a Reply-Message %v, and no answer %v", name, ok, unanswered(e))
			}
			if ok && (fr == en || strings.Contains(fr+en, waitMark)) {
				t.Errorf("%s: %q and %q", name, fr, en)
			}
		}
	}
	if found < len(values) {
		t.Errorf("only %d sentinels found in the domain", found)
	}
	if _, ok := French.refuse(errors.New("something")); ok {
		t.Error("a fault of ours has a Reply-Message")
	}
}

// sentinels returns the exported error variables of a package's folder.
func sentinels(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of %s: %v, %v", dir, files, err)
	}
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			for i := 0; ok && i < len(v.Names); i++ {
				if strings.HasPrefix(v.Names[i].Name, "Err") {
					names = append(names, v.Names[i].Name)
				}
			}
			return true
		})
	}
	return names
}

func TestWaitIsInMinutesAndNeverTooShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "1 minute", time.Second: "1 minute", time.Minute: "1 minute",
		time.Minute + 1: "2 minutes", 10 * time.Minute: "10 minutes",
	} {
		if got := French.wait(d); got != want {
			t.Errorf("%v is said as %q, want %q", d, got, want)
		}
	}
	again := &zonegate.RetryError{Err: zonegate.ErrTooManyCodes, After: 3*time.Minute + time.Second}
	if fr, _ := French.refuse(again); !strings.Contains(fr, "Attendez 4 minutes") {
		t.Error(fr)
	}
	if en, _ := English.refuse(again); !strings.Contains(en, "Wait 4 minutes") {
		t.Error(en)
	}
	if other, _ := Language("de").refuse(zonegate.ErrWrongCode); !strings.HasPrefix(other, "Ce code") {
		t.Error("another language is not French")
	}
}
