#!/bin/sh
# What busybox udhcpc runs on each event: configures the interface and prints the lease, one "lease NAME=VALUE" a line.
# Option 121 replaces the router option (RFC 3442); a gateway outside the subnet is reached on the link itself.

add_route() { # destination gateway
  if [ "$2" = 0.0.0.0 ]; then
    ip route replace "$1" dev "$interface"
  else
    ip route replace "$1" via "$2" dev "$interface" onlink
  fi
}

case "$1" in
  deconfig)
    ip -4 addr flush dev "$interface"
    ip link set "$interface" up
    ;;
  bound | renew)
    [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
    ip addr replace "$ip/${mask:-32}" ${broadcast:+brd "$broadcast"} dev "$interface"
    if [ -n "$staticroutes" ]; then
      set -- $staticroutes
      while [ $# -ge 2 ]; do
        add_route "$1" "$2"
        shift 2
      done
    else
      for gateway in $router; do
        add_route default "$gateway"
        break
      done
    fi
    for name in ip mask subnet router dns domain search ntpsrv mtu lease serverid staticroutes broadcast siaddr hostname opt58 opt59; do
      eval "value=\$$name"
      [ -z "$value" ] || printf 'lease %s=%s\n' "$name" "$value"
    done
    ;;
esac
exit 0
