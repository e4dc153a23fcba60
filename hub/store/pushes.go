package store

import (
	"encoding/json"

	"zonegate/hub"
	"zonegate/sync/api"
)

const pushColumns = "SELECT seq, site, share, reseller, currency, kind, at, body, rollout FROM pushes"

func push(s scanner) (p hub.Push, err error) {
	var when int64
	var body string
	err = s.Scan(&p.Seq, &p.Target.Site, &p.Target.Share, &p.Target.Reseller, &p.Target.Currency, &p.Kind, &when, &body, &p.Rollout)
	p.At, p.Body = at(when), json.RawMessage(body)
	return p, err
}

// AddPush numbers in a row that stays locked until the commit: who comes next
// gets his number only when this push can be seen.
func (t *tx) AddPush(p hub.Push) (uint64, error) {
	n, err := one(t, seq, "UPDATE sequences SET last = last + 1 WHERE name = 'push' RETURNING last")
	if err != nil {
		return 0, err
	}
	if err := t.do("INSERT INTO pushes (seq, site, share, reseller, currency, kind, at, body, rollout) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		int64(n), p.Target.Site, int64(p.Target.Share), p.Target.Reseller, p.Target.Currency, p.Kind, ms(p.At), string(p.Body), p.Rollout); err != nil {
		return 0, err
	}
	if t.pushed = n; t.notify != nil {
		return n, t.notify(n)
	}
	return n, nil
}

func (t *tx) AddPushes(ps []hub.Push) error {
	if len(ps) == 0 {
		return nil
	}
	last, err := one(t, seq, "UPDATE sequences SET last = last + $1 WHERE name = 'push' RETURNING last", len(ps))
	if err != nil {
		return err
	}
	values := make([]any, 0, 9*len(ps))
	for i, p := range ps {
		values = append(values, int64(last)-int64(len(ps)-1-i), p.Target.Site, int64(p.Target.Share), p.Target.Reseller, p.Target.Currency, p.Kind, ms(p.At), string(p.Body), p.Rollout)
	}
	if _, err := t.insert("INSERT INTO pushes (seq, site, share, reseller, currency, kind, at, body, rollout)", "", 9, values); err != nil {
		return err
	}
	if t.pushed = last; t.notify != nil {
		return t.notify(last)
	}
	return nil
}

func (t *tx) Head() (uint64, error) {
	return one(t, seq, "SELECT last FROM sequences WHERE name = 'push'")
}

func (t *tx) RaiseHead(n uint64) error {
	return t.do("UPDATE sequences SET last = $1 WHERE name = 'push' AND last < $1", int64(n))
}

func (t *tx) Push(n uint64) (hub.Push, error) {
	return one(t, push, pushColumns+" WHERE seq = $1", int64(n))
}

func (t *tx) Pushes(after uint64, max int) ([]hub.Push, error) {
	return many(t, push, pushColumns+" WHERE seq > $1 ORDER BY seq LIMIT $2", int64(after), max)
}

func (t *tx) PushTargets(seqs []uint64) (map[uint64]hub.Target, error) {
	type row struct {
		seq    uint64
		target hub.Target
	}
	numbers := make([]int64, len(seqs))
	for i, n := range seqs {
		numbers[i] = int64(n)
	}
	out := make(map[uint64]hub.Target, len(seqs))
	return out, in(t, numbers, func(list string, args []any) error {
		rows, err := many(t, func(s scanner) (r row, err error) {
			err = s.Scan(&r.seq, &r.target.Site, &r.target.Share, &r.target.Reseller, &r.target.Currency)
			return r, err
		}, "SELECT seq, site, share, reseller, currency FROM pushes WHERE seq IN "+list, args...)
		for _, r := range rows {
			out[r.seq] = r.target
		}
		return err
	})
}

