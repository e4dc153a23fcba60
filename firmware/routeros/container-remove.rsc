# Takes away what container.rsc made. The directory zonegate-data on the disk stays: it holds what
# customers have paid for. Twice changes nothing. Not run on a router yet.
#   /import container-remove.rsc

# Manual, "Container": a container is removed only when it has stopped.
:foreach c in=[/container/find where comment="zonegate container"] do={
  :do { /container/stop $c } on-error={ :put "zonegate: it was not running" }
  :delay 15s
  /container/remove $c
}
/container/envs/remove [/container/envs/find where list="zonegate"]
/container/mounts/remove [/container/mounts/find where list="zonegate"]
/ip/firewall/nat/remove [/ip/firewall/nat/find where comment="zonegate container"]
/ip/address/remove [/ip/address/find where comment="zonegate container"]
/interface/veth/remove [/interface/veth/find where comment="zonegate container"]
