package nft

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Tables returns the tables of all families.
func (c *Conn) Tables() ([]TableInfo, error) {
	var tables []TableInfo
	err := c.dump(subsysNFT<<8|msgGetTable, 0, nil,
		func() { tables = nil },
		func(m message) error {
			t, err := decodeTable(m)
			tables = append(tables, t)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("reading tables: %w", err)
	}
	return tables, nil
}

// Elements returns the elements of a set with data, object and what remains of
// their timeouts, in no particular order; ranges joined, sorted by key. ENOENT
// if there is no such table or set.
func (c *Conn) Elements(table, set string) ([]Element, error) {
	name := func(w *buffer) {
		w.str(1, table)
		w.str(2, set)
	}
	var flags uint32
	err := c.request(subsysNFT<<8|msgGetSet, 0, familyInet, name, func(m message) (err error) {
		flags, err = decodeSetFlags(m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading set %s %s: %w", table, set, err)
	}
	var list []entry
	err = c.dump(subsysNFT<<8|msgGetSetElem, familyInet, name,
		func() { list = list[:0] },
		func(m message) (err error) {
			list, err = decodeElements(m, list)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("reading elements of %s %s: %w", table, set, err)
	}
	return joinEntries(list, flags), nil
}

// Quotas returns the quota objects of a table; empty if there is no such table.
func (c *Conn) Quotas(table string) ([]Quota, error) {
	var quotas []Quota
	err := c.dump(subsysNFT<<8|msgGetObj, familyInet,
		func(w *buffer) {
			w.str(1, table)
			w.put32(3, uint32(ObjQuota))
		},
		func() { quotas = nil },
		func(m message) error {
			t, q, ok, err := decodeQuota(m)
			if ok && t == table {
				quotas = append(quotas, q)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("reading quotas of %s: %w", table, err)
	}
	return quotas, nil
}

// Quota returns one quota object. ENOENT if there is none.
func (c *Conn) Quota(table, name string) (Quota, error) {
	var (
		quota Quota
		found bool
	)
	err := c.request(subsysNFT<<8|msgGetObj, 0, familyInet,
		func(w *buffer) {
			w.str(1, table)
			w.str(2, name)
			w.put32(3, uint32(ObjQuota))
		},
		func(m message) (err error) {
			_, quota, found, err = decodeQuota(m)
			return err
		})
	if err == nil && !found {
		err = unix.ENOENT
	}
	if err != nil {
		return Quota{}, fmt.Errorf("reading quota %s %s: %w", table, name, err)
	}
	return quota, nil
}
