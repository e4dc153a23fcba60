package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"zonegate"
	"zonegate/internal/config"
)

// load reads and checks the configuration.
func (e *env) load() (*config.Config, error) { return readConfig(e.config) }

func readConfig(name string) (*config.Config, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration %s; write one with: zonegate init", name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the configuration: %w", err)
	}
	defer f.Close()
	return config.Parse(f, name)
}

// plans turns the plans of the file into what the gate sells. The franc CFA
// of both zones has no smaller unit; XOF stands for either.
func plans(from []config.Plan) []zonegate.Plan {
	out := make([]zonegate.Plan, len(from))
	for i, p := range from {
		out[i] = zonegate.Plan{
			ID: p.ID, Name: p.Name, Price: zonegate.Money{Amount: p.PriceFCFA, Currency: "XOF"},
			Duration: p.Duration, DataCap: p.DataLimit,
			Rate: zonegate.Rate{
				CIRUp: p.CIRUp, CIRDown: p.CIRDown, MIRUp: p.MIRUp, MIRDown: p.MIRDown,
			},
			DevicesMax: p.DevicesMax, Trial: p.Trial,
		}
		if p.Online {
			out[i].Time = zonegate.Online
		}
	}
	return out
}

func defineInit(f *flag.FlagSet) action {
	force := f.Bool("force", false, "replace a configuration that is there")
	return func(_ context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(e.config), 0o755); err != nil {
			return fmt.Errorf("making the directory of the configuration: %w", err)
		}
		mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
		if *force {
			mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		}
		out, err := os.OpenFile(e.config, mode, 0o600)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already and was left alone; --force replaces it", e.config)
		}
		if err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
		_, err = out.WriteString(config.Minimal)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
		if e.json {
			return e.print(struct {
				Config string `json:"config"`
			}{e.config})
		}
		fmt.Fprintf(e.stdout, "wrote %s\nEdit it, then: zonegate check-config, zonegate doctor, zonegate run\n", e.config)
		return nil
	}
}

func defineReference(*flag.FlagSet) action {
	return func(_ context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		fmt.Fprint(e.stdout, config.Reference)
		return nil
	}
}

type configReport struct {
	OK       bool            `json:"ok"`
	Config   string          `json:"config"`
	Problems []configProblem `json:"problems"`
}

type configProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Key     string `json:"key"`
	Message string `json:"message"`
}

func defineCheckConfig(*flag.FlagSet) action {
	return func(_ context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		cfg, err := e.load()
		var wrong *config.Error
		if err != nil && !errors.As(err, &wrong) {
			return err
		}
		report := configReport{OK: err == nil, Config: e.config, Problems: []configProblem{}}
		if wrong != nil {
			for _, p := range wrong.Problems {
				report.Problems = append(report.Problems, configProblem{p.File, p.Line, p.Column, p.Key, p.Message})
			}
		}
		if err == nil && cfg.MikroTik.Address != "" {
			_, err = routerPassword(cfg.MikroTik.PasswordFile)
			if err != nil {
				report.OK = false
				report.Problems = append(report.Problems, configProblem{File: e.config, Key: "mikrotik.password_file", Message: err.Error()})
			}
		}
		switch {
		case e.json:
			if err := e.print(report); err != nil {
				return err
			}
		case wrong != nil:
			fmt.Fprintln(e.stderr, wrong)
		case err != nil:
			fmt.Fprintf(e.stderr, "%s: mikrotik.password_file: %v\n", e.config, err)
		default:
			fmt.Fprintf(e.stdout, "%s is good: zone %s, %d plans\n", e.config, cfg.Zone.ID, len(cfg.Plans))
		}
		if !report.OK {
			return errSaid
		}
		return nil
	}
}

// needsRestart says whether two configurations differ in what a running
// daemon does not take over.
func needsRestart(a, b *config.Config) bool { return fixed(*a) != fixed(*b) }

// fixed writes out what a running daemon keeps.
func fixed(c config.Config) string {
	c.LogLevel, c.Plans, c.Garden = 0, nil, config.Garden{}
	return fmt.Sprint(c)
}
