#!/bin/sh
# Writes FILE, the overlay with which programs for routers are built: what of Go's own library the
# stand-ins of third_party/stubs replace, and the arithmetic of elliptic curves in less code, which
# is made beside FILE in _curves/ (third_party/stubs/README.md says why).
# Usage: scripts/overlay.sh FILE
set -eu

library=$(go env GOROOT)/src
stubs=third_party/stubs

# one FILE STAND-IN lists what replaces a file of the library.
one() {
	# A file that moved would silently be linked again.
	[ -f "$library/$1" ] || { echo >&2 "overlay: this Go release has no $1; adapt $0"; exit 1; }
	printf '%s"%s": "%s"' "$comma" "$library/$1" "$2"
	comma=',
'
}

# package FILE STAND-IN does so too, and takes the other files of its package away: they get no name.
package() {
	one "$@"
	for file in "$library/${1%/*}"/*.go; do
		case $file in
		*_test.go | */"${1##*/}") ;;
		*) printf ',\n"%s": ""' "$file" ;;
		esac
	done
}

mkdir -p "$(dirname "$1")"

# A square is a product, and so is the way into Montgomery's form (with the square of its radix)
# and out of it (with one). Each of these is written out in the library, 512 bits at a time.
fiat=crypto/internal/fips140/nistec/fiat
curve() { # PRIME SQUARE-OF-RADIX [keep the square]
	awk -v p="$1" -v radix="$2" -v keep="${3-}" '
	function short(name, body) {
		if ($0 !~ "^func " p name "\\(") return
		print; print "\t" body; skip = 1; done++
	}
	!skip && !keep { short("Square", p "Mul(out1, arg1, arg1)") }
	!skip { short("FromMontgomery", p "Mul((*" p "MontgomeryDomainFieldElement)(out1), arg1, &" p "MontgomeryDomainFieldElement{1})") }
	!skip { short("ToMontgomery", p "Mul(out1, (*" p "MontgomeryDomainFieldElement)(arg1), &" p "MontgomeryDomainFieldElement{" radix "})") }
	/^}/ { skip = 0 }
	!skip { print }
	END { if (done != (keep ? 2 : 3)) exit 1 }' "$library/$fiat/$1_fiat64.go" >"$curves/$1.go" || {
		echo >&2 "overlay: this Go release computes $1 otherwise; adapt $0"
		exit 1
	}
}
curves=$(dirname "$1")/_curves # no package, to the Go command
mkdir -p "$curves"
curve p224 "0xffffffff00000001, 0xffffffff00000000, 0xfffffffe00000000, 0xffffffff"
curve p256 "0x3, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x4fffffffd" square
curve p384 "0xfffffffe00000001, 0x200000000, 0xfffffffe00000000, 0x200000000, 1"
curve p521 "0, 0x400000000000"

# overlay FILE COMMAND... writes what the commands list.
overlay() {
	file=$1
	shift
	comma=
	{
		printf '{"Replace": {\n'
		for list in "$@"; do "$list"; done
		printf '\n}}\n'
	} >"$file"
}

arithmetic() {
	for prime in p224 p256 p384 p521; do
		one "$fiat/${prime}_fiat64.go" "$curves/$prime.go"
	done
}

packages() {
	package vendor/golang.org/x/net/http/httpproxy/proxy.go $stubs/httpproxy/proxy.go
	package html/template/template.go $stubs/html-template/template.go
	package regexp/regexp.go $stubs/regexp/regexp.go
	package crypto/hpke/hpke.go $stubs/hpke/hpke.go
}

overlay "$1" arithmetic packages
# Package testing needs what the stand-ins leave out: this one is for tests of the curves.
overlay "$curves/overlay.json" arithmetic
