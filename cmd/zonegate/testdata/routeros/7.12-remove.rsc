# zonegate: takes away what zonegate routeros script and the gateway made on a MikroTik with RouterOS 7.12.
# Stop the gateway first, or it makes its own again. Twice changes nothing. Not run on a router yet.
# Customers who are online are logged out.

# What the gateway made over the API: sessions and users before their profiles, queues before their parent and types.
/ip hotspot active remove [/ip hotspot active find where user~"^zonegate-"]
/ip hotspot user remove [/ip hotspot user find where name~"^zonegate-" or comment~"^zonegate:"]
/ip hotspot user profile remove [/ip hotspot user profile find where name~"^zonegate-"]
/queue simple remove [/queue simple find where (name~"^zonegate-" or comment~"^zonegate:") and parent!="none"]
/queue simple remove [/queue simple find where name~"^zonegate-"]
/queue tree remove [/queue tree find where name~"^zonegate-"]
/queue type remove [/queue type find where name~"^zonegate-"]
/ip firewall mangle remove [/ip firewall mangle find where comment~"^zonegate:"]

# The hotspot's former profile, then ours.
:foreach s in=[/ip hotspot find where profile~"^zonegate-"] do={ :local p [/ip hotspot get $s profile]; /ip hotspot set $s profile=[:pick $p 9 [:len $p]] }
/ip hotspot profile remove [/ip hotspot profile find where name~"^zonegate-"]

# What the script made.
/ip hotspot walled-garden ip remove [/ip hotspot walled-garden ip find where comment~"^zonegate setup "]
/ip hotspot ip-binding remove [/ip hotspot ip-binding find where comment~"^zonegate setup "]
/ip firewall filter remove [/ip firewall filter find where comment~"^zonegate setup "]
/ip firewall nat remove [/ip firewall nat find where comment~"^zonegate setup "]
/radius remove [/radius find where comment~"^zonegate setup "]
/user remove [/user find where comment~"^zonegate setup "]
/user group remove [/user group find where comment~"^zonegate setup "]
# CoA stays accepted where another RADIUS server is left.
:if ([:len [/radius find]] = 0) do={ /radius incoming set accept=no }
:if ([/ip service get [:pick [/ip service find where name="api-ssl"] 0] certificate] = "zonegate-api") do={ /ip service set [:pick [/ip service find where name="api-ssl"] 0] certificate=none address="" disabled=yes }
/certificate remove [/certificate find where name="zonegate-api"]
/ipv6 firewall filter remove [/ipv6 firewall filter find where comment~"^zonegate setup "]

# Left as it is, because it may be yours: the NTP client, login.html, and shared-users of the default user profile,
# which was 1 before: /ip hotspot user profile set default shared-users=1
