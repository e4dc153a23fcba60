-- Money. Amounts are minor units. Reference numbers that are not known are ''
-- and not in a unique index.

CREATE TABLE payments (
	id TEXT PRIMARY KEY, site TEXT NOT NULL, reseller TEXT NOT NULL,
	gateway TEXT NOT NULL, intent TEXT NOT NULL, reference TEXT NOT NULL UNIQUE,
	provider TEXT NOT NULL, channel TEXT NOT NULL, forfait TEXT NOT NULL, version BIGINT NOT NULL,
	amount BIGINT NOT NULL, currency TEXT NOT NULL, phone TEXT NOT NULL, device TEXT NOT NULL, claim TEXT NOT NULL,
	state TEXT NOT NULL, unsure BIGINT NOT NULL, provider_ref TEXT NOT NULL, flow TEXT NOT NULL, url TEXT NOT NULL,
	reason TEXT NOT NULL, paid BIGINT NOT NULL, paid_currency TEXT NOT NULL,
	customer_paid BIGINT NOT NULL, provider_fee TEXT NOT NULL,
	made BIGINT NOT NULL, changed BIGINT NOT NULL, next_look BIGINT NOT NULL, looks BIGINT NOT NULL,
	attempt BIGINT NOT NULL, rev BIGINT NOT NULL);

CREATE UNIQUE INDEX payments_intent ON payments (site, intent) WHERE intent <> '';

CREATE UNIQUE INDEX payments_provider ON payments (provider, provider_ref) WHERE provider_ref <> '';

CREATE UNIQUE INDEX payments_claim ON payments (site, claim) WHERE claim <> '';

CREATE INDEX payments_look ON payments (next_look) WHERE next_look > 0;

CREATE INDEX payments_reseller ON payments (reseller, id);

CREATE INDEX payments_phone ON payments (phone, made) WHERE phone <> '';

CREATE INDEX grants_claim ON grants (claim) WHERE claim <> '';

-- What providers said, as it was. Append only. source is initiate, lookup,
-- callback or refund.
CREATE TABLE observations (
	id TEXT PRIMARY KEY, payment TEXT NOT NULL, at BIGINT NOT NULL, source TEXT NOT NULL,
	state TEXT NOT NULL, provider_ref TEXT NOT NULL, raw TEXT NOT NULL);

CREATE INDEX observations_payment ON observations (payment, at);

CREATE TABLE transactions (
	id TEXT PRIMARY KEY, kind TEXT NOT NULL, ref TEXT NOT NULL, at BIGINT NOT NULL,
	reseller TEXT NOT NULL, note TEXT NOT NULL, UNIQUE (kind, ref));

CREATE INDEX transactions_reseller ON transactions (reseller, id);

CREATE TABLE postings (
	book TEXT NOT NULL REFERENCES transactions (id), line BIGINT NOT NULL,
	account TEXT NOT NULL, currency TEXT NOT NULL, amount BIGINT NOT NULL,
	PRIMARY KEY (book, line));

CREATE INDEX postings_account ON postings (account, currency, amount);
