#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The sentence that the project begins with, on a real Tor network: `nmctl policy block class=tor`,
# and Tor is gone from the host while everything else goes on. The model is the shipped one, with its
# own thresholds; port numbers tell nothing (relays are at 443 and 9001).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/live.sh"

# Some 100 packets: more than the first ones that pass before a verdict.
start_web() {
	mkdir -p "$WORK/web"
	head -c 100000 /dev/urandom >"$WORK/web/page"
	start_in "$OUT" web python3 -m http.server -d "$WORK/web" --bind "$OUT4" 8080
}
fetches() { in_host curl -sf -m 10 -o /dev/null "http://$OUT4:8080/page"; }

# How many final judgements there are of flows to relays, or to others (OPERATOR == or !=).
judged_tor() {
	nmctl -o json flows limit=1000 | jq -s "[.[] | select(.decided_by == \"class\" and
		.class == \"tor\" and ((.dst | startswith(\"$TOR_NET\")) $1 true))] | length"
}

net_begin
net_quiet
start_tor_network || skip_all "$WHY"
start_web
nmd_begin --set idle_s=3
start_tor_client 1
check "a page comes through a Tor network" wait_for 120 tor_fetches 1 10
check "a page comes directly" fetches
start_tor_client 2
check "a second client finds its way too" wait_for 30 tor_fetches 2 10
sleep 4
check_that "Tor connections are recognised" "$(judged_tor '==') >= 3"
check_equal "nothing else is taken for Tor" 0 "$(judged_tor '!=')"

nmctl policy block class=tor >/dev/null
check_not "blocked, a client with circuits gets no page" tor_fetches 1 8
check_not "blocked, the other client gets none either" tor_fetches 2 8
start_tor_client 3
sleep 5
check_not "blocked, a new client finds no way" tor_fetches 3 15
check "blocked, a page still comes directly" fetches
check_that "what was dropped is counted for the rule" \
	"$(nmctl -o json policy show | jq -s '.[0].packets') > 20"

nmctl policy remove 1 >/dev/null
check "unblocked, the new client finds its way" wait_for 60 tor_fetches 3 10
finish
