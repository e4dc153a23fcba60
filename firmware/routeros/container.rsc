# zonegate in a container on the router itself (RouterOS 7.21 or later; arm, arm64 or x86).
#
# Before, once:
#   - the package "container" of the router's version is installed (manual, "Container")
#   - /system/device-mode/update container=yes, then within the time that it prints press the
#     router's button or take its power off and on: nothing else allows it (manual, "Device-mode")
#   - a disk, formatted ext4, with twice the size of the image free: the image is unpacked beside
#     itself (manual, "Container": keep containers off the built-in flash)
# Then upload into the disk: zonegate-arm.tar, -arm64.tar or -amd64.tar (make routeros-image),
# and into its directory zonegate-data the configuration zonegate.toml (lan = "" there, because
# customers are behind the hotspot). Edit the three lines below, upload this file, and
#   /import container.rsc
# Twice changes nothing. container-remove.rsc takes it away again. Not run on a router yet.
#
# Each line names the page of MikroTik's manual about its menu. The words were checked against
# terraform-routeros/terraform-provider-routeros (resource_container*.go: dns, hostname, logging,
# root-dir, start-on-boot, comment, src, dst, key, value) and tikoci/routeros-skills
# (routeros-container: list, envlists and mountlists of 7.20 and 7.21).
#
# Before 7.21 other words are known (the latter): in mounts name= for list=,
# in container mounts= for mountlists=; before 7.20 also in envs name= for list= and in container
# envlist= for envlists=.

:local disk "usb1"
:local router "172.31.77.1"
:local gate "172.31.77.2"

# Manual, "Resource": architecture-name. An arm image is ARMv5, which every arm board runs.
:local arch [/system/resource/get architecture-name]
:if ($arch ~ "^x86") do={ :set arch "amd64" }
:local image ($disk . "/zonegate-" . $arch . ".tar")

# Manual, "VETH": one end of a pair; the container has the other, with this address.
:if ([:len [/interface/veth/find where name="veth-zonegate"]] = 0) do={ /interface/veth/add name=veth-zonegate address=($gate . "/30") gateway=$router comment="zonegate container" }

# Manual, "IP addressing": the router's address on the pair, where the container's gateway is.
:if ([:len [/ip/address/find where comment="zonegate container"]] = 0) do={ /ip/address/add address=($router . "/30") interface=veth-zonegate comment="zonegate container" }

# Manual, "Container": the container reaches the internet (hub, NTP, names) by the router's address.
:if ([:len [/ip/firewall/nat/find where comment="zonegate container"]] = 0) do={ /ip/firewall/nat/add chain=srcnat action=masquerade src-address=$gate comment="zonegate container" }

# Manual, "Container", mounts: what is kept. The rest of the container is lost with root-dir at every new
# image. /data holds zonegate.toml and the journal.
:if ([:len [/container/mounts/find where list="zonegate"]] = 0) do={ /container/mounts/add list=zonegate src=($disk . "/zonegate-data") dst=/data }

# Manual, "Container", envs: a soft limit of the memory, because the container sees all of the router's
# (Go's package runtime, "Environment Variables").
:if ([:len [/container/envs/find where list="zonegate"]] = 0) do={ /container/envs/add list=zonegate key=GOMEMLIMIT value=64MiB }

# Manual, "Container": without dns= names are not resolved; logging=yes sends what it says to /log.
# A new image: upload it, run container-remove.rsc (the data stays), then this again.
:if ([:len [/container/find where comment="zonegate container"]] = 0) do={
  :if ([:len [/file/find where name=$image]] = 0) do={ :error ("zonegate: there is no file " . $image . ": upload it first") }
  /container/add file=$image interface=veth-zonegate root-dir=($disk . "/zonegate-root") mountlists=zonegate envlists=zonegate dns=9.9.9.9 hostname=zonegate logging=yes start-on-boot=yes comment="zonegate container"
}

:put "zonegate: when /container/print shows it stopped (that is, unpacked): /container/start [find where comment=\"zonegate container\"]"
:put "zonegate: then the hotspot: zonegate routeros script"
