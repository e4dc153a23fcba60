package control

import "time"

// The types below are what travels. Their keys do not change: scripts read
// them. Periods are in seconds, sizes in octets, rates in bit/s, times in RFC
// 3339 with nothing for an unknown one.

// A Status says how the gateway is.
type Status struct {
	// Running is false when the answer comes from the data directory, without
	// a daemon.
	Running bool   `json:"running"`
	Version string `json:"version"`
	Zone    string `json:"zone"`
	// OK says that nothing below keeps the gateway from its work.
	OK bool `json:"ok"`
	// Journal is why sales are stopped, DataPath why enforcement is behind;
	// empty when all is well.
	Journal      string `json:"journal_problem"`
	DataPath     string `json:"data_path_problem"`
	Record       uint64 `json:"record"`
	Sessions     int    `json:"sessions"`
	ActiveGrants int    `json:"active_grants"`
	Unused       int    `json:"unused_vouchers"`
	ClockTrusted bool   `json:"clock_trusted"`
	// NASes is how many are in the book; Packets counts theirs, and those of
	// strangers, by what became of them.
	NASes   int               `json:"nases"`
	Packets map[string]uint64 `json:"packets"`
	// MikroTik is missing where none is configured.
	MikroTik *MikroTik `json:"mikrotik,omitempty"`
	// Hub is missing where there is no central server. What is wrong with it
	// keeps nobody from buying, so OK does not speak of it.
	Hub       *Hub  `json:"hub,omitempty"`
	PID       int   `json:"pid"`
	UpSeconds int64 `json:"up_seconds"`
}

// A MikroTik is a router that is driven or examined over its API.
type MikroTik struct {
	Address string `json:"address"`
	// Sessions says who owns them: "api" or "radius".
	Sessions string `json:"sessions"`
	// Reachable says that there is a connection; Problem is why not. Version
	// and Board are the router's own words.
	Reachable bool   `json:"reachable"`
	Version   string `json:"version"`
	Board     string `json:"board"`
	Problem   string `json:"problem"`
}

// A Plan is an offer.
type Plan struct {
	ID         string `json:"id"`
	Version    uint32 `json:"version"`
	Name       string `json:"name"`
	Price      int64  `json:"price"`
	Currency   string `json:"currency"`
	Seconds    int64  `json:"duration_seconds"`
	DataCap    uint64 `json:"data_cap_bytes"`
	CIRDown    uint64 `json:"cir_down_bps"`
	CIRUp      uint64 `json:"cir_up_bps"`
	MIRDown    uint64 `json:"mir_down_bps"`
	MIRUp      uint64 `json:"mir_up_bps"`
	Time       string `json:"time"`
	DevicesMax int    `json:"devices_max"`
	Trial      bool   `json:"trial"`
}

// Plans is the catalogue.
type Plans struct {
	Plans []Plan `json:"plans"`
}

// A VoucherCount is how many unused vouchers of one kind there are.
type VoucherCount struct {
	Batch       string     `json:"batch"`
	Plan        string     `json:"plan"`
	PlanVersion uint32     `json:"plan_version"`
	Site        string     `json:"site"`
	Expires     *time.Time `json:"expires,omitempty"`
	Unused      int        `json:"unused"`
}

// Vouchers are the unused vouchers by batch.
type Vouchers struct {
	Batches []VoucherCount `json:"batches"`
}

// CreateVouchers asks for new codes.
type CreateVouchers struct {
	Plan    string     `json:"plan"`
	Count   int        `json:"count"`
	Batch   string     `json:"batch"`
	Expires *time.Time `json:"expires,omitempty"`
	// Sealed gives each code a password, for the login page of a NAS.
	Sealed bool `json:"sealed,omitempty"`
}

// CreatedVouchers is the only place where new codes ever stand.
type CreatedVouchers struct {
	Plan     string    `json:"plan"`
	Batch    string    `json:"batch"`
	Vouchers []Voucher `json:"vouchers"`
}

// A Voucher is a code with its plan, and with its password if it is sealed.
type Voucher struct {
	Code     string `json:"code"`
	Password string `json:"password,omitempty"`
	Plan     string `json:"plan"`
}

