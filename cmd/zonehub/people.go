package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"zonegate/hub"
)

func defineUserAdd(f *flag.FlagSet) action {
	role := f.String("role", "", "admin, reseller or seller")
	reseller := f.String("reseller", "", "`id` of the reseller whose user it is")
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "name")
		if err != nil {
			return err
		}
		password, err := bufio.NewReader(e.stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the password: %w", err)
		}
		return e.with(ctx, func(h *hub.Hub) error {
			u, err := h.CreateUser(ctx, operator, hub.NewUser{Name: name, Password: strings.TrimRight(password, "\r\n"),
				Role: hub.Role(*role), Reseller: *reseller})
			if err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, u.ID)
			return nil
		})
	}
}

func defineUserList(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			users, err := h.Users(ctx, operator)
			for _, u := range users {
				state := ""
				if u.Disabled {
					state = "disabled"
				}
				fmt.Fprintf(e.stdout, "%s\t%s\t%s\t%s\t%s\n", u.ID, u.Name, u.Role, u.Reseller, state)
			}
			return err
		})
	}
}

func defineResellerAdd(f *flag.FlagSet) action {
	var l hub.Limits
	f.IntVar(&l.Vouchers, "vouchers", 10_000, "how many vouchers may be unused at one time")
	f.IntVar(&l.Sites, "sites", 10, "how many sites he may have")
	f.IntVar(&l.Gateways, "gateways", 10, "how many gateways he may have")
	return func(ctx context.Context, e *env, args []string) error {
		name, err := one(args, "name")
		if err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			r, err := h.CreateReseller(ctx, operator, name, l)
			if err != nil {
				return err
			}
			fmt.Fprintln(e.stdout, r.ID)
			return nil
		})
	}
}

func defineResellerList(*flag.FlagSet) action {
	return func(ctx context.Context, e *env, args []string) error {
		if err := none(args); err != nil {
			return err
		}
		return e.with(ctx, func(h *hub.Hub) error {
			resellers, err := h.Resellers(ctx, operator)
			for _, r := range resellers {
				fmt.Fprintf(e.stdout, "%s\t%s\tvouchers %d\tsites %d\tgateways %d\n", r.ID, r.Name, r.Limits.Vouchers, r.Limits.Sites, r.Limits.Gateways)
			}
			return err
		})
	}
}
