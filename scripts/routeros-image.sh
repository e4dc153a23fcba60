#!/bin/sh
# Builds the container images for RouterOS into DIR (build/routeros), without a container engine.
# Usage: scripts/routeros-image.sh [DIR], with the environment that the Makefile sets.
# The same commit, Go release and CA certificates give the same octets.
set -eu

dir=${1:-build/routeros}
ca=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
[ -r "$ca" ] || { echo >&2 "routeros-image: no CA certificates in $ca: install ca-certificates or set CA_BUNDLE"; exit 1; }

mkdir -p "$dir"
go build -o "$dir/image" ./firmware/routeros/image

# The processors that RouterOS has containers for. ARMv5, because hEX refresh runs nothing above.
export GOOS=linux
for target in arm:GOARM=5 arm64:GOARM64=v8.0 amd64:GOAMD64=v1; do
	arch=${target%%:*} variant=${target#*:}
	export GOARCH="$arch" "${variant?}"
	GOFLAGS="$GOFLAGS $ROUTER_GCFLAGS" go build -ldflags "$LDFLAGS" -o "$dir/zonegate" ./cmd/zonegate
	"$dir/image" -arch "$arch" -program "$dir/zonegate" -ca "$ca" -time "$date" -version "$VERSION" -o "$dir/zonegate-$arch.tar"
	rm "$dir/zonegate"
	printf 'routeros-image: %-34s %9d bytes\n' "$dir/zonegate-$arch.tar" "$(stat -c %s "$dir/zonegate-$arch.tar")"
done
rm "$dir/image"
