-- Money on its way out. Amounts are minor units.

INSERT INTO sequences (name, last) VALUES ('withdrawal', 0);

CREATE TABLE withdrawals (
	id TEXT PRIMARY KEY, number BIGINT NOT NULL UNIQUE, reference TEXT NOT NULL UNIQUE, reseller TEXT NOT NULL,
	by_user TEXT NOT NULL, by_name TEXT NOT NULL, user_number BIGINT NOT NULL, wallet_number BIGINT NOT NULL,
	amount BIGINT NOT NULL, currency TEXT NOT NULL, fee BIGINT NOT NULL, phone TEXT NOT NULL, operator TEXT NOT NULL,
	state TEXT NOT NULL, reason TEXT NOT NULL,
	code_hash TEXT NOT NULL, code_expires BIGINT NOT NULL, code_sends BIGINT NOT NULL, tries BIGINT NOT NULL,
	verified BIGINT NOT NULL, not_before BIGINT NOT NULL,
	payer TEXT NOT NULL, their_fee BIGINT NOT NULL, claimed TEXT NOT NULL, approved TEXT NOT NULL, attempt BIGINT NOT NULL, called BIGINT NOT NULL,
	provider_ref TEXT NOT NULL, next_look BIGINT NOT NULL, looks BIGINT NOT NULL,
	processed BIGINT NOT NULL, processed_by TEXT NOT NULL, processed_number BIGINT NOT NULL,
	manual TEXT NOT NULL, notes TEXT NOT NULL, made BIGINT NOT NULL, changed BIGINT NOT NULL);

-- The last guard of the rule that a reseller has one payout on its way.
CREATE UNIQUE INDEX withdrawals_open ON withdrawals (reseller) WHERE state IN ('processing', 'ambiguous');

CREATE INDEX withdrawals_look ON withdrawals (next_look) WHERE next_look > 0;

CREATE INDEX withdrawals_made ON withdrawals (reseller, made);

CREATE INDEX withdrawals_all ON withdrawals (made);

CREATE TABLE kyc (reseller TEXT PRIMARY KEY REFERENCES resellers (id), level TEXT NOT NULL);

-- Numbers that a code was verified for.
CREATE TABLE payees (reseller TEXT NOT NULL, phone TEXT NOT NULL, since BIGINT NOT NULL, PRIMARY KEY (reseller, phone));

-- What an API calls by a number has one.
CREATE TABLE numbers (kind TEXT NOT NULL, id TEXT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (kind, id), UNIQUE (kind, number));

CREATE TABLE refunds (
	id TEXT PRIMARY KEY, payment TEXT NOT NULL REFERENCES payments (id), reseller TEXT NOT NULL,
	reference TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, as_payout BIGINT NOT NULL,
	amount BIGINT NOT NULL, currency TEXT NOT NULL, phone TEXT NOT NULL, state TEXT NOT NULL, why TEXT NOT NULL, reason TEXT NOT NULL,
	by_user TEXT NOT NULL, forced BIGINT NOT NULL, push BIGINT NOT NULL, handle TEXT NOT NULL, attempt BIGINT NOT NULL,
	called BIGINT NOT NULL, next_look BIGINT NOT NULL, looks BIGINT NOT NULL, restored TEXT NOT NULL, statement TEXT NOT NULL,
	made BIGINT NOT NULL, changed BIGINT NOT NULL);

CREATE UNIQUE INDEX refunds_payment ON refunds (payment) WHERE state <> 'failed';

CREATE INDEX refunds_look ON refunds (next_look) WHERE next_look > 0;

CREATE INDEX refunds_made ON refunds (made);
