package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"zonegate/hub"
)

// withMoney is with, for commands that may have to ask providers.
func (e *env) withMoney(ctx context.Context, money, public string, do func(h *hub.Hub) error) (err error) {
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	t, err := loadMoney(money, public, e.lookup, log, io.Discard)
	if err != nil {
		return err
	}
	defer t.close()
	h, st, _, err := openHub(ctx, e.data, e.database, false, hub.Options{Collectors: t.collectors, PublicURL: public, Payouts: t.payouts}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(h)
}

// moneyFlags are what serve was told about money, so that providers can be
// asked.
func moneyFlags(f *flag.FlagSet) (money, public *string) {
	return f.String("money", "", "`file` of serve --money, so that providers can be asked about what is not clear"),
		f.String("public-url", "", "`URL` of serve --public-url")
}

func defineStatementImport(f *flag.FlagSet) action {
	money, public := moneyFlags(f)
	provider := f.String("provider", "", "`name` of the provider in the file of --money")
	period := f.String("period", "", "`day` or month that the statement covers, as 2026-02-10 or 2026-02")
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "CSV file, or - for the standard input")
		if err != nil {
			return err
		}
		if *provider == "" || *period == "" {
			return usagef("give --provider and --period")
		}
		text := e.stdin
		if name != "-" {
			file, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("reading a statement: %w", err)
			}
			defer file.Close()
			text = file
		}
		return e.withMoney(ctx, *money, *public, func(h *hub.Hub) error {
			s, r, err := h.ImportStatement(ctx, operator, *provider, *period, text)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stderr, "%d lines were taken.\n", s.Lines)
			return e.tell(r)
		})
	}
}

func defineReconcile(f *flag.FlagSet) action {
	money, public := moneyFlags(f)
	sheet := f.Bool("csv", false, "print the whole report as CSV")
	return func(ctx context.Context, e *env, args []string) error {
		period, err := one(args, "day or month, as 2026-02-10 or 2026-02")
		if err != nil {
			return err
		}
		return e.withMoney(ctx, *money, *public, func(h *hub.Hub) error {
			r, err := h.Reconcile(ctx, operator, period)
			if err != nil {
				return err
			}
			if *sheet {
				return r.WriteCSV(e.stdout)
			}
			return e.tell(r)
		})
	}
}

// tell prints what does not agree, one finding a line.
func (e *env) tell(r hub.Reconciliation) error {
	for _, f := range r.Findings {
		if f.Cleared.IsZero() {
			fmt.Fprintf(e.stdout, "%s\t%s\t%d\t%s\t%s\n", f.Kind, f.Subject, f.Amount, f.Currency, f.Detail)
		}
	}
	if r.Clean() {
		fmt.Fprintf(e.stderr, "%s: all agrees.\n", r.Period)
		return nil
	}
	return fmt.Errorf("%s does not agree; see above, and the page of the reconciliation", r.Period)
}

func defineLedgerCorrect(f *flag.FlagSet) action {
	by := f.String("by", "", "`name` of the person who corrects")
	why := f.String("reason", "", "`text`: why")
	ref := f.String("ref", "", "`text` that no other correction has")
	day := f.String("day", "", "`day` to book it on, as 2026-02-10; now if it is not given")
	currency := f.String("currency", "", "`code` of the currency, as XOF")
	return func(ctx context.Context, e *env, args []string) error {
		if *by == "" || *why == "" || *ref == "" || *currency == "" {
			return usagef("give --by, --reason, --ref and --currency")
		}
		var postings []hub.Posting
		for _, a := range args {
			account, text, ok := strings.Cut(a, "=")
			n, err := strconv.ParseInt(text, 10, 64)
			if !ok || err != nil {
				return usagef("write each posting as ACCOUNT=MINOR-UNITS, as party/rgz=-500, not %q", a)
			}
			postings = append(postings, hub.Posting{Account: account, Currency: *currency, Amount: n})
		}
		return e.with(ctx, func(h *hub.Hub) error {
			var at time.Time
			if *day != "" {
				var err error
				if at, err = time.ParseInLocation(time.DateOnly, *day, h.Zone()); err != nil {
					return usagef("--day must be as 2026-02-10")
				}
			}
			t, err := h.Correct(ctx, operator, *ref, *by+": "+*why, at, postings)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s\n", t.Ref)
			return nil
		})
	}
}

func defineResellerKYC(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if len(args) != 2 {
			return usagef("give the reseller and his level: unverified, basic, verified or premium")
		}
		return e.with(ctx, func(h *hub.Hub) error { return h.SetKYC(ctx, operator, args[0], args[1]) })
	}
}
