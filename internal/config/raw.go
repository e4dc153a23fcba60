package config

// The raw structs mirror the file. Their fields are pointers (or slices), so
// that a key that is missing differs from one that is zero.

type rawConfig struct {
	DataDir       *string `toml:"data_dir"`
	ControlSocket *string `toml:"control_socket"`
	LogLevel      *string `toml:"log_level"`

	Zone     rawZone     `toml:"zone"`
	Network  rawNetwork  `toml:"network"`
	Portal   rawPortal   `toml:"portal"`
	DNS      rawDNS      `toml:"dns"`
	RADIUS   rawRADIUS   `toml:"radius"`
	MikroTik rawMikroTik `toml:"mikrotik"`
	Hub      rawHub      `toml:"hub"`
	Garden   rawGarden   `toml:"garden"`
	Vouchers rawVouchers `toml:"vouchers"`
	Limits   rawLimits   `toml:"limits"`
	Plans    []rawPlan   `toml:"plan"`
}

type rawZone struct {
	Name     *string `toml:"name"`
	ID       *string `toml:"id"`
	Language *string `toml:"language"`
	Contact  *string `toml:"contact"`
}

type rawNetwork struct {
	LAN            *string  `toml:"lan"`
	WAN            []string `toml:"wan"`
	LinkDown       *string  `toml:"link_down"`
	LinkUp         *string  `toml:"link_up"`
	IsolateClients *bool    `toml:"isolate_clients"`
}

type rawPortal struct {
	Port     *int64   `toml:"port"`
	Name     *string  `toml:"name"`
	TLSCert  *string  `toml:"tls_cert"`
	TLSKey   *string  `toml:"tls_key"`
	NASNames []string `toml:"nas_names"`
}

type rawDNS struct {
	Port     *int64   `toml:"port"`
	Upstream []string `toml:"upstream"`
}

type rawRADIUS struct {
	Enabled     *bool    `toml:"enabled"`
	Listen      []string `toml:"listen"`
	AuthPort    *int64   `toml:"auth_port"`
	AcctPort    *int64   `toml:"acct_port"`
	Strict      *bool    `toml:"strict"`
	Interim     *string  `toml:"interim"`
	IdleTimeout *string  `toml:"idle_timeout"`
}

type rawMikroTik struct {
	Address      *string `toml:"address"`
	User         *string `toml:"user"`
	PasswordFile *string `toml:"password_file"`
	Fingerprint  *string `toml:"fingerprint"`
	Plain        *bool   `toml:"plain"`
	Server       *string `toml:"server"`
	Sessions     *string `toml:"sessions"`
}

type rawHub struct {
	Mode   *string `toml:"mode"`
	URL    *string `toml:"url"`
	CAFile *string `toml:"ca_file"`
	Poll   *string `toml:"poll"`

	TokenFile *string  `toml:"token_file"`
	Providers []string `toml:"providers"`
	PayHosts  []string `toml:"pay_hosts"`
}

func (h *rawHub) empty() bool {
	return h.Mode == nil && h.URL == nil && h.CAFile == nil && h.Poll == nil &&
		h.TokenFile == nil && h.Providers == nil && h.PayHosts == nil
}

type rawGarden struct {
	Domains []string `toml:"domains"`
}

type rawVouchers struct {
	WrongPerDevice *int64 `toml:"wrong_per_device"`
}

type rawLimits struct {
	Checkpoint  *string `toml:"checkpoint"`
	IdleTimeout *string `toml:"idle_timeout"`
	Megabyte    *int64  `toml:"megabyte"`
}

type rawPlan struct {
	ID            *string `toml:"id"`
	Name          *string `toml:"name"`
	PriceFCFA     *int64  `toml:"price_fcfa"`
	DurationHours *int64  `toml:"duration_hours"`
	Duration      *string `toml:"duration"`
	DataLimitMB   *int64  `toml:"data_limit_mb"`
	CIRKbps       *int64  `toml:"cir_kbps"`
	MIRKbps       *int64  `toml:"mir_kbps"`
	CIRUpKbps     *int64  `toml:"cir_up_kbps"`
	MIRUpKbps     *int64  `toml:"mir_up_kbps"`
	Time          *string `toml:"time"`
	DevicesMax    *int64  `toml:"devices_max"`
	Trial         *bool   `toml:"trial"`
}
