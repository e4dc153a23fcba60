package nas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// fileVersion is raised when an older program could misread the file.
const fileVersion = 1

// maxFile is far above a full book.
const maxFile = 4 << 20

// A bookFile is the book as it is written. Secrets are plain text there, so
// the file is for its owner only.
type bookFile struct {
	Version int         `json:"version"`
	NAS     []bookEntry `json:"nas"`
}

type bookEntry struct {
	Name            string   `json:"name"`
	Prefix          string   `json:"prefix"`
	Secret          string   `json:"secret"`
	Vendor          string   `json:"vendor"`
	RequireMA       string   `json:"require_message_authenticator,omitempty"`
	Signed          bool     `json:"signed,omitempty"`
	NoCoA           bool     `json:"no_coa,omitempty"`
	CoAPort         uint16   `json:"coa_port,omitempty"`
	IntervalSeconds uint32   `json:"interim_s,omitempty"`
	Strict          bool     `json:"strict,omitempty"`
	Login           []string `json:"login,omitempty"`
	UAMSecret       string   `json:"uam_secret,omitempty"`
}

func (e bookEntry) nas() (NAS, error) {
	n := NAS{
		Name: e.Name, Secret: Secret(e.Secret), Vendor: Vendor(e.Vendor), RequireMA: Require(e.RequireMA),
		Signed: e.Signed, NoCoA: e.NoCoA, CoAPort: e.CoAPort, Interim: time.Duration(e.IntervalSeconds) * time.Second,
		Strict: e.Strict, Login: e.Login, UAMSecret: Secret(e.UAMSecret),
	}
	var err error
	if n.Prefix, err = ParsePrefix(e.Prefix); err != nil {
		return NAS{}, err
	}
	n = n.normalize()
	return n, n.validate()
}

func (n NAS) entry() bookEntry {
	return bookEntry{
		Name: n.Name, Prefix: n.Prefix.String(), Secret: string(n.Secret), Vendor: string(n.Vendor), RequireMA: string(n.RequireMA),
		Signed: n.Signed, NoCoA: n.NoCoA, CoAPort: n.CoAPort, IntervalSeconds: uint32(n.Interim / time.Second),
		Strict: n.Strict, Login: n.Login, UAMSecret: string(n.UAMSecret),
	}
}

// ParsePrefix reads an address or a prefix as people write them.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no address; write one like 192.168.88.1 or 10.5.0.0/24", s)
	}
	if m := unmapPrefix(p); m.IsValid() {
		return m, nil
	}
	return netip.Prefix{}, fmt.Errorf("%q is no prefix; write one like 10.5.0.0/24", s)
}

// read returns the entries of a file. Weak secrets pass: they were forced.
func read(name string) ([]NAS, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the book of NASes: %w", err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.Mode().Perm()&0o077 != 0 {
		// Written by hand. There are file systems without rights, so this is
		// no error.
		_ = f.Chmod(0o600)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the book of NASes: %w", err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("reading %s: it is larger than %d octets", name, maxFile)
	}
	var file bookFile
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("reading %s: %w; repair it, or take it away and add the NASes again", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("reading %s: there is something after its end; repair it, or take it away and add the NASes again", name)
	}
	if file.Version != fileVersion {
		return nil, fmt.Errorf("reading %s: its version is %d and this program knows %d", name, file.Version, fileVersion)
	}
	var list []NAS
	for i, e := range file.NAS {
		n, err := e.nas()
		if err == nil {
			err = fits(list, n)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: entry %d (%q): %w", name, i+1, e.Name, err)
		}
		list = append(list, n)
	}
	return list, nil
}

// write replaces the file by one with the list, durably: after a power cut
// there is the old one or the new one.
func write(dir string, list []NAS) (err error) {
	file := bookFile{Version: fileVersion, NAS: []bookEntry{}}
	for _, n := range list {
		file.NAS = append(file.NAS, n.entry())
	}
	content, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the book of NASes: %w", err)
	}
	name := filepath.Join(dir, FileName)
	temp := name + ".new"
	defer func() {
		if err != nil {
			os.Remove(temp)
			err = fmt.Errorf("writing the book of NASes: %w", err)
		}
	}()
	// What a crash left may have other rights.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(content, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
