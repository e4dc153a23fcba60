package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"zonegate"
)

// A Catalogue knows what is sold.
type Catalogue interface {
	Plans() []zonegate.Plan
	Health() zonegate.Health
}

// A VoucherDesk makes codes valid and worthless.
type VoucherDesk interface {
	Vouchers() []zonegate.VoucherCount
	AddVouchers(ctx context.Context, b zonegate.Batch, codes []string) error
	CreateVouchers(ctx context.Context, b zonegate.Batch, count int) ([]string, error)
	RevokeVoucher(ctx context.Context, code string) error
}

// A GrantDesk changes what customers have, and who is online.
type GrantDesk interface {
	Sessions() []zonegate.SessionView
	Kick(ctx context.Context, id zonegate.SessionID) error
	TopUp(ctx context.Context, id zonegate.GrantID, octets uint64, d time.Duration) error
	Revoke(ctx context.Context, id zonegate.GrantID) error
	Reconcile(ctx context.Context) error
}

// A Vault keeps everything of value.
type Vault interface {
	Backup(w io.Writer) error
	// Verify checks the journal and compares its replay with the state.
	Verify() (JournalReport, error)
}

// ErrNoDaemon is answered to what needs a data path when none is there.
var ErrNoDaemon = errors.New("the daemon is not running; start it with: zonegate run")

// A Handler answers the control API.
type Handler struct {
	Catalogue Catalogue
	Vouchers  VoucherDesk
	// Grants is nil in a process without a data path; then what concerns
	// sessions is refused with ErrNoDaemon.
	Grants GrantDesk
	Vault  Vault
	NASes  NASDesk
	Hub    HubDesk
	// Unconfirmed says for which sessions a NAS has not yet shown that it does
	// what it was told; nil when nothing was.
	Unconfirmed func() map[zonegate.SessionID]bool
	// MikroTik says how the router is; nil, or the answer nil, without one.
	MikroTik func(context.Context) *MikroTik
	// Base is what Status says that never changes.
	Base Status
	// Started is when the daemon started; zero without one.
	Started time.Time
	// Facts may be nil.
	Facts  func(context.Context) Facts
	Logger *slog.Logger
}

// maxRequest bounds what a request may say: the largest import, with room.
const maxRequest = 8 << 20

// HTTP returns the handler with its routes.
func (h *Handler) HTTP() http.Handler {
	if h.Logger == nil {
		h.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	h.get(mux, "/v1/status", h.status)
	h.get(mux, "/v1/plans", h.plans)
	h.get(mux, "/v1/vouchers", h.vouchers)
	h.get(mux, "/v1/sessions", h.sessions)
	h.get(mux, "/v1/facts", h.facts)
	h.get(mux, "/v1/nas", h.nases)
	h.get(mux, "/v1/hub", h.hub)
	h.get(mux, "/v1/journal/verify", func(context.Context) (any, error) { return h.Vault.Verify() })
	mux.HandleFunc("GET /v1/backup", h.backup)
	h.post(mux, "/v1/vouchers/create", h.createVouchers)
	h.post(mux, "/v1/vouchers/import", h.importVouchers)
	h.post(mux, "/v1/vouchers/revoke", h.revokeVoucher)
	h.post(mux, "/v1/sessions/kick", h.kick)
	h.post(mux, "/v1/grants/topup", h.topUp)
	h.post(mux, "/v1/grants/revoke", h.revokeGrant)
	h.post(mux, "/v1/reconcile", h.reconcile)
	h.post(mux, "/v1/nas/add", h.addNAS)
	h.post(mux, "/v1/nas/remove", h.removeNAS)
	h.post(mux, "/v1/nas/test", h.testNAS)
	h.post(mux, "/v1/hub/join", h.joinHub)
	h.post(mux, "/v1/hub/leave", h.leaveHub)
	return mux
}

// What is asked and answered goes through any: with type parameters the code
// below would be compiled again for each route.

func (h *Handler) get(mux *http.ServeMux, path string, serve func(context.Context) (any, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		out, err := serve(r.Context())
		h.answer(w, r, out, err)
	})
}

// A request is what was asked, before it is known what it should be.
type request struct{ body io.Reader }

// into reads the request into a pointer.
func (r request) into(in any) error {
	d := json.NewDecoder(r.body)
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return &Error{CodeRefused, "the request is not understood: " + err.Error()}
	}
	return nil
}

func (h *Handler) post(mux *http.ServeMux, path string, serve func(context.Context, request) (any, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		out, err := serve(r.Context(), request{http.MaxBytesReader(w, r.Body, maxRequest)})
		h.answer(w, r, out, err)
	})
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request, out any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		e := asError(err)
		// The path has no code in it, and refusals never repeat one.
		h.Logger.Warn("a control request was not fulfilled", "path", r.URL.Path, "reason", e.Code, "error", e.Message)
		out = errorAnswer{e}
		w.WriteHeader(statusOf(e.Code))
	}
	// An error here is a client that went away.
	json.NewEncoder(w).Encode(out)
}

