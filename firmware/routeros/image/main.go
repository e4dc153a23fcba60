// Command image writes the container image of the gateway for RouterOS, from
// the gateway's program and the certificates of the public authorities, without
// a container engine:
//
//	image -arch arm64 -program build/zonegate -ca ca-certificates.crt -o zonegate-arm64.tar
//
// The same input gives the same octets. Nothing here is linked into the
// gateway.
//
// RouterOS takes from /container/add file= what "docker save" wrote before it
// changed to the OCI layout: manifest.json, the configuration and layers as
// plain tar files. An OCI layout ends in an extraction error (the repository
// Fluent-networks/tailscale-mikrotik, issue 24); one layer without compression is
// what its loader is known to take (tikoci/routeros-skills, routeros-container).
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	arch := f.String("arch", "", "arm, arm64 or amd64")
	program := f.String("program", "", "`file` with the gateway for that processor, linked statically")
	ca := f.String("ca", "/etc/ssl/certs/ca-certificates.crt", "`file` with the certificates of the authorities, PEM")
	version := f.String("version", "unknown", "what the image is tagged with")
	seconds := f.Int64("time", 0, "date of every file, in seconds since 1970")
	out := f.String("o", "", "`file` to write")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *program == "" || *out == "" {
		return errors.New("give -arch, -program and -o, and nothing else")
	}
	in := image{arch: *arch, version: *version, made: time.Unix(*seconds, 0).UTC()}
	var err error
	if in.program, err = os.ReadFile(*program); err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	if in.authorities, err = os.ReadFile(*ca); err != nil {
		return fmt.Errorf("reading the certificates of the authorities: %w", err)
	}
	var archive bytes.Buffer
	if err := in.write(&archive); err != nil {
		return err
	}
	if err := os.WriteFile(*out, archive.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// An image is what goes into one archive.
type image struct {
	arch, version        string
	made                 time.Time
	program, authorities []byte
}

// variants of the processors that RouterOS has containers for. The board hEX
// refresh and its kin (EN7562CT) report "arm" and run nothing above ARMv5, and
// an ARMv7 runs ARMv5, so "arm" is always v5.
var variants = map[string]string{"arm": "v5", "arm64": "v8", "amd64": ""}

// The configuration, as the image specification of Docker 1.2 describes it.
type (
	configuration struct {
		Architecture string    `json:"architecture"`
		Variant      string    `json:"variant,omitempty"`
		OS           string    `json:"os"`
		Created      time.Time `json:"created"`
		Config       settings  `json:"config"`
		RootFS       rootFS    `json:"rootfs"`
		History      []step    `json:"history"`
	}
	settings struct {
		Entrypoint   []string
		Cmd          []string
		WorkingDir   string
		Env          []string
		Volumes      map[string]struct{}
		ExposedPorts map[string]struct{}
		StopSignal   string
	}
	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	step struct {
		Created   time.Time `json:"created"`
		CreatedBy string    `json:"created_by"`
	}
	manifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
)

// write writes the archive.
func (in image) write(w io.Writer) error {
	variant, known := variants[in.arch]
	if !known {
		return fmt.Errorf("RouterOS has no containers for the processor %q; give arm, arm64 or amd64", in.arch)
	}
	layer, err := in.layer()
	if err != nil {
		return fmt.Errorf("writing the layer: %w", err)
	}
	id := digest(layer)
	nothing := struct{}{}
	config, err := json.Marshal(configuration{
		Architecture: in.arch, Variant: variant, OS: "linux", Created: in.made,
		Config: settings{
			Entrypoint: []string{"/zonegate"}, Cmd: []string{"run"}, WorkingDir: "/",
			Env:     []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			Volumes: map[string]struct{}{"/data": nothing},
			// The portal, and RADIUS for logins and accounting.
			ExposedPorts: map[string]struct{}{"2050/tcp": nothing, "1812/udp": nothing, "1813/udp": nothing},
			StopSignal:   "SIGTERM",
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{"sha256:" + id}},
		History: []step{{Created: in.made, CreatedBy: "firmware/routeros/image"}},
	})
	if err != nil {
		return fmt.Errorf("encoding the configuration: %w", err)
	}
	contents, err := json.Marshal([]manifest{{
		Config: digest(config) + ".json", RepoTags: []string{"zonegate:" + in.version}, Layers: []string{id + "/layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("encoding the manifest: %w", err)
	}
	return in.tar(w, []entry{
		{name: digest(config) + ".json", mode: 0o644, data: config},
		{name: id + "/", mode: 0o755},
		{name: id + "/layer.tar", mode: 0o644, data: layer},
		{name: "manifest.json", mode: 0o644, data: contents},
	})
}

// layer is the tar file of the file system. /etc/zonegate leads to the volume,
// so that the configuration and what the gateway remembers are there by
// default, and outlive the image. RouterOS writes resolv.conf and hosts.
func (in image) layer() ([]byte, error) {
	var b bytes.Buffer
	err := in.tar(&b, []entry{
		{name: "data/", mode: 0o755},
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: []byte("root:x:0:\n")},
		{name: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/:/zonegate\n")},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: in.authorities},
		{name: "etc/zonegate", mode: 0o777, to: "/data"},
		{name: "tmp/", mode: 0o1777},
		{name: "var/", mode: 0o755},
		{name: "var/run/", mode: 0o755},
		{name: "zonegate", mode: 0o755, data: in.program},
	})
	return b.Bytes(), err
}

// An entry is a file, with to a symbolic link, or with a name that ends in "/"
// a directory.
type entry struct {
	name string
	mode int64
	data []byte
	to   string
}

// tar writes entries that belong to root and are of one date, in the format of
// POSIX 1988, which every reader knows.
func (in image) tar(w io.Writer, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data)),
			ModTime: in.made, Format: tar.FormatUSTAR,
		}
		switch {
		case e.to != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.to
		case e.name[len(e.name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(e.data); err != nil {
			return err
		}
	}
	return t.Close()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
