package nas

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// FileName is the book's file in the data directory.
const FileName = "nas.json"

// Reasons for which the book refuses a change.
var (
	ErrNoSuchNAS  = errors.New("no such NAS")
	ErrNameTaken  = errors.New("there is already a NAS of that name")
	ErrPrefix     = errors.New("there is already a NAS with that address")
	ErrLoginTaken = errors.New("another NAS has that login host")
)

// maxEntries bounds the book; a zone has a handful.
const maxEntries = 1024

// A Book holds the NASes of a zone, in memory and in a file of the data
// directory. Reading never waits: Find is called for every packet. Safe for
// concurrent use within a process; between processes it is the data
// directory's lock, which the caller holds, that keeps writers apart.
type Book struct {
	dir string
	// mu is held while the book is changed; readers take the page as it is.
	mu   sync.Mutex
	page atomic.Pointer[page]
}

// A page is one state of the book. It is never changed.
type page struct {
	list   []NAS // by name
	exact  map[netip.Addr]int
	ranges []int // the longest prefix first
	names  map[string]int
	logins map[string]int
}

// Open reads the book in a data directory. No file is an empty book; a file
// that cannot be read or understood is an error that names the entry, because
// an empty book would lock every customer out.
func Open(dir string) (*Book, error) {
	list, err := read(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	b := &Book{dir: dir}
	b.page.Store(newPage(list))
	return b, nil
}

func newPage(list []NAS) *page {
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	p := &page{list: list, exact: map[netip.Addr]int{}, names: map[string]int{}, logins: map[string]int{}}
	for i, n := range list {
		p.names[n.Name] = i
		if n.Single() {
			p.exact[n.Prefix.Addr()] = i
		} else {
			p.ranges = append(p.ranges, i)
		}
		for _, h := range n.Login {
			p.logins[h] = i
		}
	}
	sort.SliceStable(p.ranges, func(i, j int) bool {
		return list[p.ranges[i]].Prefix.Bits() > list[p.ranges[j]].Prefix.Bits()
	})
	return p
}

// fits says why an entry cannot stand beside those of the list.
func fits(list []NAS, n NAS) error {
	if len(list) >= maxEntries {
		return fmt.Errorf("the book is full (%d entries); give machines of one kind one entry with a prefix", maxEntries)
	}
	for _, o := range list {
		if o.Name == n.Name {
			return fmt.Errorf("%w: %s", ErrNameTaken, n.Name)
		}
		if o.Prefix == n.Prefix {
			return fmt.Errorf("%w: %s has %v", ErrPrefix, o.Name, o.Prefix)
		}
		for _, h := range n.Login {
			for _, taken := range o.Login {
				if h == taken {
					return fmt.Errorf("%w: %s has %s; give each hotspot a DNS name of its own, or machines of one kind one entry with a prefix", ErrLoginTaken, o.Name, h)
				}
			}
		}
	}
	return nil
}

// List returns the entries by name.
func (b *Book) List() []NAS { return append([]NAS(nil), b.page.Load().list...) }

// Find returns the entry whose prefix holds the address; of several the one
// with the longest.
func (b *Book) Find(from netip.Addr) (NAS, bool) {
	from = from.Unmap().WithZone("")
	p := b.page.Load()
	if i, ok := p.exact[from]; ok {
		return p.list[i], true
	}
	for _, i := range p.ranges {
		if p.list[i].Prefix.Contains(from) {
			return p.list[i], true
		}
	}
	return NAS{}, false
}

// ByName returns the entry of a name.
func (b *Book) ByName(name string) (NAS, bool) {
	p := b.page.Load()
	i, ok := p.names[name]
	if !ok {
		return NAS{}, false
	}
	return p.list[i], true
}

// ByLogin returns the entry that has a login page at host[:port].
func (b *Book) ByLogin(host string) (NAS, bool) {
	p := b.page.Load()
	i, ok := p.logins[normalizeHost(host)]
	if !ok {
		return NAS{}, false
	}
	return p.list[i], true
}

// ByPath takes back what NAS.Path made: the entry, and the address of the
// machine.
func (b *Book) ByPath(path string) (NAS, netip.Addr, bool) {
	name, at, ranged := strings.Cut(path, "@")
	n, ok := b.ByName(name)
	if !ok || ranged == n.Single() {
		return NAS{}, netip.Addr{}, false
	}
	if !ranged {
		return n, n.Prefix.Addr(), true
	}
	addr, err := netip.ParseAddr(at)
	if err != nil || !n.Prefix.Contains(addr.Unmap()) {
		return NAS{}, netip.Addr{}, false
	}
	return n, addr.Unmap(), true
}

// Add writes a new entry into the book. A weak secret is refused unless it is
// forced.
func (b *Book) Add(n NAS, force bool) error {
	n = n.normalize()
	if err := n.validate(); err != nil {
		return err
	}
	if err := n.Secret.Weak(); err != nil && !force {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.List()
	if err := fits(list, n); err != nil {
		return err
	}
	return b.turn(append(list, n))
}

// Remove takes an entry out of the book.
func (b *Book) Remove(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.List()
	for i, n := range list {
		if n.Name == name {
			return b.turn(append(list[:i], list[i+1:]...))
		}
	}
	return fmt.Errorf("%w: %s", ErrNoSuchNAS, name)
}

// MarkSigned remembers that a packet of the NAS was signed. It counts at once,
// even when the file cannot be written: then the error says so, and the next
// change of the book writes it. For a range of machines it does nothing.
func (b *Book) MarkSigned(name string) error {
	if n, ok := b.ByName(name); ok && (n.Signed || !n.Single()) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.List()
	for i := range list {
		if list[i].Name == name {
			if list[i].Signed {
				return nil
			}
			list[i].Signed = true
			b.page.Store(newPage(list))
			return write(b.dir, list)
		}
	}
	return fmt.Errorf("%w: %s", ErrNoSuchNAS, name)
}

// turn writes the list down and then shows it to readers.
func (b *Book) turn(list []NAS) error {
	p := newPage(list)
	if err := write(b.dir, p.list); err != nil {
		return err
	}
	b.page.Store(p)
	return nil
}
