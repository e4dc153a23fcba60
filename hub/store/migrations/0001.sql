-- Written for SQLite and PostgreSQL alike: TEXT and BIGINT only. Times are
-- milliseconds since 1970 in UTC, 0 is none. Booleans are 0 and 1. Keys and
-- hashes are hex.

CREATE TABLE sequences (name TEXT PRIMARY KEY, last BIGINT NOT NULL);

INSERT INTO sequences (name, last) VALUES ('push', 0);

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE resellers (
	id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,
	max_vouchers BIGINT NOT NULL, max_sites BIGINT NOT NULL, max_gateways BIGINT NOT NULL,
	created BIGINT NOT NULL);

CREATE TABLE users (
	id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
	reseller TEXT NOT NULL, -- '' is none
	hash TEXT NOT NULL, epoch BIGINT NOT NULL, disabled BIGINT NOT NULL, created BIGINT NOT NULL);

CREATE TABLE deeds (
	id TEXT PRIMARY KEY, at BIGINT NOT NULL, by_name TEXT NOT NULL, by_id TEXT NOT NULL,
	what TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL);

CREATE TABLE sites (
	id TEXT PRIMARY KEY, reseller TEXT NOT NULL REFERENCES resellers (id), name TEXT NOT NULL,
	currency TEXT NOT NULL, bucket BIGINT NOT NULL, code_key TEXT NOT NULL, created BIGINT NOT NULL,
	UNIQUE (reseller, name));

-- Beside sites, because it changes with every report.
CREATE TABLE outboxes (site TEXT PRIMARY KEY REFERENCES sites (id), next BIGINT NOT NULL);

CREATE TABLE enrolments (
	hash TEXT PRIMARY KEY, site TEXT NOT NULL REFERENCES sites (id), expires BIGINT NOT NULL,
	instance TEXT NOT NULL, gateway TEXT NOT NULL);

CREATE TABLE gateways (
	id TEXT PRIMARY KEY, site TEXT NOT NULL REFERENCES sites (id), name TEXT NOT NULL,
	token TEXT NOT NULL UNIQUE, instance TEXT NOT NULL, since BIGINT NOT NULL, enrolled BIGINT NOT NULL,
	revoked BIGINT NOT NULL, reason TEXT NOT NULL);

CREATE INDEX gateways_site ON gateways (site);

CREATE TABLE statuses (gateway TEXT PRIMARY KEY REFERENCES gateways (id), seen BIGINT NOT NULL, body TEXT NOT NULL);

CREATE TABLE alarms (
	gateway TEXT NOT NULL REFERENCES gateways (id), kind TEXT NOT NULL, detail TEXT NOT NULL,
	first BIGINT NOT NULL, last BIGINT NOT NULL, count BIGINT NOT NULL, cleared BIGINT NOT NULL,
	PRIMARY KEY (gateway, kind));

-- One row for each version. plan is JSON of the contract's Plan.
CREATE TABLE forfaits (
	id TEXT NOT NULL, version BIGINT NOT NULL, reseller TEXT NOT NULL, at BIGINT NOT NULL, plan TEXT NOT NULL,
	site TEXT NOT NULL, share BIGINT NOT NULL, target_reseller TEXT NOT NULL, target_currency TEXT NOT NULL,
	seq BIGINT NOT NULL, superseded BIGINT NOT NULL,
	PRIMARY KEY (id, version));

CREATE INDEX forfaits_live ON forfaits (id, version) WHERE superseded = 0;

CREATE TABLE batches (
	id TEXT PRIMARY KEY, reseller TEXT NOT NULL REFERENCES resellers (id), site TEXT NOT NULL, -- '' is roaming
	forfait TEXT NOT NULL, version BIGINT NOT NULL, expires BIGINT NOT NULL, made BIGINT NOT NULL,
	by_name TEXT NOT NULL, revoked BIGINT NOT NULL, total BIGINT NOT NULL);

CREATE INDEX batches_reseller ON batches (reseller, made);

CREATE INDEX batches_site ON batches (site);

-- voucher is the keyed hash of the code. used is when; site_grant is the
-- hub's grant that it became, '' if the site's gateway redeemed it.
CREATE TABLE vouchers (
	voucher TEXT PRIMARY KEY, batch TEXT NOT NULL REFERENCES batches (id),
	used BIGINT NOT NULL, site_grant TEXT NOT NULL);

CREATE INDEX vouchers_unused ON vouchers (batch) WHERE used = 0;

CREATE TABLE grants (
	id TEXT PRIMARY KEY, site TEXT NOT NULL REFERENCES sites (id), forfait TEXT NOT NULL, version BIGINT NOT NULL,
	device TEXT NOT NULL, claim TEXT NOT NULL, source TEXT NOT NULL, ref TEXT NOT NULL,
	expires BIGINT NOT NULL, made BIGINT NOT NULL, revoked BIGINT NOT NULL,
	sold BIGINT NOT NULL, -- when the gateway took it over
	UNIQUE (source, ref));

CREATE INDEX grants_open ON grants (site) WHERE sold = 0;

CREATE TABLE pushes (
	seq BIGINT PRIMARY KEY, site TEXT NOT NULL, share BIGINT NOT NULL, reseller TEXT NOT NULL, currency TEXT NOT NULL,
	kind TEXT NOT NULL, at BIGINT NOT NULL, body TEXT NOT NULL, rollout TEXT NOT NULL);

-- What is for one site, and what is for many: two short walks.
CREATE INDEX pushes_site ON pushes (site, seq) WHERE share = 0;

CREATE INDEX pushes_many ON pushes (seq) WHERE share > 0;

CREATE INDEX pushes_rollout ON pushes (rollout) WHERE rollout <> '';

CREATE TABLE acks (
	seq BIGINT NOT NULL, gateway TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
	have BIGINT NOT NULL, at BIGINT NOT NULL,
	PRIMARY KEY (seq, gateway));

CREATE TABLE rollouts (id TEXT PRIMARY KEY, state TEXT NOT NULL, begun BIGINT NOT NULL, body TEXT NOT NULL);

CREATE INDEX rollouts_state ON rollouts (state, begun);

-- What gateways reported, as it was. body is JSON of the contract's Entry.
CREATE TABLE entries (
	site TEXT NOT NULL, n BIGINT NOT NULL, gateway TEXT NOT NULL, hash TEXT NOT NULL, at BIGINT NOT NULL,
	taken BIGINT NOT NULL, kind TEXT NOT NULL, site_grant BIGINT NOT NULL, body TEXT NOT NULL,
	PRIMARY KEY (site, n));

CREATE TABLE usages (
	gateway TEXT NOT NULL, site_grant BIGINT NOT NULL, up BIGINT NOT NULL, down BIGINT NOT NULL, at BIGINT NOT NULL,
	PRIMARY KEY (gateway, site_grant));

CREATE TABLE sales (
	site TEXT NOT NULL, source TEXT NOT NULL, ref TEXT NOT NULL, entry BIGINT NOT NULL, reseller TEXT NOT NULL,
	at BIGINT NOT NULL, exact BIGINT NOT NULL, batch TEXT NOT NULL, forfait TEXT NOT NULL, version BIGINT NOT NULL,
	amount BIGINT NOT NULL, currency TEXT NOT NULL, custody TEXT NOT NULL,
	PRIMARY KEY (site, source, ref));

CREATE INDEX sales_month ON sales (reseller, at);

CREATE TABLE rules (reseller TEXT NOT NULL, month TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (reseller, month));
