package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"zonegate/internal/disk"
)

// A segment is a header and groups of records, then zeros or the end of the
// file. All numbers are big-endian on every machine.
//
//	header  0  6  "zgjrnl"
//	        6  2  format version
//	        8  8  sequence of the first record, as in the file name
//	       16 16  hash of the record before it
//	       32  4  flags
//	       36  4  CRC-32C of bytes 0 to 35
//
//	record  0  4  length of the payload; the top bit marks the end of a group
//	        4  4  CRC-32C of bytes 0 to 3 and 8 to the end
//	        8  8  sequence
//	       16  4  place in its group, from 0
//	       20     payload
//	           16  in the last record of a group: its hash
//
// One Append is one group and one write, so at most the last group can be
// torn. A record knows which group it is in: a bad record is the work of a
// power cut when nothing but the rest of its own group follows, and damage
// when a later group does.
//
// The header of a segment ends the one before it: records there with the
// first sequence or above were refused, and are dead.
const (
	headerSize = 40
	recordSize = 20
	endOfGroup = 1 << 31

	formatVersion = 1

	// flagUnchained says that the hash before the first record is unknown,
	// because records were lost there.
	flagUnchained = 1

	minSegmentSize = 4 << 10
	maxSegmentSize = 8 << 20

	// maxSegmentRead bounds what is read of one file. A group that is
	// larger than a segment has one to itself, so none is longer.
	maxSegmentRead = maxSegmentSize + MaxGroup
)

var magic = [6]byte{'z', 'g', 'j', 'r', 'n', 'l'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	first uint64
	prev  Hash
	flags uint32
}

func (h header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic[:])
	binary.BigEndian.PutUint16(b[6:], formatVersion)
	binary.BigEndian.PutUint64(b[8:], h.first)
	copy(b[16:], h.prev[:])
	binary.BigEndian.PutUint32(b[32:], h.flags)
	binary.BigEndian.PutUint32(b[36:], crc32.Checksum(b[:36], castagnoli))
	return b
}

var errHeader = errors.New("the segment header is altered")

// decodeHeader reads the header of the segment that is named after first. It
// is never torn: a segment gets its name when its header has been synced.
func decodeHeader(data []byte, first uint64) (header, error) {
	if len(data) < headerSize || [6]byte(data[:6]) != magic ||
		crc32.Checksum(data[:36], castagnoli) != binary.BigEndian.Uint32(data[36:]) {
		return header{}, errHeader
	}
	if v := binary.BigEndian.Uint16(data[6:]); v != formatVersion {
		return header{}, fmt.Errorf("segment has format %d, this program reads %d: install the newer one", v, formatVersion)
	}
	h := header{
		first: binary.BigEndian.Uint64(data[8:]),
		prev:  Hash(data[16:32]),
		flags: binary.BigEndian.Uint32(data[32:]),
	}
	if h.first != first {
		return header{}, fmt.Errorf("segment is named after record %d and begins with record %d", first, h.first)
	}
	return h, nil
}

type record struct {
	off, size int // in the segment, header and hash included
	seq       uint64
	index     uint32
	end       bool
	payload   []byte
	hash      Hash // as stored, when end
	link      Hash // as computed, or zero where the chain is unknown
}

// group is the sequence of the first record in the same group.
func (r record) group() uint64 { return r.seq - uint64(r.index) }

// appendRecord encodes one record onto b. h is the hash up to this record.
func appendRecord(b []byte, seq uint64, index uint32, payload []byte, end bool, h Hash) []byte {
	at := len(b)
	length := uint32(len(payload))
	if end {
		length |= endOfGroup
	}
	b = binary.BigEndian.AppendUint32(b, length)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = binary.BigEndian.AppendUint32(b, index)
	b = append(b, payload...)
	if end {
		b = append(b, h[:]...)
	}
	binary.BigEndian.PutUint32(b[at+4:], recordSum(b[at:]))
	return b
}

func recordSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[8:])
}

