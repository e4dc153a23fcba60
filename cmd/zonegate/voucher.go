package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"zonegate/internal/control"
	"zonegate/sync/central"
)

func defineVoucherCreate(f *flag.FlagSet) action {
	plan := f.String("plan", "", "`id` of the plan that the vouchers are for")
	count := f.Int("count", 0, "how `many`")
	batch := f.String("batch", "", "`name` to count them under (default: the time now)")
	expires := f.String("expires", "", "last `day` of the first use, YYYY-MM-DD")
	sealed := f.Bool("sealed", false, "print a password beside each, for the login page of a NAS")
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		if *plan == "" || *count < 1 {
			return usagef("voucher create needs --plan ID and --count N")
		}
		end, err := lastDay(*expires)
		if err != nil {
			return usagef("--expires: %v", err)
		}
		return e.with(ctx, func(c *control.Client) error {
			made, err := c.CreateVouchers(ctx, control.CreateVouchers{
				Plan: *plan, Count: *count, Batch: batchName(*batch), Expires: end, Sealed: *sealed,
			})
			if err != nil || e.json {
				return e.printed(made, err)
			}
			w := bufio.NewWriter(e.stdout)
			for _, v := range made.Vouchers {
				if v.Password != "" {
					fmt.Fprintf(w, "%s,%s\n", v.Code, v.Password)
				} else {
					fmt.Fprintln(w, v.Code)
				}
			}
			return w.Flush()
		})
	}
}

// batchName names a batch after the time when nobody else did.
func batchName(given string) string {
	if given != "" {
		return given
	}
	return time.Now().UTC().Format("20060102-150405")
}

// lastDay reads a day, which is meant with its evening (UTC), or a full time.
// An empty text is no end.
func lastDay(s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		t = t.UTC()
		return &t, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return nil, fmt.Errorf("%q is no day; write YYYY-MM-DD", s)
	}
	t = t.AddDate(0, 0, 1)
	return &t, nil
}

func defineVoucherImport(f *flag.FlagSet) action {
	plan := f.String("plan", "", "`id` of the plan of codes that name none")
	batch := f.String("batch", "", "`name` to count them under (default: the time now)")
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "FILE, or - for the standard input")
		if err != nil {
			return err
		}
		in := e.stdin
		if name != "-" {
			file, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("opening the codes: %w", err)
			}
			defer file.Close()
			in = file
		}
		text, err := readImport(in)
		if err != nil {
			return fmt.Errorf("nothing was imported from %s: %w", name, err)
		}
		sets, left, err := readVouchers(text, *plan)
		if err != nil {
			return fmt.Errorf("nothing was imported from %s:\n%w", name, err)
		}
		return e.with(ctx, func(c *control.Client) error {
			done := control.ImportedVouchers{Batch: batchName(*batch)}
			for _, rows := range sets {
				got, err := c.ImportVouchers(ctx, control.ImportVouchers{Batch: done.Batch, Rows: rows})
				if err != nil && done.Imported > 0 {
					return fmt.Errorf("%d vouchers were imported from %s, and none of plan %s:\n%w", done.Imported, name, rows[0].Plan, err)
				}
				if err != nil {
					return fmt.Errorf("nothing was imported from %s:\n%w", name, err)
				}
				done.Imported += got.Imported
			}
			if e.json {
				return e.print(done)
			}
			fmt.Fprintf(e.stdout, "%d vouchers imported as batch %s\n", done.Imported, done.Batch)
			if left > 0 {
				fmt.Fprintf(e.stdout, "%d were left out because they are not active\n", left)
			}
			return nil
		})
	}
}

// readImport reads a file of codes.
func readImport(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxImport+1))
	if err != nil {
		return nil, fmt.Errorf("reading the codes: %w", err)
	}
	if len(text) > maxImport {
		return nil, fmt.Errorf("the file is larger than %d MB; split it", maxImport>>20)
	}
	// Spreadsheets begin their files with a byte order mark.
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}

// readVouchers reads our own kind of list, or what a central server has
// generated (JSON, or a table with its columns), of which it leaves out what is
// not active. Each set is imported as a whole.
func readVouchers(text []byte, plan string) (sets [][]control.ImportLine, left int, err error) {
	if !generated(text) {
		rows, err := readCodes(text, plan)
		return [][]control.ImportLine{rows}, 0, err
	}
	list, left, err := central.ReadVouchers(text)
	if err != nil {
		return nil, 0, err
	}
	line := 0
	for _, of := range list {
		if of.Plan == "" {
			of.Plan = plan
		}
		if of.Plan == "" {
			return nil, 0, errors.New("the vouchers name no plan; add --plan ID")
		}
		rows := make([]control.ImportLine, len(of.Codes))
		for i, code := range of.Codes {
			line++
			rows[i] = control.ImportLine{Line: line, Code: code, Plan: of.Plan}
		}
		sets = append(sets, rows)
	}
	return sets, left, nil
}

