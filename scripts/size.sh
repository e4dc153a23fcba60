#!/bin/sh
# Builds the router's program for the tightest target (32-bit MIPS, little endian, soft float),
# prints its stripped size and the packages that weigh most, and fails above the ceiling.
# Usage: scripts/size.sh [PACKAGE], with the environment that the Makefile sets.
set -eu

ceiling=11000000
package=${1:-./cmd/zonegate}
export GOOS=linux GOARCH=mipsle GOMIPS=softfloat
export GOFLAGS="${GOFLAGS:-} ${ROUTER_GCFLAGS:?is set by the Makefile: run make size}"
dir=build/size
mkdir -p "$dir"

go build -ldflags "${LDFLAGS:--s -w} $MIPS_LDFLAGS" -o "$dir/stripped" "$package"
size=$(stat -c %s "$dir/stripped")

# The same program with its symbols, to say where the bytes are. A symbol bigger than the
# whole file is zeroed memory, not file content.
go build -o "$dir/symbols" "$package"
echo "size: what weighs most in $package ($GOARCH, bytes)"
go tool nm -size "$dir/symbols" | awk -v file="$size" '
$3 ~ /^[TtRrDd]$/ && $2 < file {
	name = $4
	sub(/\[.*/, "", name)                                   # type arguments of generics
	slash = 0
	for (i = 1; i <= length(name); i++) if (substr(name, i, 1) == "/") slash = i
	dot = index(substr(name, slash + 1), ".")
	package = substr(name, 1, slash + dot - 1)
	if (name ~ /^(go|type):/ || package == "") package = "(function tables)"
	sum[package] += $2
	named += $2
}
END {
	for (p in sum) printf "%9d  %s\n", sum[p], p
	printf "%9d  %s\n", file - named, "(line tables, types, strings)"
}' | sort -rn | head -25

# One reachable reflect.MethodByName makes the linker keep every exported method: about 3 MB.
# validator, html/template and text/template each have one.
culprits=$(go build -ldflags=-dumpdep -o "$dir/dumpdep" "$package" 2>&1 |
	grep -ao '[^ ]* <ReflectMethod>' | sort -u | grep -avE '^(type:)?\*?reflect\.|^type:' || true)
if [ -n "$culprits" ]; then
	echo >&2 "size: reflect.MethodByName (or Type.Method) can be reached, so no unused method is dropped. Cut the path to:"
	echo >&2 "$culprits"
	exit 1
fi

# slices.Sort and its kin compile their whole algorithm again for every type: 12 KB and more each.
sorts=$(go tool nm "$dir/symbols" | grep -oE 'slices\.Sort[A-Za-z]*\[[^ ,]*zonegate[^ ,]*' | sort -u || true)
if [ -n "$sorts" ]; then
	echo >&2 "size: use sort.Slice instead of:" $sorts
	exit 1
fi

# What the stand-ins of third_party/stubs and the tag nomsgpack keep out must stay out.
heavy=$(go list -deps "$package" | grep -E '^github.com/(ugorji/|quic-go/quic-go/(internal|qlog)|bytedance/sonic$)|^google.golang.org/protobuf/internal' || true)
if [ -n "$heavy" ]; then
	echo >&2 "size: linked again although a stand-in or a build tag should keep it out:" $heavy
	exit 1
fi

# So must what net/http needs to send requests: its transport, and the tables of names beyond ASCII.
if go tool nm "$dir/symbols" | grep -E 'unicode/norm\.decomps$|net/http\.\(\*Transport\)\.dialConn$'; then
	echo >&2 "size: net/http sends requests (http.Client, http.Transport, Request.Write): use internal/http1. Or the stand-in httpproxy of third_party/stubs no longer fits"
	exit 1
fi

# And so must what the other stand-ins for Go's own library replace: regular expressions and
# encrypted names of servers.
if go tool nm "$dir/symbols" | grep -E ' (regexp/syntax|crypto/hpke\.\(\*context)'; then
	echo >&2 "size: linked again although scripts/overlay.sh has a stand-in for it"
	exit 1
fi

echo "size: $size bytes stripped, ceiling $ceiling"
if [ "$size" -gt "$ceiling" ]; then
	echo >&2 "size: above the ceiling; see the contributors above. A router with 16 MB of flash must still have room"
	exit 1
fi