// ImportVouchers makes codes valid that somebody else has printed, all or
// none.
type ImportVouchers struct {
	Batch string       `json:"batch"`
	Rows  []ImportLine `json:"rows"`
}

// An ImportLine is a code with the line of the file where it stands.
type ImportLine struct {
	Line int    `json:"line"`
	Code string `json:"code"`
	// Password makes it a sealed one; all lines have one, or none has.
	Password string     `json:"password,omitempty"`
	Plan     string     `json:"plan"`
	Site     string     `json:"site,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
}

// ImportedVouchers says how many codes became valid.
type ImportedVouchers struct {
	Batch    string `json:"batch"`
	Imported int    `json:"imported"`
}

// RevokeVoucher makes a code worthless.
type RevokeVoucher struct {
	Code string `json:"code"`
}

// A Session is a device online.
type Session struct {
	ID     uint32 `json:"id"`
	Device string `json:"device"`
	// Path is the NAS where the device is; empty is this machine's LAN, or the
	// MikroTik that it drives.
	Path string `json:"path"`
	// Reserved says that the NAS was told to let the device in and has not
	// said yet that it did. Unconfirmed says that the NAS has not shown yet
	// that it does what it was told last.
	Reserved    bool    `json:"reserved"`
	Unconfirmed bool    `json:"unconfirmed"`
	Up          uint64  `json:"up_bytes"`
	Down        uint64  `json:"down_bytes"`
	Balance     Balance `json:"grant"`
}

// A Balance is what is left of a grant. OctetsLeft is missing without a cap,
// Ends when the clock is not trusted.
type Balance struct {
	ID          uint64     `json:"id"`
	Plan        string     `json:"plan"`
	PlanVersion uint32     `json:"plan_version"`
	State       string     `json:"state"`
	SecondsLeft int64      `json:"seconds_left"`
	Ends        *time.Time `json:"ends,omitempty"`
	Used        uint64     `json:"used_bytes"`
	OctetsLeft  *uint64    `json:"bytes_left,omitempty"`
	Devices     []string   `json:"devices"`
}

// Sessions are those that pass, oldest first.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// KickSession stops a session. The device may come back.
type KickSession struct {
	Session uint32 `json:"session"`
}

// TopUpGrant adds value to a grant.
type TopUpGrant struct {
	Grant   uint64 `json:"grant"`
	Octets  uint64 `json:"bytes"`
	Seconds int64  `json:"seconds"`
}

// RevokeGrant takes a grant back.
type RevokeGrant struct {
	Grant uint64 `json:"grant"`
}

// Done is the answer to a change that has nothing else to say.
type Done struct {
	OK bool `json:"ok"`
}

// Facts are what only the running daemon knows.
type Facts struct {
	Running bool `json:"running"`
	// Storage is what the probe of the file system found at start.
	Storage []string `json:"storage"`
	// DataPath is what the data path found at start and since.
	DataPath []Finding `json:"data_path"`
	// MikroTik is what is wrong with it now.
	MikroTik []Finding `json:"mikrotik"`
}

// A Finding is something that an operator should know.
type Finding struct {
	// Severity is "info", "warning" or "error".
	Severity string `json:"severity"`
	Subject  string `json:"subject"`
	Detail   string `json:"detail"`
	Fix      string `json:"fix"`
}

// An Error is a request that was refused, or could not be fulfilled.
type Error struct {
	// Code is one of the constants below; Message is for people.
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// What an Error's Code may be.
const (
	CodeRefused    = "refused"     // the request makes no sense as it is
	CodeNotFound   = "not_found"   // what it speaks of is not there
	CodeNoDaemon   = "no_daemon"   // only the running daemon can do it
	CodeNotDurable = "not_durable" // the storage cannot be written
	CodeFailed     = "failed"      // something went wrong inside
)

type errorAnswer struct {
	Error *Error `json:"error"`
}

// A JournalReport is what a check of the journal found. No problems means that
// the chain is whole and that its replay gives the state.
type JournalReport struct {
	Records  uint64   `json:"records"`
	Segments int      `json:"segments"`
	First    uint64   `json:"first"`
	Last     uint64   `json:"last"`
	Head     string   `json:"head"`
	Snapshot uint64   `json:"snapshot"`
	State    uint64   `json:"state"`
	Entities int      `json:"entities"`
	Problems []string `json:"problems"`
}
