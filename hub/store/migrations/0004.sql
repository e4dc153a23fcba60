-- Reconciliation. Amounts are minor units.

CREATE INDEX transactions_at ON transactions (at);

CREATE INDEX payments_made ON payments (made);

CREATE INDEX grants_paid ON grants (made) WHERE source = 'payment';

CREATE INDEX entries_started ON entries (site, site_grant) WHERE kind = 'started';

-- What providers say of our account there.
CREATE TABLE imports (
	id TEXT PRIMARY KEY, provider TEXT NOT NULL, from_at BIGINT NOT NULL, to_at BIGINT NOT NULL,
	lines BIGINT NOT NULL, at BIGINT NOT NULL, by_name TEXT NOT NULL);

CREATE INDEX imports_provider ON imports (provider, from_at);

-- line is provider_ref, or else reference. payment is ours, '' until it is found.
CREATE TABLE statements (
	provider TEXT NOT NULL, kind TEXT NOT NULL, line TEXT NOT NULL, import TEXT NOT NULL REFERENCES imports (id),
	reference TEXT NOT NULL, provider_ref TEXT NOT NULL, amount BIGINT NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL,
	payment TEXT NOT NULL,
	PRIMARY KEY (provider, kind, line));

CREATE INDEX statements_import ON statements (import);

CREATE INDEX statements_payment ON statements (payment) WHERE payment <> '';

CREATE INDEX statements_loose ON statements (provider) WHERE payment = '' AND kind = 'payment';

CREATE TABLE findings (
	kind TEXT NOT NULL, subject TEXT NOT NULL, period TEXT NOT NULL, reseller TEXT NOT NULL, provider TEXT NOT NULL,
	detail TEXT NOT NULL, amount BIGINT NOT NULL, currency TEXT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
	cleared BIGINT NOT NULL, by_name TEXT NOT NULL, reason TEXT NOT NULL,
	PRIMARY KEY (kind, subject));

CREATE INDEX findings_period ON findings (period);

CREATE INDEX findings_open ON findings (reseller) WHERE cleared = 0;

-- body is JSON of the report.
CREATE TABLE reconciliations (period TEXT PRIMARY KEY, made BIGINT NOT NULL, clean BIGINT NOT NULL, body TEXT NOT NULL);

-- Summaries of other billing systems. body is JSON.
CREATE TABLE outside (
	reseller TEXT NOT NULL, month TEXT NOT NULL, currency TEXT NOT NULL, body TEXT NOT NULL,
	PRIMARY KEY (reseller, month, currency));

-- Months that were closed. body is JSON; begins is when the next one begins.
CREATE TABLE months (month TEXT PRIMARY KEY, begins BIGINT NOT NULL, body TEXT NOT NULL);
