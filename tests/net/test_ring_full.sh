#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# More than the agent can read: records are lost and counted, packets are not.
. "$(dirname "$0")/lib.sh"

net_begin
sure_model
nmd_begin --set ring_kb=64 --set fail_open_s=60 --set idle_s=2

# An agent that does not read at all for a while: the worst there can be.
kill -STOP "$NMD_PID"
start_in "$OUT" ping ping -i 0.1 -w 4 "$HOST4"
PING_PID=$STARTED
load_start --port 6001 --flows 200 --bytes 400 --mbit 8 --seconds 4
sleep 2
kill -CONT "$NMD_PID"
wait "$LOAD_PID"
result=$(tail -n 1 "$WORK/load.log")
wait "$PING_PID"
check_equal "no packet is lost while the ring is full" "$(jq .sent <<<"$result")" "$(jq .arrived <<<"$result")"
check "ping goes on while the ring is full" grep -q ' 0% packet loss' "$WORK/ping.log"
check "nmd answers when it may read again" wait_for 5 nmd_answers
check_that "records that found the ring full are counted" "$(counter ring_full) > 0"
tells_gaps() { (($(status_of .agent.records_missing) > 0)); }
check "flows with gaps are judged all the same, and the gaps told" wait_for 10 tells_gaps
load_start --port 6002 --mbit 5 --seconds 10
check "flows are judged again afterwards" wait_for 8 has_verdict udp 6002

# A flood of new flows while the agent reads.
load_start --port 6003 --flows 1000 --bytes 100 --mbit 40 --seconds 3
wait "$LOAD_PID"
result=$(tail -n 1 "$WORK/load.log")
check_equal "a flood of flows loses no packet" "$(jq .sent <<<"$result")" "$(jq .arrived <<<"$result")"
check "nmd answers after a flood" nmd_answers
finish
