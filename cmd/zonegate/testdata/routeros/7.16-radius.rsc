# zonegate: sets a MikroTik with RouterOS 7.16 up for the gateway at 192.168.88.2.
# Read it, then paste it into a terminal of the router. Twice changes nothing.
# Everything made here has a comment that begins with "zonegate setup" or, where there are no comments,
# a name that begins with "zonegate-"; zonegate routeros script --remove prints what takes it away.
# Not run on a router yet: take a backup first (/system backup save name=before-zonegate).

# The clock, before a certificate is dated (manual, "NTP"). An NTP client that is on is left alone.
:if (![/system ntp client get enabled]) do={ /system ntp client set enabled=yes servers=pool.ntp.org }

# RADIUS (manual, "RADIUS"). 1 s is enough for slow flash; the default of 300 ms is not.
:if ([:len [/radius find where comment="zonegate setup radius"]] = 0) do={ /radius add service=hotspot address=192.168.88.2 secret="s3cret\$with\"signs\\" authentication-port=1812 accounting-port=1813 timeout=1s require-message-auth=yes-for-request-resp comment="zonegate setup radius" }
# CoA and Disconnect: without them a reached cap or a revoked voucher ends only with the session.
:if ((![/radius incoming get accept]) || ([/radius incoming get port] != 3799)) do={ /radius incoming set accept=yes port=3799 }
# zonegate counts devices; the router's own limit of one would refuse a second (manual, "HotSpot", user profiles).
:if ([/ip hotspot user profile get [/ip hotspot user profile find where name="default"] shared-users] = "1") do={ /ip hotspot user profile set [/ip hotspot user profile find where name="default"] shared-users=unlimited }

# Customers do not reach www, www-ssl, api and api-ssl of the router; the hotspot's own pages are on other ports,
# to which it redirects (manual, "HotSpot": firewall). WinBox and SSH are left as they are. The last rule comes first.
:if ([:len [/ip firewall filter find where comment="zonegate setup management"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=input action=drop protocol=tcp dst-port=80,443,8728,8729 in-interface="bridge1" comment="zonegate setup management" } else={ /ip firewall filter add chain=input action=drop protocol=tcp dst-port=80,443,8728,8729 in-interface="bridge1" comment="zonegate setup management" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }
:if ([:len [/ip firewall filter find where comment="zonegate setup coa"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=input action=accept protocol=udp dst-port=3799 src-address=192.168.88.2 comment="zonegate setup coa" } else={ /ip firewall filter add chain=input action=accept protocol=udp dst-port=3799 src-address=192.168.88.2 comment="zonegate setup coa" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }

# The hotspot's profile: a copy of the present one, named zonegate-NAME, so that --remove finds the way back
# (manual, "HotSpot": server profiles).
:if ([:len [/ip hotspot find where name="hotspot1"]] = 0) do={ :put "zonegate: there is no hotspot server of that name; see /ip hotspot print" }
:foreach s in=[/ip hotspot find where name="hotspot1"] do={ :local p [/ip hotspot get $s profile]; :if ([:pick $p 0 9] != "zonegate-") do={ :if ([:len [/ip hotspot profile find where name=("zonegate-" . $p)]] = 0) do={ /ip hotspot profile add copy-from=[/ip hotspot profile find where name=$p] name=("zonegate-" . $p) use-radius=yes radius-accounting=yes radius-interim-update=received login-by=http-chap,mac-cookie }; /ip hotspot set $s profile=("zonegate-" . $p) } }

# The gateway is no customer, and strangers reach its portal (manual, "HotSpot": IP bindings, walled garden).
:if ([:len [/ip hotspot ip-binding find where comment="zonegate setup gateway"]] = 0) do={ /ip hotspot ip-binding add address=192.168.88.2 type=bypassed comment="zonegate setup gateway" }
:if ([:len [/ip hotspot walled-garden ip find where comment="zonegate setup portal"]] = 0) do={ /ip hotspot walled-garden ip add action=accept protocol=tcp dst-address=192.168.88.2 dst-port=2050 comment="zonegate setup portal" }

# FastTrack takes connections past every rate (manual, "FastTrack"), so those of customers are accepted before it.
# Strangers are stopped before this by the hotspot's own rules, new connections are judged by yours as ever.
:if ([:len [/ip firewall filter find where comment="zonegate setup no FastTrack up"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=forward action=accept connection-state=established,related in-interface="bridge1" comment="zonegate setup no FastTrack up" } else={ /ip firewall filter add chain=forward action=accept connection-state=established,related in-interface="bridge1" comment="zonegate setup no FastTrack up" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }
:if ([:len [/ip firewall filter find where comment="zonegate setup no FastTrack down"]] = 0) do={ :if ([:len [/ip firewall filter find where !dynamic]] = 0) do={ /ip firewall filter add chain=forward action=accept connection-state=established,related out-interface="bridge1" comment="zonegate setup no FastTrack down" } else={ /ip firewall filter add chain=forward action=accept connection-state=established,related out-interface="bridge1" comment="zonegate setup no FastTrack down" place-before=[:pick [/ip firewall filter find where !dynamic] 0] } }

# The hotspot knows only IPv4 (manual, "HotSpot"): IPv6 would go around it.
:if ([:len [/ipv6 firewall filter find where comment="zonegate setup no IPv6"]] = 0) do={ :if ([:len [/ipv6 firewall filter find where !dynamic]] = 0) do={ /ipv6 firewall filter add chain=forward action=drop in-interface="bridge1" comment="zonegate setup no IPv6" } else={ /ipv6 firewall filter add chain=forward action=drop in-interface="bridge1" comment="zonegate setup no IPv6" place-before=[:pick [/ipv6 firewall filter find where !dynamic] 0] } }

# What is left to do by hand:
# - zonegate nas login-page --sessions radius http://192.168.88.2:2050 > login.html, in place of that file in the
#   hotspot's directory: /ip hotspot profile print shows it as html-directory
