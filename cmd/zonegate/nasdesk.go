package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"zonegate"
	"zonegate/internal/config"
	"zonegate/internal/control"
	"zonegate/radius/nas"
)

// A nasGate is the gate as the desk for NASes needs it.
type nasGate interface {
	Sessions() []zonegate.SessionView
	Removed(ctx context.Context, nas string) error
}

var _ nasGate = (*zonegate.Gate)(nil)

// A nasDesk is the book of NASes as the control API sees it.
type nasDesk struct {
	config *config.Config
	// book is nil when it could not be read; then broken says why, and nothing
	// is changed: what stands in the file may still be saved.
	book   *nas.Book
	broken error
	gate   nasGate
	// server is nil without a daemon.
	server *radiusService
}

var _ control.NASDesk = (*nasDesk)(nil)

// NASes lists the book.
func (d *nasDesk) NASes(context.Context) (control.NASes, error) {
	if d.broken != nil {
		return control.NASes{Problem: d.broken.Error()}, nil
	}
	sessions := map[string]int{}
	for _, s := range d.gate.Sessions() {
		if s.Session.Path != "" {
			sessions[nasOf(s.Session.Path)]++
		}
	}
	out := control.NASes{NASes: []control.NAS{}}
	for _, n := range d.book.List() {
		shown := d.show(n)
		shown.Sessions = sessions[n.Name]
		out.NASes = append(out.NASes, shown)
	}
	if d.server != nil {
		d.server.report(&out)
	}
	return out, nil
}

// nasOf is the name in the book to which a session's path belongs.
func nasOf(path string) string {
	name, _, _ := strings.Cut(path, "@")
	return name
}

func (d *nasDesk) show(n nas.NAS) control.NAS {
	if n.Interim == 0 {
		n.Interim = d.config.RADIUS.Interim
	}
	out := control.NAS{
		Name: n.Name, Address: n.Prefix.String(), Vendor: string(n.Vendor), RequireMA: string(n.RequireMA),
		Signed: n.Signed, Interim: int64(n.InterimOrDefault() / time.Second), Strict: n.Strict,
		Logins: append([]string{}, n.Login...), UAMSecret: len(n.UAMSecret) > 0, WeakSecret: n.Secret.Weak() != nil,
	}
	if n.Single() {
		out.Address = n.Prefix.Addr().String()
	}
	if port, ok := n.CanBeTold(); ok {
		out.CoAPort = port
	}
	return out
}

// AddNAS writes a new entry into the book, with a drawn secret if none came.
func (d *nasDesk) AddNAS(ctx context.Context, in control.AddNAS) (control.AddedNAS, error) {
	if d.broken != nil {
		return control.AddedNAS{}, d.broken
	}
	n := nas.NAS{
		Name: in.Name, Vendor: nas.Vendor(in.Vendor), Secret: nas.Secret(in.Secret), UAMSecret: nas.Secret(in.UAMSecret),
		RequireMA: nas.Require(in.RequireMA), CoAPort: in.CoAPort, NoCoA: in.NoCoA,
		Interim: time.Duration(in.Interim) * time.Second, Strict: in.Strict, Login: in.Logins,
	}
	if n.Vendor == "" {
		n.Vendor = nas.Generic
	}
	if len(n.Login) > 0 && n.Vendor.Known() && hotspotKind(n.Vendor) == "" {
		return control.AddedNAS{}, fmt.Errorf("nobody can be signed in at the login page of a %s; leave --login out, and let it show its own page", n.Vendor)
	}
	if most := longestInterim(d.config); n.Interim > most {
		return control.AddedNAS{}, fmt.Errorf("it shall report every %s at least, because a session that is silent for three times that is lost; raise radius.interim for more", most)
	}
	var err error
	if n.Prefix, err = nas.ParsePrefix(in.Address); err != nil {
		return control.AddedNAS{}, err
	}
	if _, ok := ownedNAS(ctx, d.config, []nas.NAS{n}); ok {
		return control.AddedNAS{}, errTwoOwners(d.config, n.Name)
	}
	var out control.AddedNAS
	if in.Secret == "" {
		if n.Secret, err = nas.NewSecret(rand.Reader); err != nil {
			return out, &control.Error{Code: control.CodeFailed, Message: err.Error()}
		}
		out.Secret = string(n.Secret)
	}
	err = d.book.Add(n, in.Force)
	if errors.Is(err, nas.ErrWeakSecret) {
		err = fmt.Errorf("%w, or add --force", err)
	}
	if err != nil {
		return control.AddedNAS{}, err
	}
	n, _ = d.book.ByName(n.Name)
	out.NAS = d.show(n)
	d.changed()
	return out, nil
}

// RemoveNAS takes an entry out of the book and ends the sessions that it had:
// nobody reports them any more, and their devices' places become free.
func (d *nasDesk) RemoveNAS(ctx context.Context, name string) (control.RemovedNAS, error) {
	out := control.RemovedNAS{Name: name}
	if d.broken != nil {
		return out, d.broken
	}
	if err := d.book.Remove(name); err != nil {
		return out, noSuchNAS(err)
	}
	d.changed()
	paths := map[string]int{}
	for _, s := range d.gate.Sessions() {
		if s.Session.Path != "" && nasOf(s.Session.Path) == name {
			paths[s.Session.Path]++
		}
	}
	for path, n := range paths {
		if err := d.gate.Removed(ctx, path); err != nil {
			return out, fmt.Errorf("%s is no longer answered, but its sessions could not be ended: %w", name, err)
		}
		out.Sessions += n
	}
	return out, nil
}

func (d *nasDesk) changed() {
	if d.server != nil {
		d.server.bookChanged()
	}
}

func noSuchNAS(err error) error {
	if errors.Is(err, nas.ErrNoSuchNAS) {
		return &control.Error{Code: control.CodeNotFound, Message: err.Error() + "; nas list shows the names"}
	}
	return err
}

// TestNAS examines one entry and what has come from it.
func (d *nasDesk) TestNAS(ctx context.Context, name string) (control.NASReport, error) {
	if d.broken != nil {
		return control.NASReport{}, d.broken
	}
	n, ok := d.book.ByName(name)
	if !ok {
		return control.NASReport{}, noSuchNAS(fmt.Errorf("%w: %s", nas.ErrNoSuchNAS, name))
	}
	if d.server == nil {
		return control.NASReport{}, control.ErrNoDaemon
	}
	list, err := d.NASes(ctx)
	if err != nil {
		return control.NASReport{}, err
	}
	var out control.NASReport
	for _, x := range list.NASes {
		if x.Name == name {
			out.NAS = x
		}
	}
	out.Findings = d.server.test(ctx, n, out.NAS, list)
	return out, nil
}