// asError finds the code of a refusal.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrNoDaemon):
		return &Error{CodeNoDaemon, err.Error()}
	case errors.Is(err, zonegate.ErrNotDurable):
		return &Error{CodeNotDurable, err.Error()}
	}
	for _, missing := range []error{zonegate.ErrNoSuchPlan, zonegate.ErrNoSuchGrant, zonegate.ErrNoSuchSession, zonegate.ErrWrongCode} {
		if errors.Is(err, missing) {
			return &Error{CodeNotFound, err.Error()}
		}
	}
	if errors.Is(err, zonegate.ErrStopped) || errors.Is(err, zonegate.ErrCorrupt) || errors.Is(err, context.Canceled) {
		return &Error{CodeFailed, err.Error()}
	}
	return &Error{CodeRefused, err.Error()}
}

func statusOf(code string) int {
	switch code {
	case CodeRefused:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeNoDaemon, CodeNotDurable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (h *Handler) status(ctx context.Context) (any, error) {
	s, health := h.Base, h.Catalogue.Health()
	if health.Journal != nil {
		s.Journal = health.Journal.Error()
	}
	if health.DataPath != nil {
		s.DataPath = health.DataPath.Error()
	}
	s.Record, s.ActiveGrants, s.Unused = health.Seq, health.Active, health.Unused
	s.ClockTrusted = health.ClockTrusted
	if h.Grants != nil {
		s.Running = true
		s.Sessions = len(h.Grants.Sessions())
		s.UpSeconds = int64(time.Since(h.Started) / time.Second)
	}
	if h.NASes != nil {
		list, err := h.book(ctx)
		if err != nil {
			return s, err
		}
		s.NASes, s.Packets = len(list.NASes), list.Packets
	}
	if h.MikroTik != nil {
		s.MikroTik = h.MikroTik(ctx)
	}
	s.Hub = h.hubStatus()
	s.OK = s.Running && s.Journal == "" && s.DataPath == ""
	return s, nil
}

func (h *Handler) plans(context.Context) (any, error) {
	out := Plans{Plans: []Plan{}}
	for _, p := range h.Catalogue.Plans() {
		out.Plans = append(out.Plans, Plan{
			ID: p.ID, Version: p.Version, Name: p.Name, Price: p.Price.Amount, Currency: p.Price.Currency,
			Seconds: int64(p.Duration / time.Second), DataCap: p.DataCap,
			CIRDown: p.Rate.CIRDown, CIRUp: p.Rate.CIRUp, MIRDown: p.Rate.MIRDown, MIRUp: p.Rate.MIRUp,
			Time: p.Time.String(), DevicesMax: p.DevicesMax, Trial: p.Trial,
		})
	}
	return out, nil
}

func (h *Handler) vouchers(context.Context) (any, error) {
	out := Vouchers{Batches: []VoucherCount{}}
	for _, v := range h.Vouchers.Vouchers() {
		out.Batches = append(out.Batches, VoucherCount{
			Batch: v.Batch, Plan: v.Plan.ID, PlanVersion: v.Plan.Version, Site: v.Site,
			Expires: known(v.Expires), Unused: v.Unused,
		})
	}
	return out, nil
}

func (h *Handler) createVouchers(ctx context.Context, r request) (any, error) {
	var in CreateVouchers
	if err := r.into(&in); err != nil {
		return nil, err
	}
	batch := zonegate.Batch{Name: in.Batch, Plan: in.Plan, Expires: instant(in.Expires), Sealed: in.Sealed}
	codes, err := h.Vouchers.CreateVouchers(ctx, batch, in.Count)
	if err != nil {
		return nil, err
	}
	out := CreatedVouchers{Plan: in.Plan, Batch: in.Batch, Vouchers: make([]Voucher, len(codes))}
	for i, c := range codes {
		code, password, _ := strings.Cut(c, ",")
		out.Vouchers[i] = Voucher{Code: code, Password: password, Plan: in.Plan}
	}
	return out, nil
}

func (h *Handler) importVouchers(ctx context.Context, r request) (any, error) {
	var in ImportVouchers
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if len(in.Rows) == 0 {
		return nil, &Error{CodeRefused, "there are no codes to import"}
	}
	first := in.Rows[0]
	codes, lines := make([]string, len(in.Rows)), make([]int, len(in.Rows))
	for i, row := range in.Rows {
		// One record holds one batch, and an import is one record: all or none.
		if row.Plan != first.Plan || row.Site != first.Site || !instant(row.Expires).Equal(instant(first.Expires)) {
			return nil, &Error{CodeRefused, fmt.Sprintf(
				"line %d has another plan, site or expiry than line %d; import one file for each", row.Line, first.Line)}
		}
		if (row.Password == "") != (first.Password == "") {
			return nil, &Error{CodeRefused, fmt.Sprintf(
				"of lines %d and %d only one has a password; import one file for those with, and one for those without", row.Line, first.Line)}
		}
		codes[i], lines[i] = row.Code, row.Line
		if row.Password != "" {
			// The gate cuts at the first comma.
			codes[i] = strings.ReplaceAll(row.Code, ",", " ") + "," + row.Password
		}
	}
	batch := zonegate.Batch{
		Name: in.Batch, Plan: first.Plan, Site: first.Site, Expires: instant(first.Expires), Sealed: first.Password != "",
	}
	if err := h.Vouchers.AddVouchers(ctx, batch, codes); err != nil {
		e := *asError(err)
		e.Message = inLines(e.Message, lines)
		return nil, &e
	}
	return ImportedVouchers{Batch: in.Batch, Imported: len(codes)}, nil
}

// inLines replaces "code N", as the gate counts them, by the line of the file
// in which that code stands.
func inLines(message string, lines []int) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(message, "code ")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		n, digits := 0, 0
		for digits < len(after) && digits < 6 && after[digits] >= '0' && after[digits] <= '9' {
			n = n*10 + int(after[digits]-'0')
			digits++
		}
		if n < 1 || n > len(lines) {
			b.WriteString("code ")
		} else {
			fmt.Fprintf(&b, "line %d", lines[n-1])
			after = after[digits:]
		}
		message = after
	}
}

