#!/bin/sh
# Usage: scripts/fuzz.sh TIME. Runs every fuzz test of the module for TIME each.
# A failing input is written to the package's testdata/fuzz; commit it with the fix.
set -eu

for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "fuzz: $package $target for $1"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$package"
	done
done
