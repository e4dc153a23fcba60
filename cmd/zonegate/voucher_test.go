package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zonegate/internal/control"
)

func TestVouchersWithoutDaemon(t *testing.T) {
	z := newZone(t, "")
	made := ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "3", "--batch", "mai", "--expires", "2030-01-31")
	if made.Plan != "jour" || made.Batch != "mai" || len(made.Vouchers) != 3 || made.Vouchers[0].Plan != "jour" || len(made.Vouchers[0].Code) != 9 {
		t.Fatalf("%+v", made)
	}
	out, _ := z.do(t, exitOK, "", "voucher", "create", "--plan", "jour", "--count", "2", "--batch", "juin")
	if lines := strings.Fields(out); len(lines) != 2 {
		t.Errorf("printed %q", out)
	}
	z.do(t, exitOK, "", "voucher", "revoke", made.Vouchers[0].Code)
	z.do(t, exitOK, strings.ToLower(made.Vouchers[1].Code)+"\n", "voucher", "revoke", "-")
	_, stderr := z.do(t, exitFailed, "", "voucher", "revoke", made.Vouchers[0].Code)
	if strings.Contains(stderr, made.Vouchers[0].Code) {
		t.Errorf("a code stands in an error: %s", stderr)
	}

	expires := time.Date(2030, 2, 1, 0, 0, 0, 0, time.UTC) // with its whole last day
	want := control.Vouchers{Batches: []control.VoucherCount{
		{Batch: "juin", Plan: "jour", PlanVersion: 1, Unused: 2},
		{Batch: "mai", Plan: "jour", PlanVersion: 1, Expires: &expires, Unused: 1},
	}}
	if diff := cmp.Diff(want, ask[control.Vouchers](t, z, exitOK, "voucher", "list")); diff != "" {
		t.Error(diff)
	}
	var failed struct{ Error control.Error }
	text, _ := z.do(t, exitFailed, "", "voucher", "create", "--plan", "mois", "--count", "1", "--json")
	if err := json.Unmarshal([]byte(text), &failed); err != nil || failed.Error.Code != control.CodeNotFound {
		t.Errorf("%v %s", err, text)
	}
	// Nothing of this may be in the data directory in the clear.
	filepath.WalkDir(filepath.Join(z.dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for _, v := range made.Vouchers {
			if bytes.Contains(content, []byte(v.Code)) || bytes.Contains(content, []byte(strings.ReplaceAll(v.Code, "-", ""))) {
				t.Errorf("%s holds a code", path)
			}
		}
		return nil
	})
}

func TestSealed(t *testing.T) {
	z := newZone(t, "")
	made := ask[control.CreatedVouchers](t, z, exitOK, "voucher", "create", "--plan", "jour", "--count", "2", "--sealed")
	if v := made.Vouchers; len(v) != 2 || v[0].Password == "" || v[0].Password == v[1].Password || strings.Contains(v[0].Code, ",") {
		t.Errorf("%+v", made)
	}
	out, _ := z.do(t, exitOK, "", "voucher", "create", "--plan", "jour", "--count", "1", "--sealed")
	if code, password, ok := strings.Cut(strings.TrimSpace(out), ","); !ok || code == "" || password == "" {
		t.Errorf("%q", out)
	}
	z.do(t, exitOK, "code,password\nxy-01,secret\nxy-02,other\n", "voucher", "import", "--plan", "jour", "-")
	z.do(t, exitOK, made.Vouchers[0].Code, "voucher", "revoke", "-")
}

func TestImport(t *testing.T) {
	z := newZone(t, "")
	z.do(t, exitOK, "ABC-1\r\n\r\nTicket Ö7\r\n", "voucher", "import", "--plan", "jour", "--batch", "paper", "-")
	file := filepath.Join(z.dir, "codes.csv")
	if err := os.WriteFile(file, []byte("\ufeffPlan;Code;Expires\njour;x-100;2031-05-01\njour;x-101;2031-05-01\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	z.do(t, exitOK, "", "voucher", "import", file, "--batch", "sheet")
	expires := time.Date(2031, 5, 2, 0, 0, 0, 0, time.UTC)
	want := control.Vouchers{Batches: []control.VoucherCount{
		{Batch: "paper", Plan: "jour", PlanVersion: 1, Unused: 2},
		{Batch: "sheet", Plan: "jour", PlanVersion: 1, Expires: &expires, Unused: 2},
	}}
	if diff := cmp.Diff(want, ask[control.Vouchers](t, z, exitOK, "voucher", "list")); diff != "" {
		t.Error(diff)
	}

	for _, tt := range []struct {
		name, text string
		says       []string
	}{
		{"known, twice, short", "new-1\n\nABC1\nnew-2\nNEW 2\nab\n", []string{"line 3:", "line 5 is the same as line 4", "line 6:"}},
		{"unknown column", "code,colour\nx,red\n", []string{"line 1", "colour"}},
		{"no header", "aaaa1,jour\n", []string{"line 1", "code,password,plan"}},
		{"bad rows", "code,expires\n,2030-01-01\nfine1,soon\nfine2\n", []string{"line 2", "line 3", "line 4"}},
		{"empty", "\n\n", []string{"no code"}},
		{"bad quotes", "good1\n\"half\n", []string{"line 2"}},
		{"passwords", "code,password\np-01,secret\np-02,\n", []string{"lines 3 and 2"}},
		{"two plans", "code,plan\nq-1,jour\nq-2,mois\n", []string{"line 3"}},
	} {
		_, stderr := z.do(t, exitFailed, tt.text, "voucher", "import", "--plan", "jour", "-")
		for _, s := range tt.says {
			if !strings.Contains(stderr, s) {
				t.Errorf("%s: %q is not in:\n%s", tt.name, s, stderr)
			}
		}
		if !strings.Contains(stderr, "nothing was imported") {
			t.Errorf("%s: %s", tt.name, stderr)
		}
	}
	if diff := cmp.Diff(want, ask[control.Vouchers](t, z, exitOK, "voucher", "list")); diff != "" {
		t.Errorf("a refused import left something:\n%s", diff)
	}
	if _, stderr := z.do(t, exitFailed, "aaaa\n", "voucher", "import", "-"); !strings.Contains(stderr, "--plan") {
		t.Errorf("no plan: %s", stderr)
	}
}
