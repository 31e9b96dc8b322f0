#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Another model of another shape under traffic: flows in flight live on, blocks hold.
. "$(dirname "$0")/lib.sh"

SECOND=$ROOT/tests/golden/tiny.weights.safetensors # one direction, 5 packets, S 20, classes c0..c4
classes() { status_of '.model.classes | if type == "array" then length else . end'; }

net_begin
sure_model
model_with "$SECOND" "$WORK/second.safetensors" '.calibration.thresholds |= map(0)'
nmd_begin --set fail_open_s=60

load_start --port 6001 --mbit 10 --seconds 90
wait_for 10 has_verdict udp 6001
CLASS=$(class_of udp 6001)
start free "$LOAD" --from "$OUT:$OUT4" --to "$HOST:$HOST4" --port 6002 --mbit 5 --seconds 6 --flows 20
FREE_PID=$STARTED
first_classes=$(classes)
before=$(arrived)
check "a model of another shape is loaded while packets flow" nmctl model load "$WORK/second.safetensors"
check_equal "status tells the new model" 5 "$(classes)"
check_that "the first model had other classes" "$first_classes != 5"
check_that "traffic goes on through the swap" "$(arrivals_in 0.5) > 100 && $before > 0"
start new "$LOAD" --from "$OUT:$OUT4" --to "$HOST:$HOST4" --port 6003 --mbit 5 --seconds 30
check "new flows are judged by the new model" wait_for 10 has_verdict udp 6003
check "its classes are the new model's" grep -q '^c[0-4]$' <<<"$(class_of udp 6003)"

wait "$FREE_PID"
check_equal "no packet of twenty flows was lost through the swap" 0 \
	"$(tail -n 1 "$WORK/free.log" | jq '.sent - .arrived')"

nmctl policy block class="$(class_of udp 6003)" >/dev/null
nmctl policy block class="$CLASS" >/dev/null
check_equal "a flow that the old model judged is blocked by its class" 0 "$(arrivals_in 1)"
before=$(arrived)
check "the first model is loaded again" nmctl model load "$MODEL"
sleep 0.5
check_equal "not one packet of a blocked flow leaks through a swap" "$before" "$(arrived)"

cp "$MODEL" "$WORK/broken.safetensors"
truncate -s -1000 "$WORK/broken.safetensors"
check_not "a truncated model is refused" nmctl model load "$WORK/broken.safetensors"
check_equal "a refused model changes nothing" "$first_classes" "$(classes)"
finish
