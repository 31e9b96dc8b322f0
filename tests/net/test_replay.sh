#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Real captures cross the guarded interface: nothing is dropped without a policy, and each flow is
# judged as `nmctl classify` judges the same packets offline.
. "$(dirname "$0")/lib.sh"

CLASSES='select(.src and .provisional != true) | [.proto, .src, .sport, .dst, .dport, .class, .decided_by] | @tsv'

net_begin
net_quiet
nmd_begin --set idle_s=2
replay --speed 4 --max-gap 100 --write "$WORK/sent.pcap" "$CAPTURES"/demo/*.pcap* >"$WORK/first"
summary=$(tail -n 1 "$WORK/first")
check_that "packets were sent" "$(jq .sent <<<"$summary") > 300"
check_equal "with an empty policy every packet arrives" "$(jq .sent <<<"$summary")" \
	"$(jq .arrived <<<"$summary")"
sleep 4 # flows without an end are judged when they have been idle

"$NMCTL" classify --model "$MODEL" -o json "$WORK/sent.pcap" | jq -r "$CLASSES" | sort >"$WORK/offline"
nmctl -o json flows limit=1000 | jq -r "$CLASSES" | sort -u >"$WORK/live"
check_that "the captures hold flows of many kinds" "$(cut -f 6 "$WORK/offline" | sort -u | wc -l) >= 7"
check "each flow is judged live as it is judged offline" diff "$WORK/offline" "$WORK/live"
check_equal "no record was lost on the way" 0 "$(status_of '.agent.records_missing + .counters.ring_full.packets')"

# The same packets once more: the flows are known. Then as new flows, of which the first packets
# have to pass until they are judged.
nmctl policy block class=tor >/dev/null
replay --speed 4 --max-gap 100 --without-syn "$CAPTURES/demo/tor.pcap" >"$WORK/again"
check_equal "of known Tor flows nothing passes a block" 0 "$(tail -n 1 "$WORK/again" | jq .arrived)"
replay --speed 4 --max-gap 100 --shift 1 "$CAPTURES/demo/tor.pcap" >"$WORK/new"
check_that "of new Tor flows less than half passes" \
	"$(tail -n 1 "$WORK/new" | jq '.arrived * 2 < .sent and .arrived > 0 | if . then 1 else 0 end')"
replay --speed 4 --max-gap 100 --shift 1 "$CAPTURES/demo/tls.pcap" "$CAPTURES/demo/quic.pcap" >"$WORK/others"
check_equal "other classes pass whole" "$(tail -n 1 "$WORK/others" | jq .sent)" \
	"$(tail -n 1 "$WORK/others" | jq .arrived)"

# Fuzzed captures: whatever is in them passes, and nmd goes on. Some are cut so that they give no packet.
total_sent=0 total_arrived=0
for file in "$CAPTURES"/malformed/*.pcap*; do
	replay --max-gap 1 "$file" >"$WORK/malformed" 2>&1 || continue
	total_sent=$((total_sent + $(tail -n 1 "$WORK/malformed" | jq .sent)))
	total_arrived=$((total_arrived + $(tail -n 1 "$WORK/malformed" | jq .arrived)))
done
check_that "packets of malformed captures were sent" "$total_sent > 50"
check_equal "packets of malformed captures pass" "$total_sent" "$total_arrived"
check "nmd answers after malformed captures" nmd_answers

flow=$(nmctl -o json flows class=tor | jq -r .flow_id | tail -n 1)
check "explain names the rule that decided" grep -q 'block class=tor' <(nmctl explain "$flow")
finish