// generated says whether a central server has written a list.
func generated(text []byte) bool {
	first, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	if len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		return true
	}
	for _, name := range strings.FieldsFunc(string(first), func(r rune) bool { return strings.ContainsRune(",;\t\r\" ", r) }) {
		if strings.EqualFold(name, "forfait_id") || strings.EqualFold(name, "status") {
			return true
		}
	}
	return false
}

// maxImport bounds a file of codes, in bytes.
const maxImport = 4 << 20

var columns = []string{"code", "password", "plan", "site", "expires"}

// readCodes reads one code per line, or CSV (comma, semicolon or tab) whose
// first line names the columns code, password, plan, site and expires. Every problem is
// returned, with its line.
func readCodes(text []byte, plan string) ([]control.ImportLine, error) {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	c := csv.NewReader(bytes.NewReader(text))
	c.FieldsPerRecord, c.TrimLeadingSpace = -1, true
	for _, comma := range ";\t" {
		if bytes.ContainsRune(first, comma) && !bytes.ContainsRune(first, ',') {
			c.Comma = comma
		}
	}
	var (
		rows   []control.ImportLine
		errs   []error
		header []string
	)
	for n := 0; ; n++ {
		record, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			errs = append(errs, err) // with its line
			break
		}
		line, _ := c.FieldPos(0)
		if n == 0 {
			if header, err = readHeader(record); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			if header != nil {
				continue
			}
			header = columns[:1]
		}
		row, err := readRow(header, record, plan)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		row.Line = line
		rows = append(rows, row)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("there is no code in it")
	}
	return rows, nil
}

// readHeader returns the columns, or nil when the line holds none.
func readHeader(record []string) ([]string, error) {
	header := make([]string, len(record))
	for i, name := range record {
		header[i] = strings.ToLower(strings.TrimSpace(name))
	}
	if !slices.Contains(header, "code") {
		if len(record) > 1 {
			return nil, fmt.Errorf("several columns need a first line that names them: %s", strings.Join(columns, ","))
		}
		return nil, nil
	}
	for i, name := range header {
		if !slices.Contains(columns, name) {
			return nil, fmt.Errorf("unknown column %q; the columns are %s", name, strings.Join(columns, ", "))
		}
		if slices.Index(header, name) != i {
			return nil, fmt.Errorf("column %q is there twice", name)
		}
	}
	return header, nil
}

func readRow(header, record []string, plan string) (control.ImportLine, error) {
	if len(record) != len(header) {
		return control.ImportLine{}, fmt.Errorf("has %d columns instead of %d", len(record), len(header))
	}
	row := control.ImportLine{Plan: plan}
	for i, name := range header {
		value := strings.TrimSpace(record[i])
		switch {
		case name == "code":
			row.Code = value
		case value == "":
		case name == "password":
			row.Password = value
		case name == "plan":
			row.Plan = value
		case name == "site":
			row.Site = value
		case name == "expires":
			end, err := lastDay(value)
			if err != nil {
				return row, err
			}
			row.Expires = end
		}
	}
	switch {
	case row.Code == "":
		return row, errors.New("has no code")
	case row.Plan == "":
		return row, errors.New("names no plan; add a column, or --plan ID")
	}
	return row, nil
}

func defineVoucherList(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			list, err := c.Vouchers(ctx)
			if err != nil || e.json {
				return e.printed(list, err)
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "BATCH\tPLAN\tSITE\tEXPIRES\tUNUSED")
			for _, b := range list.Batches {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", b.Batch, b.Plan, orDash(b.Site), timeOrDash(b.Expires), b.Unused)
			}
			return w.Flush()
		})
	}
}

func defineVoucherRevoke(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		code, err := one(args, "CODE, or - to read it from the standard input")
		if err != nil {
			return err
		}
		if code, err = e.secretWord(code); err != nil {
			return err
		}
		return e.with(ctx, func(c *control.Client) error {
			d, err := c.RevokeVoucher(ctx, code)
			return e.did(d, err, "the code is worthless now")
		})
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func timeOrDash(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.DateTime)
}
