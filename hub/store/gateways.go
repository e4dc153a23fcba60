package store

import (
	"encoding/json"
	"fmt"
	"time"

	"zonegate/hub"
)

const (
	gatewayFields = `g.id, g.site, s.reseller, g.name, g.enrolled, g.revoked, g.reason, g.instance, g.since, s.currency, s.bucket, o.next, q.last`
	gatewayTables = ` FROM gateways g JOIN sites s ON s.id = g.site JOIN outboxes o ON o.site = g.site JOIN sequences q ON q.name = 'push'`
	gatewayRow    = "SELECT " + gatewayFields + gatewayTables
)

// gatewayOf reads gatewayFields and what follows them.
func gatewayOf(s scanner, more ...any) (g hub.Gateway, err error) {
	var enrolled, revoked int64
	err = s.Scan(append([]any{&g.ID, &g.Site, &g.Reseller, &g.Name, &enrolled, &revoked, &g.Reason, &g.Instance, &g.Since,
		&g.Currency, &g.Bucket, &g.NextEntry, &g.Head}, more...)...)
	g.Enrolled, g.Revoked = at(enrolled), revoked != 0
	return g, err
}

func gateway(s scanner) (hub.Gateway, error) { return gatewayOf(s) }

func (t *tx) AddGateway(g hub.Gateway, token string) error {
	return t.do("INSERT INTO gateways (id, site, name, token, instance, since, enrolled, revoked, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '')",
		g.ID, g.Site, g.Name, token, g.Instance, int64(g.Since), ms(g.Enrolled))
}

func (t *tx) SetToken(gateway, token string) error {
	return t.must("UPDATE gateways SET token = $2 WHERE id = $1", gateway, token)
}

func (t *tx) GatewayByToken(token string) (hub.Gateway, error) {
	return one(t, gateway, gatewayRow+" WHERE g.token = $1", token)
}

func (t *tx) Gateway(id string) (hub.Gateway, error) {
	return one(t, gateway, gatewayRow+" WHERE g.id = $1", id)
}

func (t *tx) LiveGateways(reseller, site string) ([]hub.Heard, error) {
	return many(t, func(s scanner) (h hub.Heard, err error) {
		var seen int64
		h.Gateway, err = gatewayOf(s, &seen)
		h.Seen = at(seen)
		return h, err
	}, "SELECT "+gatewayFields+", COALESCE(x.seen, 0)"+gatewayTables+` LEFT JOIN statuses x ON x.gateway = g.id
		WHERE g.revoked = 0 AND `+bounded("s.reseller", reseller)+` AND ($2 = '' OR g.site = $2)
		ORDER BY COALESCE(x.seen, 0) DESC, g.id`, reseller, site)
}

func (t *tx) RevokeGateway(id, reason string) error {
	return t.must("UPDATE gateways SET revoked = 1, reason = $2 WHERE id = $1 AND revoked = 0", id, reason)
}

func (t *tx) Fleet(q hub.FleetQuery, quiet time.Time) ([]hub.Member, error) {
	members, err := many(t, func(s scanner) (m hub.Member, err error) {
		var body string
		if m.Gateway, err = gatewayOf(s, &m.SiteName, &m.ResellerName, &body); err != nil || body == "" {
			return m, err
		}
		return m, json.Unmarshal([]byte(body), &m.Status)
	}, "SELECT "+gatewayFields+", s.name, r.name, COALESCE(x.body, '')"+gatewayTables+`
		JOIN resellers r ON r.id = s.reseller LEFT JOIN statuses x ON x.gateway = g.id
		WHERE `+bounded("s.reseller", q.Reseller)+` AND (g.revoked = 0 OR $2 = 1)
		AND ($3 = 0 OR COALESCE(x.seen, 0) < $4 OR EXISTS (SELECT 1 FROM alarms a WHERE a.gateway = g.id AND a.cleared = 0))
		AND ($5 = '' OR EXISTS (SELECT 1 FROM gateways b JOIN sites c ON c.id = b.site
			WHERE b.id = $5 AND (s.name > c.name OR s.name = c.name AND g.id > b.id)))
		ORDER BY s.name, g.id LIMIT $6`,
		q.Reseller, flag(q.Revoked), flag(q.Troubled), ms(quiet), q.After, q.Max)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(members))
	at := map[string]int{}
	for i, m := range members {
		ids[i], at[m.ID] = m.ID, i
	}
	return members, in(t, ids, func(list string, args []any) error {
		alarms, err := many(t, alarm, "SELECT gateway, kind, detail, first, last, count FROM alarms WHERE cleared = 0 AND gateway IN "+list+" ORDER BY kind", args...)
		for _, a := range alarms {
			m := &members[at[a.Gateway]]
			m.Alarms = append(m.Alarms, a)
		}
		return err
	})
}

func (t *tx) PutStatuses(ss map[string]hub.Status) error {
	values := make([]any, 0, 3*len(ss))
	for id, s := range ss {
		body, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("encoding a status: %w", err)
		}
		values = append(values, id, ms(s.Seen), string(body))
	}
	_, err := t.insert("INSERT INTO statuses (gateway, seen, body)",
		"ON CONFLICT (gateway) DO UPDATE SET seen = excluded.seen, body = excluded.body WHERE excluded.seen > statuses.seen", 3, values)
	return err
}

func alarm(s scanner) (a hub.Alarm, err error) {
	var first, last int64
	err = s.Scan(&a.Gateway, &a.Kind, &a.Detail, &first, &last, &a.Count)
	a.First, a.Last = at(first), at(last)
	return a, err
}

// RaiseAlarm counts on, or begins anew where somebody has cleared it.
func (t *tx) RaiseAlarm(a hub.Alarm) error {
	return t.do(`INSERT INTO alarms (gateway, kind, detail, first, last, count, cleared) VALUES ($1, $2, $3, $4, $5, 1, 0)
		ON CONFLICT (gateway, kind) DO UPDATE SET detail = excluded.detail, last = excluded.last,
		first = CASE WHEN alarms.cleared = 0 THEN alarms.first ELSE excluded.first END,
		count = CASE WHEN alarms.cleared = 0 THEN alarms.count + 1 ELSE 1 END, cleared = 0`,
		a.Gateway, a.Kind, a.Detail, ms(a.First), ms(a.Last))
}

func (t *tx) ClearAlarm(gateway, kind string) error {
	return t.must("UPDATE alarms SET cleared = 1 WHERE gateway = $1 AND kind = $2 AND cleared = 0", gateway, kind)
}