func (h *Handler) revokeVoucher(ctx context.Context, r request) (any, error) {
	var in RevokeVoucher
	if err := r.into(&in); err != nil {
		return nil, err
	}
	return done(h.Vouchers.RevokeVoucher(ctx, in.Code))
}

func (h *Handler) sessions(context.Context) (any, error) {
	if h.Grants == nil {
		return nil, ErrNoDaemon
	}
	var unconfirmed map[zonegate.SessionID]bool
	if h.Unconfirmed != nil {
		unconfirmed = h.Unconfirmed()
	}
	out := Sessions{Sessions: []Session{}}
	for _, s := range h.Grants.Sessions() {
		x := s.Session
		out.Sessions = append(out.Sessions, Session{
			ID: uint32(x.ID), Device: x.Device.String(), Path: x.Path,
			Reserved: x.Path != "" && x.Key == "", Unconfirmed: unconfirmed[x.ID],
			Up: s.Octets.Up, Down: s.Octets.Down, Balance: balance(s.Balance),
		})
	}
	return out, nil
}

func balance(b zonegate.Balance) Balance {
	out := Balance{
		ID: uint64(b.Grant), Plan: b.Plan.ID, PlanVersion: b.Plan.Version, State: b.State.String(),
		SecondsLeft: int64(b.TimeLeft / time.Second), Ends: known(b.Ends), Used: b.Used.Total(),
		Devices: []string{},
	}
	if b.Cap != 0 {
		out.OctetsLeft = &b.OctetsLeft
	}
	for _, d := range b.Devices {
		out.Devices = append(out.Devices, d.String())
	}
	return out
}

func (h *Handler) kick(ctx context.Context, r request) (any, error) {
	var in KickSession
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if h.Grants == nil {
		return nil, ErrNoDaemon
	}
	return done(h.Grants.Kick(ctx, zonegate.SessionID(in.Session)))
}

// maxSeconds keeps a top-up within a time.Duration, with room to add.
const maxSeconds = 100 * 366 * 24 * 3600

func (h *Handler) topUp(ctx context.Context, r request) (any, error) {
	var in TopUpGrant
	if err := r.into(&in); err != nil {
		return nil, err
	}
	switch {
	case h.Grants == nil:
		return nil, ErrNoDaemon
	case in.Octets == 0 && in.Seconds == 0:
		return nil, &Error{CodeRefused, "the top-up adds nothing; give octets, time or both"}
	case in.Seconds < 0 || in.Seconds > maxSeconds:
		return nil, &Error{CodeRefused, "a top-up adds at most a hundred years, and takes nothing away"}
	}
	return done(h.Grants.TopUp(ctx, zonegate.GrantID(in.Grant), in.Octets, time.Duration(in.Seconds)*time.Second))
}

func (h *Handler) revokeGrant(ctx context.Context, r request) (any, error) {
	var in RevokeGrant
	if err := r.into(&in); err != nil {
		return nil, err
	}
	if h.Grants == nil {
		return nil, ErrNoDaemon
	}
	return done(h.Grants.Revoke(ctx, zonegate.GrantID(in.Grant)))
}

func (h *Handler) reconcile(ctx context.Context, r request) (any, error) {
	if err := r.into(&struct{}{}); err != nil {
		return nil, err
	}
	if h.Grants == nil {
		return nil, ErrNoDaemon
	}
	return done(h.Grants.Reconcile(ctx))
}

func (h *Handler) facts(ctx context.Context) (any, error) {
	if h.Facts == nil || h.Grants == nil {
		return nil, ErrNoDaemon
	}
	f := h.Facts(ctx)
	f.Running = true
	return f, nil
}

// backup streams. An error after the first octet can only be shown by ending
// the answer in the middle, which the client takes for a failure.
func (h *Handler) backup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	out := &counting{w: w}
	err := h.Vault.Backup(out)
	if err == nil {
		return
	}
	if out.n == 0 {
		h.answer(w, r, nil, fmt.Errorf("writing the backup: %w", err))
		return
	}
	h.Logger.Error("the backup ended in the middle", "error", err)
	panic(http.ErrAbortHandler)
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // would begin the answer
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func done(err error) (any, error) { return Done{OK: err == nil}, err }

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
