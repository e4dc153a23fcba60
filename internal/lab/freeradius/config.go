package freeradius

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// An Accounting is what the server does with an Accounting-Request before it
// answers.
type Accounting int

const (
	// Answer does nothing.
	Answer Accounting = iota
	// Detail appends to a text file, which nobody syncs.
	Detail
	// SQLite writes one row per session, as the shipped queries do.
	SQLite
)

// A User is one entry of the users file.
type User struct {
	Name, Password string
	// Reply are attributes of the Access-Accept in the form of the users file,
	// such as "Session-Timeout = 3600".
	Reply []string
}

// Config says what a server does.
type Config struct {
	// Clients may send. Default 127.0.0.0/8.
	Clients netip.Prefix
	Secret  string
	Users   []User
	// Accounting is what is done before an Accounting-Response.
	Accounting Accounting
	// Orders has it play a NAS, too: it takes CoA- and Disconnect-Requests
	// (RFC 5176), obeys each, and keeps them for Server.Orders.
	Orders bool
	// Dir is where the server keeps its files; it must exist. Empty makes a
	// temporary directory that Close removes.
	Dir string
}

// write puts the whole configuration into a directory. The numbers are those
// of the shipped configuration, but for reject_delay, a rejection at once as a
// hotspot's customer needs it, and for max_requests, which is to be 256 for
// each client: it has room for a hundred that rotate all their identifiers.
// What newer versions do about unsigned requests is switched off: rules that
// turn stricter by themselves cannot be compared.
func (c *Config) write(dir, modules string, ports [3]int) error {
	clients := c.Clients
	if !clients.IsValid() {
		clients = netip.MustParsePrefix("127.0.0.0/8")
	}
	action := map[Accounting]string{Answer: "ok", Detail: "detail", SQLite: "sql"}[c.Accounting]
	sql := ""
	if c.Accounting == SQLite {
		sql = strings.ReplaceAll(sqlModule, "DIR", dir)
	}
	orders := ""
	if c.Orders {
		orders = ordersSection
	}
	conf := strings.NewReplacer(
		"ORDERS", strings.NewReplacer("COAPORT", strconv.Itoa(ports[2])).Replace(orders),
		"DIR", dir, "MODULES", modules, "CLIENTS", clients.String(), "SECRET", strconv.Quote(c.Secret),
		"AUTHPORT", strconv.Itoa(ports[0]), "ACCTPORT", strconv.Itoa(ports[1]), "SQL", sql, "ACTION", action,
	).Replace(radiusd)
	for name, text := range map[string]string{"radiusd.conf": conf, "users": c.users(), "schema.sql": sqlSchema} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the configuration of FreeRADIUS: %w", err)
		}
	}
	return nil
}

func (c *Config) users() string {
	var b strings.Builder
	for _, u := range c.Users {
		fmt.Fprintf(&b, "%q Cleartext-Password := %q\n", u.Name, u.Password)
		if len(u.Reply) > 0 {
			fmt.Fprintf(&b, "\t%s\n", strings.Join(u.Reply, ",\n\t"))
		}
	}
	return b.String()
}

const radiusd = `
prefix = /usr
name = radiusd
libdir = MODULES
confdir = DIR
logdir = DIR
run_dir = DIR
db_dir = DIR
pidfile = DIR/radiusd.pid
correct_escapes = true
max_request_time = 30
cleanup_delay = 5
max_requests = 32768
hostname_lookups = no
proxy_requests = no
log {
	destination = stdout
	colourise = no
	auth = no
}
security {
	allow_core_dumps = no
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}
client lab {
	ipaddr = CLIENTS
	secret = SECRET
	require_message_authenticator = no
	limit_proxy_state = no
	limit {
		max_connections = 0
	}
}
thread pool {
	start_servers = 5
	max_servers = 32
	min_spare_servers = 3
	max_spare_servers = 10
	max_requests_per_server = 0
	auto_limit_acct = no
}
modules {
	expr {
	}
	always ok {
		rcode = ok
	}
	pap {
	}
	chap {
	}
	mschap {
	}
	files {
		usersfile = DIR/users
	}
	detail {
		filename = DIR/detail
		permissions = 0600
		header = "%t"
	}
	detail orders {
		filename = DIR/orders
		permissions = 0600
	}
	SQL
}
instantiate {
	expr
}
server lab {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = AUTHPORT
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = ACCTPORT
	}
	ORDERS
	authorize {
		chap
		mschap
		files
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
	accounting {
		ACTION
	}
}
`

const ordersSection = `listen {
		type = coa
		ipaddr = 127.0.0.1
		port = COAPORT
	}
	recv-coa {
		orders
		ok
	}`

// sqlModule writes a session's row when it starts, changes it with each
// interim and closes it with its stop, each in a transaction of its own. The
// pool is that of the shipped configuration.
const sqlModule = `sql {
		driver = "rlm_sql_sqlite"
		dialect = "sqlite"
		sqlite {
			filename = DIR/accounting.db
			busy_timeout = 200
			bootstrap = DIR/schema.sql
		}
		radius_db = "radius"
		read_clients = no
		pool {
			start = ${thread[pool].start_servers}
			min = ${thread[pool].min_spare_servers}
			max = ${thread[pool].max_servers}
			spare = ${thread[pool].max_spare_servers}
			uses = 0
			retry_delay = 30
			lifetime = 0
			idle_timeout = 60
		}
		sql_user_name = "%{User-Name}"
		accounting {
			reference = "%{tolower:type.%{Acct-Status-Type}.query}"
			type {
				start {
					query = "INSERT INTO session (id, user, nas, mac, lasted, input, output, stopped) VALUES ('%{Acct-Session-Id}', '%{SQL-User-Name}', '%{NAS-IP-Address}', '%{Calling-Station-Id}', 0, 0, 0, 0)"
					query = "UPDATE session SET stopped = 0 WHERE id = '%{Acct-Session-Id}'"
				}
				interim-update {
					query = "UPDATE session SET lasted = %{%{Acct-Session-Time}:-0}, input = %{%{Acct-Input-Octets}:-0}, output = %{%{Acct-Output-Octets}:-0} WHERE id = '%{Acct-Session-Id}'"
					query = "INSERT INTO session (id, user, nas, mac, lasted, input, output, stopped) VALUES ('%{Acct-Session-Id}', '%{SQL-User-Name}', '%{NAS-IP-Address}', '%{Calling-Station-Id}', 0, 0, 0, 0)"
				}
				stop {
					query = "UPDATE session SET lasted = %{%{Acct-Session-Time}:-0}, input = %{%{Acct-Input-Octets}:-0}, output = %{%{Acct-Output-Octets}:-0}, stopped = 1 WHERE id = '%{Acct-Session-Id}'"
					query = "INSERT INTO session (id, user, nas, mac, lasted, input, output, stopped) VALUES ('%{Acct-Session-Id}', '%{SQL-User-Name}', '%{NAS-IP-Address}', '%{Calling-Station-Id}', 0, 0, 0, 1)"
				}
			}
		}
	}`

const sqlSchema = `CREATE TABLE session (
	id TEXT PRIMARY KEY, user TEXT, nas TEXT, mac TEXT,
	lasted INTEGER, input INTEGER, output INTEGER, stopped INTEGER
);
`
