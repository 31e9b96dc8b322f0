#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# nmd on a gateway: what it forwards is judged and acted on as what is its own.
#
#   $OUT (10.91.0.2)  <-->  (eth0) $HOST (eth1)  <-->  (in0, 10.92.0.2, fd00:92::2) $INNER
. "$(dirname "$0")/lib.sh"

INNER=nm-net-$$-inner
INNER4=10.92.0.2 INNER6=fd00:92::2

set_up_gateway() {
	set_up_netns "$INNER" &&
		ip link add eth1 netns "$HOST" type veth peer name in0 netns "$INNER" || return 1
	set_up_end "$HOST" eth1 10.92.0.1 fd00:92::1
	set_up_end "$INNER" in0 "$INNER4" "$INNER6"
	in_host sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ip -n "$OUT" route add default via "$HOST4"
	ip -n "$OUT" -6 route add default via "$HOST6"
	ip -n "$INNER" route add default via 10.92.0.1
	ip -n "$INNER" -6 route add default via fd00:92::1
}

# flow_start CLAIM FROM TO PORT: a flow through the gateway, judged; its class in CLASS.
flow_start() {
	start load "$LOAD" --from "$2" --to "$3" --port "$4" --mbit 5 --seconds 60
	LOAD_PID=$STARTED
	wait_for 5 test -s "$WORK/load.log"
	check "$1" wait_for 15 has_verdict udp "$4"
	CLASS=$(class_of udp "$4")
}

# arrivals_with WORD...: packets that arrive in a second while the flow's class is blocked so.
arrivals_with() {
	local id
	id=$(nmctl -o json policy block class="$CLASS" "$@" | jq .id)
	sleep 0.2
	arrivals_in 1
	nmctl policy remove "$id" >/dev/null
}

check_blocks() { check_equal "$1" 0 "$(arrivals_with "${@:2}")"; }
check_passes() { check_that "$1" "$(arrivals_with "${@:2}") > 100"; }

net_begin
set_up_gateway 2>"$WORK/setup" || skip_all "no second veth here: $(tail -n 1 "$WORK/setup")"
sure_model
nmd_begin --set fail_open_s=60 --set breaker=off

flow_start "a forwarded flow is judged" "$OUT:$OUT4" "$INNER:$INNER4" 6001
check_blocks "a blocked class is dropped on its way through"
check_blocks "net= holds the client's network" net=10.91.0.0/24
check_blocks "net= holds the server's network" net=10.92.0.0/24
check_passes "another network's rule leaves it alone" net=10.93.0.0/24
check_blocks "what enters by the guarded interface is dir=in" dir=in
check_passes "what enters by the guarded interface is not dir=out" dir=out
stop "$LOAD_PID"

flow_start "a forwarded flow is judged over IPv6" "$INNER:$INNER6" "$OUT:$OUT6" 6002
check_blocks "a blocked class is dropped over IPv6" net=fd00:92::/64
check_blocks "what leaves by the guarded interface is dir=out" dir=out
check_passes "what leaves by the guarded interface is not dir=in" dir=in
stop "$LOAD_PID"

# Both interfaces: not advised, and harmless to all but limits and counts.
nmd_stop
nmd_start --set fail_open_s=60 --set breaker=off --iface eth1
check_equal "both interfaces are guarded" 2 "$(status_of '.interfaces | length')"
flow_start "a flow that two guarded interfaces see is judged" "$OUT:$OUT4" "$INNER:$INNER4" 6003
check_that "nothing is lost where both interfaces are guarded" "$(arrivals_in 1) > 100"
check_blocks "a block holds where both interfaces are guarded"
check_passes "a rule that ends lets the flow go on where both are guarded" net=10.93.0.0/24
finish
