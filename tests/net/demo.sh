#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `sudo make demo`: real captures cross an interface that nmd guards, in two network namespaces that
# are made for it and removed. Ends with status 0 only if each claim was measured and held.
. "$(dirname "$0")/lib.sh"

ENDED=1 # no TAP here
HELD=0
BROKEN=0
RATE_MBIT=2

skip_all() {
	printf '\nThe demo cannot run here: %s\n' "$1"
	exit 1
}
not_ok() {
	printf '\nThe demo ends here: %s failed.\n' "$1"
	shift
	printf '%s\n' "$@"
	exit 1
}

title() { printf '\n\033[1m%s\033[0m\n' "$1"; }
[ -t 1 ] || title() { printf '\n%s\n' "$1"; }
say() { printf '%s\n' "$@" | fold -s -w 96 | sed 's/^/  /; s/ *$//'; }
show() { # the command as typed, then what it says
	printf '  $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/    /'
}
nmd() { in_host "$NMD" --run-dir "$WORK/run" "$@"; }
claim() { # TEXT EXPRESSION
	if (($2)); then
		printf '  held      %s\n' "$1"
		HELD=$((HELD + 1))
	else
		printf '  NOT HELD  %s (%s)\n' "$1" "$2"
		BROKEN=$((BROKEN + 1))
	fi
}

sent=0 arrived=0
# cross NAME [OPTION...] CAPTURE...: across the guarded interface, counted on the far side.
cross() {
	local name=$1
	shift
	replay --speed 4 --max-gap 100 "$@" >"$WORK/crossed" || not_ok "replaying $name" "$(cat "$WORK/crossed")"
	sent=$(tail -n 1 "$WORK/crossed" | jq .sent)
	arrived=$(tail -n 1 "$WORK/crossed" | jq .arrived)
	printf '  %-44s %4d packets sent, %4d arrived\n' "$name" "$sent" "$arrived"
}
capture() { echo "$CAPTURES/demo/$1".pcap*; }
# Flows of a capture that nmd judged as CLASS, and all of them; the capture's own addresses.
judged_as() { # CAPTURE CLASS
	jq -r 'select(.flow) | [.src, .sport, .dst, .dport] | @tsv' "$WORK/flows-of-$1" | sort >"$WORK/ours"
	jq -r "select(.class == \"$2\" and .decided_by == \"class\" and .provisional != true) |
		[.src, .sport, .dst, .dport] | @tsv" "$WORK/events" | sort -u | comm -12 - "$WORK/ours" | wc -l
}

net_begin
net_quiet

title "1. Two hosts, one wire"
say "Two network namespaces are joined by a virtual cable. nmd guards one end; packets are counted on \
the other. Nothing outside these namespaces is touched."
nmd_begin --set idle_s=2
say "nmd runs: $(nmctl -o json status | jq -r '"mode \(.mode), XDP \(.interfaces[0].xdp), egress by \(.interfaces[0].egress), model with \(.model.classes | if type == "array" then length else . end) classes"'). No rule is set."

title "2. Real captures cross the wire"
say "The bootstrap model has seen these captures in its training: they show that the line works from \
the packet to the verdict, not how well the model knows the world."
total_sent=0 total_arrived=0
for name in tor bittorrent openvpn tls quic http voip dns; do
	cross "$name" "$(capture $name)"
	cp "$WORK/crossed" "$WORK/flows-of-$name"
	total_sent=$((total_sent + sent)) total_arrived=$((total_arrived + arrived))
done
claim "without a rule every packet arrives" "$total_sent == $total_arrived && $total_sent > 300"
sleep 4 # connections without an end are judged once they are silent

title "3. What nmd made of them"
show nmctl flows limit=100
nmctl -o json flows limit=100 >"$WORK/events"
for pair in tor:tor bittorrent:p2p tls:tls quic:quic http:http voip:voip dns:dns; do
	name=${pair%:*} class=${pair#*:}
	n=$(judged_as "$name" "$class")
	all=$(grep -c '"flow"' "$WORK/flows-of-$name")
	claim "$name: $n of $all flows are judged $class" "$n * 2 >= $all"
done
n=$(judged_as openvpn openvpn)
say "OpenVPN: $n of 1 flows are judged openvpn. This first model is not sure of it, so it counts as \
unknown, and no rule about openvpn would act on it."

title "4. Block Tor"
show nmctl policy block class=tor
cross "Tor, the same connections going on" --without-syn "$(capture tor)"
claim "of known Tor connections nothing passes" "$sent > 100 && $arrived == 0"
cross "Tor, the same captures as new connections" --shift 1 "$(capture tor)"
claim "new Tor connections stop after their first packets" "$arrived > 0 && $arrived * 2 < $sent"
say "A new connection passes until it is recognised: nmd was asked to look at 10 packets first."
for name in bittorrent tls quic http voip dns; do
	cross "$name, as new connections" --shift 1 "$(capture $name)"
	claim "$name passes whole" "$sent == $arrived"
done
show nmctl policy remove 1
cross "Tor, the same connections, unblocked" --without-syn "$(capture tor)"
claim "without the rule they pass again" "$sent == $arrived"

title "5. Limit Tor to $RATE_MBIT Mbit/s"
show nmctl policy limit class=tor rate=${RATE_MBIT}mbit
start loop "$REPLAY" --outside "$OUT:out0" --inside "$HOST:eth0" --speed 40 --max-gap 3 --loop 0 \
	--without-syn "$(capture tor)"
LOOP_PID=$STARTED
# Bytes that were sent and that arrived since the start, and when.
loop_now() {
	local lines
	lines=$(grep -c summary "$WORK/loop.log")
	kill -USR1 "$LOOP_PID"
	while (($(grep -c summary "$WORK/loop.log") == lines)); do sleep 0.02; done
	grep summary "$WORK/loop.log" | tail -n 1
}
sleep 1 # the burst is over
before=$(loop_now)
sleep 5
after=$(loop_now)
stop "$LOOP_PID"
mbit() { # FIELD: Mbit/s in thousandths
	jq -n "$after as \$a | $before as \$b | (\$a.$1 - \$b.$1) * 8e6 / (\$a.t_ns - \$b.t_ns) | floor"
}
offered=$(mbit sent_bytes) passed=$(mbit arrived_bytes)
say "offered for five seconds: $offered kbit/s; arrived on the far side: $passed kbit/s"
claim "more was offered than allowed" "$offered > $RATE_MBIT * 1500"
claim "what arrives is within 5 % of the rate" \
	"$passed * 100 >= $RATE_MBIT * 95000 && $passed * 100 <= $RATE_MBIT * 105000"

title "6. Why?"
flow=$(nmctl -o json flows class=tor | jq -r 'select(.provisional != true) | .flow_id' | tail -n 1)
show nmctl explain "$flow"
claim "nmctl explain names the class" "$(nmctl explain "$flow" | grep -c tor) > 0"

title "7. And gone"
nmd_stop
show nmd --detach
claim "no program is left on the interface" \
	"$(ip -n "$HOST" -j link show eth0 | jq '.[0].xdp.prog.id // 0') == 0"
printf '\n%d claims held, %d did not.\n' $HELD $BROKEN
exit $((BROKEN > 0))