// frame reads the fixed part of a record at off and says whether it can be
// one, the checksum apart.
func frame(data []byte, off int) (r record, ok bool) {
	if off < 0 || len(data)-off < recordSize {
		return r, false
	}
	b := data[off:]
	length := binary.BigEndian.Uint32(b)
	r.end = length&endOfGroup != 0
	length &^= endOfGroup
	if length > MaxPayload {
		return r, false
	}
	r.off, r.size = off, recordSize+int(length)
	if r.end {
		r.size += len(Hash{})
	}
	r.seq = binary.BigEndian.Uint64(b[8:])
	r.index = binary.BigEndian.Uint32(b[16:])
	if r.size > len(b) || r.seq <= uint64(r.index) {
		return r, false
	}
	r.payload = b[recordSize : recordSize+int(length) : recordSize+int(length)]
	if r.end {
		r.hash = Hash(b[recordSize+int(length) : r.size])
	}
	return r, true
}

// decodeRecord reads the record at off and checks it.
func decodeRecord(data []byte, off int) (record, bool) {
	r, ok := frame(data, off)
	if !ok || recordSum(data[off:off+r.size]) != binary.BigEndian.Uint32(data[off+4:]) {
		return record{}, false
	}
	return r, true
}

// search yields the intact records from off on that have sequences from low
// on, wherever they begin, until yield answers false. The work is bounded:
// a file made to look like many records gets no more than a few dozen passes.
func search(data []byte, off int, low uint64, yield func(record) bool) {
	high := low + uint64(len(data)/recordSize)
	budget := 64 * len(data)
	used := lastUsed(data)
	for off < used && budget > 0 {
		r, ok := frame(data, off)
		if !ok || r.seq < low || r.seq > high {
			off++
			continue
		}
		budget -= r.size
		if r, ok = decodeRecord(data, off); !ok {
			off++
			continue
		}
		if !yield(r) {
			return
		}
		off += r.size
	}
}

func allZero(b []byte) bool { return lastUsed(b) == 0 }

// lastUsed is the length of b without the zeros at its end.
func lastUsed(b []byte) int {
	n := len(b)
	for n >= 64 && [64]byte(b[n-64:n]) == ([64]byte{}) {
		n -= 64
	}
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

const (
	segmentPrefix = "journal-"
	segmentSuffix = ".seg"
)

func segmentName(first uint64) string {
	return fmt.Sprintf("%s%020d%s", segmentPrefix, first, segmentSuffix)
}

// numbered reads the number out of a name that this package gives.
func numbered(name, prefix, suffix string) (uint64, bool) {
	s, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	if s, ok = strings.CutSuffix(s, suffix); !ok || len(s) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// segment is a file of the journal.
type segment struct {
	name  string // without the directory
	first uint64
	size  int64
}

// listSegments finds the segments of dir in order.
func listSegments(fs disk.FS, dir string) ([]segment, error) {
	infos, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("listing journal: %w", err)
	}
	var list []segment
	for _, i := range infos {
		if first, ok := numbered(i.Name, segmentPrefix, segmentSuffix); ok && first > 0 {
			list = append(list, segment{i.Name, first, i.Size})
		}
	}
	return list, nil
}

// readFile reads a file up to limit bytes. Where the medium refuses, it reads
// what it can in pieces and leaves zeros for the rest; unreadable is then the
// first refusal.
func readFile(fs disk.FS, name string, limit int64) (data []byte, unreadable, err error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, nil, err
	}
	data = make([]byte, min(size, limit))
	n, err := f.ReadAt(data, 0)
	if err == nil || err == io.EOF {
		return data[:n], nil, nil
	}
	const piece = 4096 // what flash file systems check at once
	for off := 0; off < len(data); off += piece {
		p := data[off:min(off+piece, len(data))]
		if _, err := f.ReadAt(p, int64(off)); err != nil && err != io.EOF {
			clear(p)
			if unreadable == nil {
				unreadable = err
			}
		}
	}
	return data, unreadable, nil
}
