#!/bin/sh
# Installs the Debian packages that the lab needs, only those that are missing; with the argument
# radius also the server that ours is measured against, with hub a database for it, with test all
# that the tests need.
# Root, or CI=true, goes ahead; a person at a terminal is asked; anything else gets the command to run.
set -eu

# What the lab runs.
packages='
ca-certificates
curl
e2fsprogs
ethtool
iperf3
iproute2
nftables
procps
util-linux
'
case ${1:-} in
radius | test)
	packages="$packages
freeradius
freeradius-utils
"
	;;
esac
case ${1:-} in
hub | test)
	packages="$packages
postgresql
"
	;;
esac
if [ "${1:-}" = test ]; then
	# gcc and libc6-dev serve the race detector alone; zonegate itself is built without cgo.
	packages="$packages
chromium
conntrack
eapoltest
fonts-dejavu-core
gcc
git
libc6-dev
qemu-user-static
tcpdump
"
fi

if ! command -v go >/dev/null; then
	echo >&2 "deps: no Go found. Install Go 1.21 or later (it fetches the version that go.mod names) and put it in PATH."
	exit 1
fi

if ! command -v dpkg-query >/dev/null; then
	echo >&2 "deps: not a Debian system, nothing installed. These must be present:" $packages
	exit 0
fi

missing=
for p in $packages; do
	case $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true) in
	*' installed') ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
	if [ "${CI:-}" != true ]; then
		if ! [ -t 0 ]; then
			echo >&2 "deps: missing packages. Run: sudo $install"
			exit 1
		fi
		printf 'Missing:%s\nInstall them with sudo? [y/N] ' "$missing"
		read -r answer
		case $answer in
		[yY]*) ;;
		*) exit 1 ;;
		esac
	fi
fi

# Nothing of this shall run as a service: tests start FreeRADIUS and PostgreSQL by themselves, at
# ports of their own. The policy keeps Debian's scripts from starting it now, and is removed again when it is ours.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
	trap '$sudo rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod 755 "$policy"
fi

echo "installing:$missing"
$sudo apt-get update -q
# iperf3 would otherwise ask whether to start a daemon.
$sudo env DEBIAN_FRONTEND=noninteractive $install
for service in freeradius postgresql; do
	case "$missing " in
	*" $service "*)
		# Not at the next boot either.
		if command -v systemctl >/dev/null; then
			$sudo systemctl disable "$service" || true
		else
			$sudo update-rc.d "$service" disable || true
		fi
		;;
	esac
done
