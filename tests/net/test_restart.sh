#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# nmd goes away and comes back under traffic: not one packet of a blocked flow may leak, but a host
# whose agent is dead gets its network back at the fail-open deadline.
. "$(dirname "$0")/lib.sh"

FAIL_OPEN_S=4

# Loading takes longer than that on a busy machine: a starting nmd beats before it loads.
net_begin
sure_model
nmd_begin --set fail_open_s=$FAIL_OPEN_S
load_start --port 6001 --mbit 20 --seconds 120
wait_for 10 has_verdict udp 6001
CLASS=$(class_of udp 6001)
nmctl policy block class="$CLASS" >/dev/null
verdicts=$(status_of .flows.verdicts)

before=$(load_now)
for _ in 1 2 3; do
	nmd_stop
	nmd_start --set fail_open_s=$FAIL_OPEN_S
done
sleep 0.5
after=$(load_now)
check_that "traffic went on while nmd restarted three times" \
	"$(jq .sent <<<"$after") - $(jq .sent <<<"$before") > 1000"
check_equal "not one packet of a blocked flow leaks through three restarts" \
	"$(jq .arrived <<<"$before")" "$(jq .arrived <<<"$after")"
check_equal "a restarted nmd says that it took over" true "$(status_of '.interfaces[0].adopted')"
check_that "a restarted nmd keeps the verdicts" "$(status_of .flows.verdicts) >= $verdicts"
check_equal "a restarted nmd keeps the policy" "block class=$CLASS" \
	"$(nmctl -o json policy show | jq -r '.rule // empty')"

before=$(arrived)
stop "$NMD_PID" KILL
sleep 1
check_equal "after kill -9 the block holds until the deadline" "$before" "$(arrived)"
sleep $FAIL_OPEN_S
check_that "after the fail-open deadline traffic passes" "$(arrivals_in 1) > 1000"
nmd_start --set fail_open_s=$FAIL_OPEN_S
check_that "the packets that passed are counted as failed open" "$(counter fail_open) > 0"
check_equal "a restarted nmd enforces again, the flow's verdict still known" 0 "$(arrivals_in 1)"

# fail_open_s = 0: the operator wants enforcement for ever.
nmd_stop
nmd_start --set fail_open_s=0
stop "$NMD_PID" KILL
sleep $((FAIL_OPEN_S + 1))
check_equal "with fail_open_s=0 the block outlives the agent" 0 "$(arrivals_in 1)"
finish
