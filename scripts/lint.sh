#!/bin/sh
# Usage: scripts/lint.sh STATICCHECK TEMPL (each a package@version for `go run`).
# Checks what a reviewer should not have to: format, vet, generated pages, staticcheck.
set -eu
staticcheck=$1 templ=$2

echo "lint: gofmt"
unformatted=$(find . -name '*.go' -not -path './build/*' -print0 | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
	echo >&2 "lint: run gofmt -w on:" $unformatted
	exit 1
fi

echo "lint: go.mod"
if ! go mod tidy -diff; then
	echo >&2 "lint: go.mod does not say what is imported: run go mod tidy and commit it"
	exit 1
fi

echo "lint: go vet"
go vet ./...

echo "lint: generated pages"
for folder in web hub/console; do
	pages() { find "$folder" -name '*_templ.go' -exec sha256sum {} + | sort; }
	before=$(pages)
	(cd "$folder" && go run "$templ" generate >/dev/null)
	if [ "$before" != "$(pages)" ]; then
		echo >&2 "lint: the pages in $folder/ were out of date and are now regenerated: commit them"
		exit 1
	fi
done

echo "lint: staticcheck"
go run "$staticcheck" ./...
