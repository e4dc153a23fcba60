package main

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// limitMemory makes the collector suit a router: the heap gets a sixth of the
// memory, at least 12 MiB and at most 96, and below 128 MB of memory garbage
// is collected twice as often. What the environment sets wins.
func limitMemory() {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return
	}
	limit, gogc := memoryFor(uint64(info.Totalram) * uint64(info.Unit))
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" && gogc != 0 {
		debug.SetGCPercent(gogc)
	}
}

// memoryFor returns the soft limit in bytes and the GOGC value (0: as it is).
func memoryFor(total uint64) (limit int64, gogc int) {
	limit = int64(min(max(total/6, 12*mib), 96*mib))
	if total < 128*mib {
		gogc = 50
	}
	return limit, gogc
}
