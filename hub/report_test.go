package hub

import (
	"bytes"
	"strings"
	"testing"
)

// TestReportHasNoFormulas: what providers and customers wrote is no formula in
// anybody's spreadsheet.
func TestReportHasNoFormulas(t *testing.T) {
	for _, bad := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1"} {
		var b bytes.Buffer
		r := Reconciliation{Period: "2026-02", Findings: []Finding{{Kind: "only_there", Subject: bad, Detail: bad}}}
		if err := r.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "'"+bad[:1]); n != 2 {
			t.Errorf("%q is kept out of %d of 2 cells: %s", bad, n, b.String())
		}
	}
}
