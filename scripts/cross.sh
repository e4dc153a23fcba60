#!/bin/sh
# Builds the router's program for every target, compiles the tests of every package,
# and runs the tests of the plain-computation packages as big- and little-endian 32-bit MIPS and as ARM,
# and with the stand-ins for Go's own library TLS handshakes and the start of the router's program.
# qemu-user cannot do netlink, so nothing that talks to the kernel's network is run here.
# Called by the Makefile, which sets GOFLAGS, CGO_ENABLED and LDFLAGS.
set -eu

# GOARCH, then the variable that picks the variant: the soft-float MIPS of cheap routers,
# ARMv5 (RouterOS containers on hEX refresh, kirkwood), ARMv7 (ipq40xx), 64-bit ARM and x86.
# The type checker sees only the word size, so the tests of all packages are compiled for one
# target of each kind ("tests"); for this machine's own they already were.
targets='
mips    GOMIPS=softfloat  tests
mipsle  GOMIPS=softfloat
arm     GOARM=5           tests
arm     GOARM=7
arm64   GOARM64=v8.0      tests
amd64   GOAMD64=v1
'

# These run on a server or on a developer's machine, never on a router.
router=$(go list ./... | grep -vE '^zonegate/(hub|internal/lab|internal/torture|cmd/zonehub|cmd/zonelab|firmware|scripts)(/|$)')

export GOOS=linux
echo "$targets" | while read -r arch variant tests; do
	[ -n "$arch" ] || continue
	export GOARCH="$arch" "${variant?}"
	out=build/linux-$arch-${variant#*=}
	case $arch in mips*) align=$MIPS_LDFLAGS ;; *) align= ;; esac
	GOFLAGS="$GOFLAGS $ROUTER_GCFLAGS" go build -ldflags "$LDFLAGS $align" -o "$out/zonegate" ./cmd/zonegate
	if [ -n "$tests" ]; then
		# -export compiles each package and its tests without linking them.
		go list -export -test -f '{{""}}' $router
		tests=", all tests compile"
	fi
	printf 'cross: %-22s %9d bytes%s\n' "${out#build/}" "$(stat -c %s "$out/zonegate")" "$tests"
done

# The overlay changes how elliptic curves are computed: Go's own tests of them say whether it is
# right. purego takes the code of routers on any machine.
echo "cross: tests of Go's elliptic curves with the overlay"
go test -vet=off -tags purego -overlay build/_curves/overlay.json crypto/ecdh crypto/ecdsa crypto/elliptic

# An emulated program must not reach this machine's network. Without root, a user
# namespace of its own gives it the right to leave it.
alone='unshare --net'
[ "$(id -u)" = 0 ] || alone='unshare --map-root-user --net'

# Tests named TestRule read the source tree and say nothing about a processor.
run() { # GOARCH variant emulator
	export GOARCH="$1" "${2?}"
	echo "cross: tests as $1 ($2)"
	emulate="$alone $(command -v "$3-static" || command -v "$3")"
	build/runtests -name "$1" -- -exec "$emulate" -vet=off -count=1 -skip '^TestRule' \
		. ./internal/disk/... ./internal/journal/... ./internal/store/... ./shaper ./radius/wire ./radius/nas
	build/runtests -name "$1" -- -exec "$emulate" -vet=off -count=1 -run '^TestEncode' ./shaper/kernel/nft
	# Package testing needs what the stand-ins leave out, so these two are programs.
	GOFLAGS="$GOFLAGS $ROUTER_GCFLAGS" go build -o build/handshake ./scripts/handshake
	$emulate build/handshake
	$emulate "build/linux-$1-${2#*=}/zonegate" version
}
run mips GOMIPS=softfloat qemu-mips
run mipsle GOMIPS=softfloat qemu-mipsel
run arm GOARM=5 qemu-arm
