package central

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Codes are vouchers of one plan, for [zonegate.Gate.AddVouchers].
type Codes struct {
	// Plan is the plan's id; empty where a file does not say it.
	Plan  string
	Codes []string
}

// maxImport is what the Gate adds at once.
const maxImport = 20000

// ReadVouchers reads the answer of vouchers/generate as it was saved (JSON), or
// a table (CSV with commas, semicolons or tabs): its columns are named by a
// first line with code, forfait_id and perhaps status, or it has the code alone
// or the code and the plan. Vouchers that are not active are left out and
// counted. All of it can be used, or the error says what cannot.
func ReadVouchers(content []byte) (codes []Codes, left int, err error) {
	content = bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))
	if len(content) == 0 {
		return nil, 0, errors.New("the file is empty")
	}
	var rows []voucherRow
	if content[0] == '{' || content[0] == '[' {
		rows, err = readGenerated(content)
	} else {
		rows, err = readTable(content)
	}
	if err != nil {
		return nil, 0, err
	}
	byPlan := map[string][]string{}
	seen := map[string]int{}
	n := 0
	for i, r := range rows {
		switch code := strings.TrimSpace(r.Code); {
		case r.Status != "" && !strings.EqualFold(r.Status, "active"):
			left++
		case code == "":
			return nil, 0, fmt.Errorf("voucher %d has no code", i+1)
		case seen[code] > 0:
			return nil, 0, fmt.Errorf("vouchers %d and %d are the same", seen[code], i+1)
		default:
			seen[code] = i + 1
			plan := strings.TrimSpace(r.Plan)
			byPlan[plan] = append(byPlan[plan], code)
			n++
		}
	}
	if n == 0 {
		return nil, 0, errors.New("there is no active voucher in it")
	}
	if n > maxImport {
		return nil, 0, fmt.Errorf("%d vouchers are too many at once; split them into files of at most %d", n, maxImport)
	}
	for plan, list := range byPlan {
		codes = append(codes, Codes{plan, list})
	}
	sort.Slice(codes, func(i, j int) bool { return codes[i].Plan < codes[j].Plan })
	return codes, left, nil
}

type voucherRow struct {
	Code   string `json:"code"`
	Plan   string `json:"forfait_id"`
	Status string `json:"status"`
}

func readGenerated(content []byte) ([]voucherRow, error) {
	var list []voucherRow
	if content[0] == '[' {
		if err := json.Unmarshal(content, &list); err != nil {
			return nil, fmt.Errorf("reading the vouchers: %w", err)
		}
		return list, nil
	}
	var answer struct {
		Items []voucherRow `json:"items"`
		Total number       `json:"total"`
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return nil, fmt.Errorf("reading the vouchers: %w", err)
	}
	if answer.Total.set && answer.Total.n != int64(len(answer.Items)) {
		return nil, fmt.Errorf("the file is not whole: it is of %d vouchers, and %d are in it", answer.Total.n, len(answer.Items))
	}
	return answer.Items, nil
}

// readTable reads lines of fields. A field may stand in quotes; what is in it
// has no separators, so encoding/csv would only cost 14 KB of the program.
func readTable(content []byte) ([]voucherRow, error) {
	lines := strings.Split(string(content), "\n")
	separator := ","
	for _, s := range []string{",", ";", "\t"} {
		if strings.Contains(lines[0], s) {
			separator = s
			break
		}
	}
	columns := []string{"code", "forfait_id", "status"}
	var rows []voucherRow
	for n, line := range lines {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		fields := strings.Split(line, separator)
		for i, f := range fields {
			f = strings.TrimSpace(f)
			if len(f) > 1 && f[0] == '"' && f[len(f)-1] == '"' {
				f = f[1 : len(f)-1]
			}
			if strings.Contains(f, `"`) {
				return nil, fmt.Errorf("reading the vouchers: line %d has a quote that does not belong there", n+1)
			}
			fields[i] = f
		}
		if len(rows) == 0 && hasColumn(fields, "code") {
			columns = fields
			continue
		}
		var row voucherRow
		for i, f := range fields {
			if i >= len(columns) {
				break
			}
			switch strings.ToLower(columns[i]) {
			case "code":
				row.Code = f
			case "forfait_id", "plan":
				row.Plan = f
			case "status":
				row.Status = f
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func hasColumn(fields []string, name string) bool {
	for _, f := range fields {
		if strings.EqualFold(f, name) {
			return true
		}
	}
	return false
}
