package disk

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// TypeName names a file system by the magic number that statfs reports. An
// unknown one is given as "0x...".
func TypeName(magic uint32) string {
	switch magic {
	case 0xEF53:
		return "ext4" // and ext2, ext3: they share the number
	case 0x24051905:
		return "ubifs"
	case 0x72B6:
		return "jffs2"
	case 0xF2F52010:
		return "f2fs"
	case 0x73717368:
		return "squashfs"
	case 0x794C7630:
		return "overlay"
	case 0x01021994:
		return "tmpfs"
	case 0x858458F6:
		return "ramfs"
	case 0x58465342:
		return "xfs"
	case 0x9123683E:
		return "btrfs"
	case 0xE0F5E1E2:
		return "erofs"
	case 0x4D44:
		return "vfat"
	case 0x2011BAB0:
		return "exfat"
	case 0x6969:
		return "nfs"
	case 0x01021997:
		return "9p"
	case 0x65735546:
		return "fuse"
	}
	return fmt.Sprintf("%#x", magic)
}

// kind answers for OS.Kind. On an overlay, which is what OpenWrt has, it
// answers for the layer that is written to.
func kind(dir string) (string, error) {
	name, err := statfsName(dir)
	if err != nil || name != "overlay" {
		return name, err
	}
	if upper := upperDir(dir, "/proc/self/mountinfo"); upper != "" {
		if under, err := statfsName(upper); err == nil {
			return under, nil
		}
	}
	return name, nil
}

func statfsName(dir string) (string, error) {
	var st unix.Statfs_t
	if err := statfs(dir, &st); err != nil {
		return "", err
	}
	// The field is a signed int32 or int64, depending on the machine.
	return TypeName(uint32(st.Type)), nil
}

func statfs(dir string, st *unix.Statfs_t) error {
	if err := retry(func() error { return unix.Statfs(dir, st) }); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return nil
}

// upperDir finds the written layer of the overlay that holds dir, or "".
// The format of the table is in proc_pid_mountinfo(5).
func upperDir(dir, table string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer f.Close()
	best, upper := -1, ""
	for sc := bufio.NewScanner(f); sc.Scan(); {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		if !ok {
			continue
		}
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 {
			continue
		}
		point := unescape(l[4])
		if point != "/" && abs != point && !strings.HasPrefix(abs, point+"/") {
			continue
		}
		// Of two mounts on one point the later one is on top.
		if len(point) < best {
			continue
		}
		best, upper = len(point), ""
		if r[0] != "overlay" && r[0] != "overlayfs" {
			continue
		}
		for _, opt := range strings.Split(r[2], ",") {
			if v, ok := strings.CutPrefix(opt, "upperdir="); ok {
				upper = unescape(v)
			}
		}
	}
	return upper
}

// unescape undoes the octal escapes (\040 for a blank) of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			v, ok := 0, true
			for _, c := range s[i+1 : i+4] {
				if c < '0' || c > '7' {
					ok = false
				}
				v = v*8 + int(c-'0')
			}
			if ok {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