// meant is hub.Target.Includes as two walks, each with its own index.
const meant = pushColumns + " WHERE share = 0 AND site = $1 AND seq > $5 AND ($6 = '' OR kind = $6) UNION ALL " +
	pushColumns + ` WHERE share > 0 AND seq > $5 AND ($6 = '' OR kind = $6) AND (site = $1 OR
		share > $2 AND (reseller = '' OR reseller = $3) AND (currency = '' OR currency = $4))`

func (t *tx) PushesFor(g hub.Gateway, kind string, after uint64, max int) ([]hub.Push, error) {
	return many(t, push, meant+" ORDER BY seq LIMIT $7", g.Site, int64(g.Bucket), g.Reseller, g.Currency, int64(after), kind, max)
}

func (t *tx) LastPush(g hub.Gateway, kind string, after uint64) (hub.Push, error) {
	return one(t, push, meant+" ORDER BY seq DESC LIMIT 1", g.Site, int64(g.Bucket), g.Reseller, g.Currency, int64(after), kind)
}

func (t *tx) PutAcks(acks []hub.Ack) error {
	// One statement cannot change a row twice: the last answer counts.
	type row struct {
		seq     uint64
		gateway string
	}
	last := map[row]int{}
	for i, a := range acks {
		last[row{a.Seq, a.Gateway}] = i
	}
	values := make([]any, 0, 6*len(acks))
	for i, a := range acks {
		if last[row{a.Seq, a.Gateway}] == i {
			values = append(values, int64(a.Seq), a.Gateway, a.Outcome, a.Reason, int64(a.Have), ms(a.At))
		}
	}
	_, err := t.insert("INSERT INTO acks (seq, gateway, outcome, reason, have, at)",
		"ON CONFLICT (seq, gateway) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason, have = excluded.have, at = excluded.at", 6, values)
	return err
}

func (t *tx) AcksOf(n uint64, max int) (refused []hub.Ack, applied int, err error) {
	refused, err = many(t, func(s scanner) (a hub.Ack, err error) {
		var when int64
		err = s.Scan(&a.Seq, &a.Gateway, &a.Outcome, &a.Reason, &a.Have, &when)
		a.At = at(when)
		return a, err
	}, "SELECT seq, gateway, outcome, reason, have, at FROM acks WHERE seq = $1 AND outcome <> $2 ORDER BY at DESC, gateway LIMIT $3", int64(n), api.Applied, max)
	if err != nil {
		return nil, 0, err
	}
	count, err := one(t, number, "SELECT COUNT(*) FROM acks WHERE seq = $1 AND outcome = $2", int64(n), api.Applied)
	return refused, int(count), err
}

func (t *tx) Answered(n uint64, rollout string) (applied, refused int, err error) {
	a, err := one(t, number, "SELECT COUNT(*) FROM acks WHERE seq = $1 AND outcome IN ($2, $3)", int64(n), api.Applied, hub.Stale)
	if err != nil {
		return 0, 0, err
	}
	r, err := one(t, number, `SELECT COUNT(DISTINCT a.gateway) FROM acks a JOIN pushes p ON p.seq = a.seq
		WHERE p.rollout = $1 AND p.rollout <> '' AND a.outcome IN ($2, $3)`, rollout, api.Refused, api.RolledBack)
	return int(a), int(r), err
}

func (t *tx) PutRollout(r hub.Rollout) error {
	body, err := encode(r)
	if err != nil {
		return err
	}
	return t.do(`INSERT INTO rollouts (id, state, begun, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`, r.ID, r.State, ms(r.Begun), body)
}

func rollout(s scanner) (r hub.Rollout, err error) {
	body, err := text(s)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(body), &r)
}

func (t *tx) Rollout(id string) (hub.Rollout, error) {
	return one(t, rollout, "SELECT body FROM rollouts WHERE id = $1", id)
}

func (t *tx) Rollouts(state string, max int) ([]hub.Rollout, error) {
	return many(t, rollout, "SELECT body FROM rollouts WHERE $1 = '' OR state = $1 ORDER BY begun DESC, id DESC LIMIT $2", state, max)
}
