package faultdisk

import (
	"math/rand/v2"
	"sort"
)

// inode is a file, with or without names.
type inode struct {
	name    string  // the latest, for faults to find open files
	cache   []byte  // what a process reads
	durable []byte  // what the medium has
	pending []write // what lies between the two, in order
}

// write is one change of a file: the new size, and the sectors it touched as
// they were right after it.
type write struct {
	size    int64
	sectors map[int64][]byte // Sector bytes each, zeros past the end
}

// afterCrash picks one of the contents that the file may have afterwards.
func (n *inode) afterCrash(rng *rand.Rand) []byte {
	data := append([]byte(nil), n.durable...)
	if len(n.pending) == 0 {
		return data
	}
	switch rng.IntN(4) {
	case 0: // nothing reached the medium
		return data
	case 1: // all of it did
		for _, w := range n.pending {
			data = w.apply(data)
		}
		return data
	case 2: // the first changes did, the next one up to some byte
		k := rng.IntN(len(n.pending))
		for _, w := range n.pending[:k] {
			data = w.apply(data)
		}
		before := int64(len(data))
		data = n.pending[k].apply(data)
		if after := int64(len(data)); after > before {
			data = data[:before+rng.Int64N(after-before+1)]
		}
		return data
	}
	// Any sector as it was after any of the changes.
	sizes := []int64{int64(len(data))}
	for _, w := range n.pending {
		sizes = append(sizes, w.size)
	}
	versions := map[int64][][]byte{}
	for _, w := range n.pending {
		for s, content := range w.sectors {
			versions[s] = append(versions[s], content)
		}
	}
	order := make([]int64, 0, len(versions))
	for s := range versions {
		order = append(order, s)
	}
	sort.Slice(order, func(i, j int) bool { return order[i] < order[j] })
	w := write{size: sizes[rng.IntN(len(sizes))], sectors: map[int64][]byte{}}
	for _, s := range order {
		if k := rng.IntN(len(versions[s]) + 1); k > 0 {
			w.sectors[s] = versions[s][k-1]
		}
	}
	return w.apply(data)
}

func (w write) apply(data []byte) []byte {
	data = resize(data, w.size)
	for s, content := range w.sectors {
		if at := s * Sector; at < w.size {
			copy(data[at:], content)
		}
	}
	return data
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	if size <= int64(cap(b)) {
		n := int64(len(b))
		b = b[:size]
		clear(b[n:])
		return b
	}
	// Some room to spare, for small appends not to copy everything.
	grown := make([]byte, size, size+size/4)
	copy(grown, b)
	return grown
}

// change edits the cache and notes what the medium has yet to learn.
func (n *inode) change(off int64, p []byte, size int64) {
	from, to := off, off+int64(len(p))
	if size < int64(len(n.cache)) { // a cut: the sectors behind it turn to zeros
		from, to = size, int64(len(n.cache))
	}
	n.cache = resize(n.cache, size)
	copy(n.cache[min(off, size):], p)
	w := write{size: size, sectors: map[int64][]byte{}}
	for s := from / Sector; s*Sector < to; s++ {
		content := make([]byte, Sector)
		if at := s * Sector; at < size {
			copy(content, n.cache[at:])
		}
		w.sectors[s] = content
	}
	n.pending = append(n.pending, w)
}

func (n *inode) sync() {
	for _, w := range n.pending {
		n.durable = w.apply(n.durable)
	}
	n.durable = resize(n.durable, int64(len(n.cache)))
	n.pending = nil
}

// lose is a failed sync: the pages are clean, the data is nowhere. When torn,
// some of it did arrive.
func (n *inode) lose(rng *rand.Rand, torn bool) {
	if torn {
		n.durable = n.afterCrash(rng)
	}
	n.pending = nil
}
