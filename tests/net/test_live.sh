#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Live programs across the guarded interface: judged, blocked, let go; ssh and DNS are left alone
# unless a rule says force.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/live.sh"

n_events() {
	nmctl -o json flows | jq -c "select(.proto == \"$1\" and .dport == $2 and .provisional != true)" | wc -l
}
slow_size() { stat -c %s "$WORK/slow"; }
remove_rules() {
	local id
	for id in $(nmctl -o json policy show | jq -r '.id // empty'); do
		nmctl policy remove "$id" >/dev/null
	done
}
fetch() { in_out curl -sk -o /dev/null --max-time "${2:-5}" --limit-rate 4M "$1"; }

net_begin
sure_model
nmd_begin --set fail_open_s=60 --set idle_s=2

if start_nginx; then
	check "curl fetches over TLS through the guarded interface" fetch "https://$HOST4/large"
	check "the TLS flow is judged" wait_for 10 has_verdict tcp 443
	start_in "$OUT" slow curl -sk --max-time 60 -o "$WORK/slow" "https://$HOST4/slow"
	SLOW_PID=$STARTED
	check "a download under way is judged" wait_for 10 eval '(($(n_events tcp 443) > 1))'
	nmctl policy block class="$(class_of tcp 443)" >/dev/null
	sleep 0.5
	size=$(slow_size)
	sleep 2
	check_equal "a download under way stops when its class is blocked" "$size" "$(slow_size)"
	check_that "it was not whole yet" "$size < 2000000"
	check_that "what was dropped is counted" "$(counter dropped) > 0"
	remove_rules
	check "unblocked it goes on and ends" wait "$SLOW_PID"
	check_equal "it is whole" 2000000 "$(slow_size)"
	nmctl policy block net=10.91.0.0/16 >/dev/null
	check_not "a new download from blocked addresses does not end" fetch "https://$HOST4/large" 3
	nmctl policy block net=fd00:91::/64 >/dev/null
	check_not "nor does one over IPv6" fetch "https://[$HOST6]/large" 3
	remove_rules
	check "both end without the rules" eval 'fetch "https://$HOST4/large" && fetch "https://[$HOST6]/large"'
	check "curl fetches over HTTP" fetch "http://$HOST4/large"
	check "the HTTP flow is judged" wait_for 10 has_verdict tcp 80
else
	skip "TLS and HTTP by curl and nginx" "$WHY"
fi

if start_sshd; then
	check "ssh talks through the guarded interface" ssh_talks
	check "the ssh flow is judged" wait_for 10 has_verdict tcp 22
	check_not "a block of class ssh wants force" nmctl policy block class=ssh
	nmctl policy block net=10.91.0.0/16 >/dev/null
	check "ssh is not stopped by a block of everything" ssh_talks
	check_that "packets that the safety net let pass are counted" "$(counter protected) > 0"
	nmctl policy block net=10.91.0.0/16 force >/dev/null
	check_not "a block with force stops ssh" ssh_talks
	remove_rules
	check "without the rule ssh talks again" ssh_talks
else
	skip "ssh is left alone" "$WHY"
fi

if start_dns; then
	check "dig is answered through the guarded interface" dig_answers
	for _ in $(seq 12); do dig_from_one_port; done
	check "a flow of look-ups is judged" wait_for 10 has_verdict udp 53
	check_not "a block of class dns wants force" nmctl policy block class=dns
	nmctl policy block net=10.91.0.0/16 >/dev/null
	check "DNS is not stopped by a block of everything" dig_from_one_port
	nmctl policy block net=10.91.0.0/16 force >/dev/null
	check_not "a block with force stops DNS" dig_from_one_port
	remove_rules
else
	skip "DNS is left alone" "$WHY"
fi

if start_iperf; then
	check "iperf3 runs through the guarded interface" in_out iperf3 -c "$HOST4" -t 1
	check "the iperf3 flow is judged" wait_for 10 has_verdict tcp 5201
else
	skip "iperf3 is judged" "$WHY"
fi
check_equal "nmd lost no record" 0 "$(counter ring_full)"
finish
