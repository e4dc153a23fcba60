package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A member is one member of a tar file, as this test reads it.
type member struct {
	header tar.Header
	data   []byte
}

func members(t *testing.T, archive []byte) (list []member) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, member{*h, data})
	}
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// unpack reads an archive as RouterOS does, checks every digest on the way, and
// returns the configuration and the layer.
func unpack(t *testing.T, archive []byte) (config map[string]any, layer []byte) {
	t.Helper()
	files := map[string][]byte{}
	for _, m := range members(t, archive) {
		if m.header.Typeflag == tar.TypeReg {
			files[m.header.Name] = m.data
		}
	}
	var list []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &list); err != nil || len(list) != 1 || len(list[0].Layers) != 1 {
		t.Fatalf("the manifest has not one image with one layer: %v: %s", err, files["manifest.json"])
	}
	m := list[0]
	if len(files) != 3 {
		t.Errorf("%d files in the archive instead of manifest, configuration and layer", len(files))
	}
	text, ok := files[m.Config]
	if !ok || m.Config != sum(text)+".json" {
		t.Fatalf("the configuration is not named by its digest: %q", m.Config)
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	layer = files[m.Layers[0]]
	if m.Layers[0] != sum(layer)+"/layer.tar" {
		t.Fatalf("the layer is not named by its digest: %q", m.Layers[0])
	}
	ids := config["rootfs"].(map[string]any)["diff_ids"].([]any)
	if len(ids) != 1 || ids[0] != "sha256:"+sum(layer) {
		t.Fatalf("diff_ids are %v, the layer is %s", ids, sum(layer))
	}
	if bytes.HasPrefix(layer, []byte{0x1f, 0x8b}) {
		t.Fatal("the layer is compressed")
	}
	return config, layer
}

var sample = image{arch: "arm", version: "v1", made: time.Unix(1700000000, 0).UTC(),
	program: []byte("\x7fELF program"), authorities: []byte("-----BEGIN CERTIFICATE-----\n")}

func written(t *testing.T, in image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := in.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImage(t *testing.T) {
	archive := written(t, sample)
	if !bytes.Equal(archive, written(t, sample)) {
		t.Error("the same input gave another archive")
	}
	config, layer := unpack(t, archive)
	if config["architecture"] != "arm" || config["variant"] != "v5" || config["os"] != "linux" || config["created"] != "2023-11-14T22:13:20Z" {
		t.Errorf("configuration %v", config)
	}
	settings := config["config"].(map[string]any)
	if _, ok := settings["Volumes"].(map[string]any)["/data"]; !ok {
		t.Errorf("/data is no volume: %v", settings)
	}
	var list []string
	for _, m := range members(t, layer) {
		h := m.header
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Format != tar.FormatUSTAR || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s: owner %d:%d (%q), format %v, date %v", h.Name, h.Uid, h.Gid, h.Uname, h.Format, h.ModTime)
		}
		list = append(list, h.FileInfo().Mode().String()+" "+strings.TrimSuffix(h.Name+" -> "+h.Linkname, " -> "))
	}
	want := []string{
		"drwxr-xr-x data/", "drwxr-xr-x etc/", "-rw-r--r-- etc/group", "-rw-r--r-- etc/passwd",
		"drwxr-xr-x etc/ssl/", "drwxr-xr-x etc/ssl/certs/", "-rw-r--r-- etc/ssl/certs/ca-certificates.crt",
		"Lrwxrwxrwx etc/zonegate -> /data", "dtrwxrwxrwx tmp/", "drwxr-xr-x var/", "drwxr-xr-x var/run/", "-rwxr-xr-x zonegate",
	}
	if !slices.Equal(list, want) {
		t.Errorf("the layer holds\n%s\ninstead of\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
}

func TestImageOfForeignProcessor(t *testing.T) {
	in := sample
	in.arch = "mips"
	if err := in.write(io.Discard); err == nil || !strings.Contains(err.Error(), "arm, arm64 or amd64") {
		t.Errorf("an image for mips: %v", err)
	}
}

// root unpacks a layer into a directory.
func root(t *testing.T, layer []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, m := range members(t, layer) {
		name := filepath.Join(dir, m.header.Name)
		var err error
		switch m.header.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(name, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(m.header.Linkname, name)
		default:
			err = os.WriteFile(name, m.data, m.header.FileInfo().Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestMake builds the images as everybody does, and starts what is in them, in
// a root of its own: the entry point has to find everything there.
func TestMake(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("chroot needs root: run make kernel")
	}
	build := func() string {
		dir := t.TempDir()
		cmd := exec.Command("make", "-C", "../../..", "--no-print-directory", "routeros-image", "ROUTEROS="+dir, "VERSION=v9.8.7")
		cmd.Env = append(os.Environ(), "MAKEFLAGS=", "SOURCE_DATE_EPOCH=1700000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make routeros-image: %v\n%s", err, out)
		}
		return dir
	}
	dir, again := build(), build()
	for arch, emulator := range map[string]string{"amd64": "", "arm": "qemu-arm-static", "arm64": "qemu-aarch64-static"} {
		t.Run(arch, func(t *testing.T) {
			archive, err := os.ReadFile(filepath.Join(dir, "zonegate-"+arch+".tar"))
			if err != nil {
				t.Fatal(err)
			}
			second, err := os.ReadFile(filepath.Join(again, "zonegate-"+arch+".tar"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(archive, second) {
				t.Error("building it again gave another image")
			}
			config, layer := unpack(t, archive)
			if config["architecture"] != arch {
				t.Errorf("the image is for %v", config["architecture"])
			}
			dir := root(t, layer)
			var prefix []string
			if emulator != "" {
				path, err := exec.LookPath(emulator)
				if err != nil {
					t.Fatalf("no %s: make testdeps installs it", emulator)
				}
				program, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "emulator"), program, 0o755); err != nil {
					t.Fatal(err)
				}
				prefix = []string{"/emulator"}
			}
			entrypoint := config["config"].(map[string]any)["Entrypoint"].([]any)[0].(string)
			do := func(args ...string) (string, error) {
				words := slices.Concat(prefix, []string{entrypoint}, args)
				cmd := exec.Command(words[0], words[1:]...)
				cmd.Dir, cmd.Env = "/", []string{"PATH=/"}
				cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
				out, err := cmd.CombinedOutput()
				return strings.TrimSpace(string(out)), err
			}
			if out, err := do("version"); err != nil || out != "v9.8.7" {
				t.Errorf("zonegate version: %v, %q", err, out)
			}
			// Without a word about paths, the configuration is on the volume.
			if out, err := do("init"); err != nil {
				t.Errorf("zonegate init: %v, %q", err, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "data", "zonegate.toml")); err != nil {
				t.Errorf("the configuration is not on the volume: %v", err)
			}
		})
	}
}
