# zonegate: sets a MikroTik with RouterOS 6.49 up for the gateway at 192.168.88.2.
# Read it, then paste it into a terminal of the router. Twice changes nothing.
# Everything made here has a comment that begins with "zonegate setup" or, where there are no comments,
# a name that begins with "zonegate-"; zonegate routeros script --remove prints what takes it away.
# Not run on a router yet: take a backup first (/system backup save name=before-zonegate).

# The clock, before a certificate is dated (manual, "NTP"). An NTP client that is on is left alone.
# With the extra package ntp there is no server-dns-names: set primary-ntp by hand.
:if (![/system ntp client get enabled]) do={ /system ntp client set enabled=yes server-dns-names=0.pool.ntp.org,1.pool.ntp.org }

# A user for the API alone, with what the gateway needs (manual, "User": policies), from its address only.
:if ([:len [/user group find where name="zonegate"]] = 0) do={ /user group add name=zonegate policy=api,read,write comment="zonegate setup group" }
:if ([:len [/user find where name="zonegate"]] = 0) do={ /user add name=zonegate group=zonegate address=192.168.88.2/32 password="s3cret\$with\"signs\\" comment="zonegate setup user" }

# TLS for the API (manual, "Certificates", "Services"). Without a certificate api-ssl is anonymous, which no
# modern client speaks. An api-ssl that has a certificate is left alone: let it accept 192.168.88.2 yourself.
:if ([:len [/certificate find where name="zonegate-api"]] = 0) do={ /certificate add name=zonegate-api common-name=zonegate-api key-size=2048 days-valid=3650 key-usage=digital-signature,key-encipherment,tls-server; /certificate sign zonegate-api }
:if ([:len [/certificate find where name=[/ip service get [:pick [/ip service find where name="api-ssl"] 0] certificate]]] = 0) do={ /ip service set [:pick [/ip service find where name="api-ssl"] 0] certificate=zonegate-api address=192.168.88.2/32 disabled=no }

# Customers do not reach www, www-ssl, api and api-ssl of the router; the hotspot's own pages are on other ports,
# to which it redirects (manual, "HotSpot": firewall). WinBox and SSH are left as they are. The last rule comes first.
:if ([:len [/ip firewall filter find where comment="zonegate setup management"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=input action=drop protocol=tcp dst-port=80,443,8728,8729 in-interface="bridge1" comment="zonegate setup management" } else={ /ip firewall filter add chain=input action=drop protocol=tcp dst-port=80,443,8728,8729 in-interface="bridge1" comment="zonegate setup management" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }
:if ([:len [/ip firewall filter find where comment="zonegate setup api"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=input action=accept protocol=tcp dst-port=8729 src-address=192.168.88.2 comment="zonegate setup api" } else={ /ip firewall filter add chain=input action=accept protocol=tcp dst-port=8729 src-address=192.168.88.2 comment="zonegate setup api" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }

# The hotspot's profile: a copy of the present one, named zonegate-NAME, so that --remove finds the way back
# (manual, "HotSpot": server profiles).
:if ([:len [/ip hotspot find where name="hotspot1"]] = 0) do={ :put "zonegate: there is no hotspot server of that name; see /ip hotspot print" }
:foreach s in=[/ip hotspot find where name="hotspot1"] do={ :local p [/ip hotspot get $s profile]; :if ([:pick $p 0 9] != "zonegate-") do={ :if ([:len [/ip hotspot profile find where name=("zonegate-" . $p)]] = 0) do={ /ip hotspot profile add copy-from=[/ip hotspot profile find where name=$p] name=("zonegate-" . $p) use-radius=no login-by=http-chap }; /ip hotspot set $s profile=("zonegate-" . $p) } }

# The gateway is no customer, and strangers reach its portal (manual, "HotSpot": IP bindings, walled garden).
:if ([:len [/ip hotspot ip-binding find where comment="zonegate setup gateway"]] = 0) do={ /ip hotspot ip-binding add address=192.168.88.2 type=bypassed comment="zonegate setup gateway" }
:if ([:len [/ip hotspot walled-garden ip find where comment="zonegate setup portal"]] = 0) do={ /ip hotspot walled-garden ip add action=accept protocol=tcp dst-address=192.168.88.2 dst-port=2050 comment="zonegate setup portal" }

# The portal knows customers by their addresses, which the masquerade of a hotspot's set-up would hide from it
# (manual, "HotSpot": masquerade network). The gateway's answers must come back through this router.
:if ([:len [/ip firewall nat find where comment="zonegate setup portal"]] = 0) do={ :if ([:len [/ip firewall nat find where !dynamic]] = 0) do={ /ip firewall nat add chain=srcnat action=accept protocol=tcp dst-address=192.168.88.2 dst-port=2050 comment="zonegate setup portal" } else={ /ip firewall nat add chain=srcnat action=accept protocol=tcp dst-address=192.168.88.2 dst-port=2050 comment="zonegate setup portal" place-before=[:pick [/ip firewall nat find where !dynamic] 0] } }

# FastTrack takes connections past every rate (manual, "FastTrack"), so those of customers are accepted before it.
# Strangers are stopped before this by the hotspot's own rules, new connections are judged by yours as ever.
:if ([:len [/ip firewall filter find where comment="zonegate setup no FastTrack up"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=forward action=accept connection-state=established,related in-interface="bridge1" comment="zonegate setup no FastTrack up" } else={ /ip firewall filter add chain=forward action=accept connection-state=established,related in-interface="bridge1" comment="zonegate setup no FastTrack up" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }
:if ([:len [/ip firewall filter find where comment="zonegate setup no FastTrack down"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=forward action=accept connection-state=established,related out-interface="bridge1" comment="zonegate setup no FastTrack down" } else={ /ip firewall filter add chain=forward action=accept connection-state=established,related out-interface="bridge1" comment="zonegate setup no FastTrack down" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }

# The hotspot knows only IPv4 (manual, "HotSpot"): IPv6 would go around it.
# A router without the package ipv6 has no such menu and prints an error: then there is nothing to stop.
:if ([:len [/ipv6 firewall filter find where comment="zonegate setup no IPv6"]] = 0) do={ :if ([:len [/ipv6 firewall filter find where !dynamic]] = 0) do={ /ipv6 firewall filter add chain=forward action=drop in-interface="bridge1" comment="zonegate setup no IPv6" } else={ /ipv6 firewall filter add chain=forward action=drop in-interface="bridge1" comment="zonegate setup no IPv6" place-before=[:pick [/ipv6 firewall filter find where !dynamic] 0] } }

# What is left to do by hand:
# - zonegate nas login-page --sessions api http://192.168.88.2:2050 > login.html, in place of that file in the
#   hotspot's directory: /ip hotspot profile print shows it as html-directory
# - the gateway's zonegate.toml. The fingerprint is that of the certificate which api-ssl uses:
#   :put [/certificate get [/ip service get [:pick [/ip service find where name="api-ssl"] 0] certificate] fingerprint]
#   The password goes alone into the file that is named, then: chmod 600 on it.

# [network]
# lan = ""
# # link_down = "20M"      # what the uplink really gives, if plans have a committed rate
# # link_up = "5M"
#
# [mikrotik]
# address = "192.168.88.1" # this router, as the gateway reaches it
# user = "zonegate"
# password_file = "/etc/zonegate/mikrotik.password"
# fingerprint = ""         # 64 hex digits
# server = "hotspot1"
# sessions = "api"
