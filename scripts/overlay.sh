#!/bin/sh
# Writes FILE, the overlay with which programs for routers are built: what of Go's own library the
# stand-ins of third_party/stubs replace (third_party/stubs/README.md says why).
# Usage: scripts/overlay.sh FILE
set -eu

library=$(go env GOROOT)/src
proxies=$library/vendor/golang.org/x/net/http/httpproxy/proxy.go
# A file that moved would silently be linked again.
[ -f "$proxies" ] && [ -f "$library/html/template/template.go" ] ||
	{ echo >&2 "overlay: this Go release keeps httpproxy or html/template elsewhere; adapt $0"; exit 1; }

mkdir -p "$(dirname "$1")"
{
	printf '{"Replace": {\n'
	# An empty name takes a file away.
	for file in "$library"/html/template/*.go; do
		case $file in
		*_test.go | */template.go) ;;
		*) printf '"%s": "",\n' "$file" ;;
		esac
	done
	printf '"%s": "third_party/stubs/html-template/template.go",\n' "$library/html/template/template.go"
	printf '"%s": "third_party/stubs/httpproxy/proxy.go"\n}}\n' "$proxies"
} >"$1"
