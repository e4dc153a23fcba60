package central

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"zonegate/sync/api"
)

// FileName is the file in the data directory with what makes this gateway one
// of the hub's. It is for its owner only and in no backup: a backup travels,
// and two machines with one secret are two gateways with one identity.
const FileName = "hub.json"

// fileVersion is raised when an older program could misread the file.
const fileVersion = 1

// A credential is the content of hub.json.
type credential struct {
	Version int `json:"version"`
	// Instance is drawn once per installation.
	Instance string `json:"instance"`
	URL      string `json:"url,omitempty"`
	Gateway  string `json:"gateway,omitempty"`
	Site     string `json:"site,omitempty"`
	Token    string `json:"token,omitempty"`
	HubKey   string `json:"hub_key,omitempty"`
	// Seen is about the newest time that the hub has signed. It is written
	// once a week.
	Seen time.Time `json:"seen,omitzero"`
	// Joining is an enrolment that the journal does not have yet.
	Joining *joining `json:"joining,omitempty"`
	// Trial is a setting on trial, with what was there before.
	Trial *trial `json:"trial,omitempty"`
	// Acks are refusals and roll-backs that the hub does not know yet. That a
	// push was applied it sees from the next heartbeat in any case.
	Acks []api.Ack `json:"acks,omitempty"`
}

type joining struct {
	CodeKey   string `json:"code_key"`
	Head      uint64 `json:"head"`
	NextEntry uint64 `json:"next_entry"`
}

// joined says that there is a hub to talk to.
func (c *credential) joined() bool { return c.Token != "" && c.Joining == nil }

// readCredential reads hub.json. Without the file it draws an instance.
func readCredential(dir string) (credential, error) {
	name := filepath.Join(dir, FileName)
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		id, err := draw()
		return credential{Version: fileVersion, Instance: id}, err
	}
	if err != nil {
		return credential{}, fmt.Errorf("reading the gateway's secret: %w", err)
	}
	var c credential
	if err := json.Unmarshal(content, &c); err != nil {
		return credential{}, fmt.Errorf("reading %s: %w; take it away and join the hub again", name, err)
	}
	if c.Version != fileVersion {
		return credential{}, fmt.Errorf("reading %s: its version is %d and this program knows %d", name, c.Version, fileVersion)
	}
	if c.Instance == "" || c.Token != "" && (c.URL == "" || c.Gateway == "" || c.Site == "") {
		return credential{}, fmt.Errorf("reading %s: something is missing in it; take it away and join the hub again", name)
	}
	if c.Token != "" {
		if _, err := api.ParseKey(c.HubKey); err != nil {
			return credential{}, fmt.Errorf("reading %s: %w; take it away and join the hub again", name, err)
		}
	}
	return c, nil
}

// write replaces hub.json as a whole: what is there after a power cut is the
// old one or the new one.
func (c *credential) write(dir string) error {
	content, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return fmt.Errorf("encoding the gateway's secret: %w", err)
	}
	name := filepath.Join(dir, FileName)
	if err := replace(name, append(content, '\n')); err != nil {
		return fmt.Errorf("writing the gateway's secret: %w", err)
	}
	return nil
}

func replace(name string, content []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		os.Remove(name + ".new")
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// draw returns 16 random octets in hex.
func draw() (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(rand.Reader, raw[:]); err != nil {
		return "", fmt.Errorf("drawing a name: %w", err)
	}
	return hex.EncodeToString(raw[:]), nil
}
