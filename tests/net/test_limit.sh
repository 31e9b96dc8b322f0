#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Rate limits, measured at the far side over five seconds against the rate that was asked for.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/live.sh"

# Bits a second that arrive in the next five seconds.
rate_now() {
	local before after
	before=$(load_now)
	sleep 5
	after=$(load_now)
	jq -n "$before as \$b | $after as \$a |
		(\$a.arrived_bytes - \$b.arrived_bytes) * 8e9 / (\$a.t_ns - \$b.t_ns) | floor"
}
# check_rate CLAIM ASKED MEASURED: within 5 %.
check_rate() { check_that "$1 (asked $2, measured $3 bit/s)" "$3 * 100 >= $2 * 95 && $3 * 100 <= $2 * 105"; }

net_begin
sure_model
nmd_begin --set fail_open_s=60

load_start --port 6001 --mbit 20 --seconds 90
wait_for 10 has_verdict udp 6001
CLASS=$(class_of udp 6001)
nmctl policy limit class="$CLASS" rate=4mbit burst=32kb >/dev/null
sleep 1 # the burst is over
check_rate "a limited class gets its rate" 4000000 "$(rate_now)"
nmctl policy limit class="$CLASS" rate=500kbit burst=16kb >/dev/null
sleep 1
check_rate "a changed limit gets the new rate" 500000 "$(rate_now)"
check_that "what was over the rate is counted" "$(counter limited) > 0"
nmctl policy limit class="$CLASS" rate=100mbit >/dev/null
check_rate "a limit above the offered rate takes nothing away" 20000000 "$(rate_now)"

# Two flows of one class share its meter.
nmctl policy limit class="$CLASS" rate=4mbit burst=32kb >/dev/null
start second "$LOAD" --from "$OUT:$OUT4" --to "$HOST:$HOST4" --port 6003 --mbit 20 --seconds 30
SECOND_PID=$STARTED
wait_for 10 has_verdict udp 6003
check_equal "a second flow of the same kind has the same class" "$CLASS" "$(class_of udp 6003)"
kill -USR1 "$SECOND_PID"
first=$(rate_now)
kill -USR1 "$SECOND_PID"
sleep 0.2
second=$(tail -n 2 "$WORK/second.log" | jq -s \
	'(.[1].arrived_bytes - .[0].arrived_bytes) * 8e9 / (.[1].t_ns - .[0].t_ns) | floor')
check_rate "flows of one class share its limit ($first and $second)" 4000000 $((first + second))
stop "$SECOND_PID"
stop "$LOAD_PID"

# What goes out is limited by the other hook.
start load "$LOAD" --from "$HOST:$HOST4" --to "$OUT:$OUT4" --port 6002 --mbit 20 --seconds 60
LOAD_PID=$STARTED
wait_for 10 has_verdict udp 6002
nmctl policy limit class="$(class_of udp 6002)" rate=3mbit burst=32kb dir=out >/dev/null
sleep 1
check_rate "dir=out limits what goes out" 3000000 "$(rate_now)"
stop "$LOAD_PID"

# A TCP stack loses its pace to a meter that drops: the burst has to cover what it sends in one of
# its time-outs (some 200 ms), as with any policer. Over five seconds it may get its rate and, when a
# time-out let it fill up, one burst: (8 mbit * 5 s + 512 kB) / 5 s.
if start_iperf; then
	nmctl policy limit net="$OUT4/32" rate=8mbit burst=512kb >/dev/null
	goodput=$(in_out iperf3 -c "$HOST4" -C reno -O 2 -t 5 -J | jq '.end.sum_received.bits_per_second | floor')
	rate=$((goodput * 1500 / 1448)) # with headers, as the meter counts
	check_that "a TCP stream makes use of its limit and gets no more than rate and burst ($rate bit/s)" \
		"$rate <= 8819200 * 105 / 100 && $rate >= 8000000 * 75 / 100"
else
	skip "a TCP stream makes use of its limit and gets no more" "$WHY"
fi
finish
