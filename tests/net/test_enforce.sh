#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One steady flow, judged once; then each kind of rule, seen from the far side.
. "$(dirname "$0")/lib.sh"

passes() { (($(arrivals_in 0.5) > 100)); }
is_stopped() { (($(arrivals_in 1) == 0)); }
# Rules of the test before are gone.
no_rules() {
	local id
	for id in $(nmctl -o json policy show | jq -r '.id // empty'); do
		nmctl policy remove "$id" >/dev/null || return 1
	done
}

net_begin
sure_model
nmd_begin --set fail_open_s=60
load_start --port 6001 --mbit 10 --seconds 120
wait_for 10 has_verdict udp 6001
CLASS=$(class_of udp 6001)

check "with no policy nothing is dropped" passes
check_equal "with no policy every packet that was sent has arrived" "0" \
	"$(load_now | jq '.sent - .arrived')"

nmctl policy block class="$CLASS" >/dev/null
check "a blocked class is dropped from the next packet" is_stopped
nmctl policy remove "$(nmctl -o json policy show | jq -r '.id // empty')" >/dev/null
check "an unblocked class passes again" passes

other=$([ "$CLASS" = tor ] && echo p2p || echo tor)
nmctl policy block class="$other" >/dev/null
check "a block of another class leaves this one alone" passes
no_rules

nmctl policy block class="$CLASS" dir=out >/dev/null
check "dir=out does not touch what comes in" passes
no_rules
nmctl policy block class="$CLASS" dir=in >/dev/null
check "dir=in stops what comes in" is_stopped

nmctl policy allow net="$OUT4/32" >/dev/null
check "allow net= exempts its addresses from a block" passes
no_rules
nmctl policy block class="$CLASS" net=10.92.0.0/16 >/dev/null
check "a block with net= leaves other addresses alone" passes
nmctl policy block class="$CLASS" net=10.91.0.0/16 >/dev/null
check "a block with net= stops the addresses that it names" is_stopped
no_rules

nmctl policy block class="$CLASS" for=3s >/dev/null
check "a block with for= is in force at once" is_stopped
sleep 3
check "a block with for= ends by itself" passes
check_equal "a rule that ended is not shown" "" "$(nmctl -o json policy show | jq -r '.rule // empty')"

nmctl policy block class="$CLASS" confirm=3s >/dev/null
check "a change that wants confirmation is in force at once" is_stopped
sleep 3
check "a change that nobody confirmed is undone" passes
nmctl policy block class="$CLASS" confirm=3s >/dev/null
nmctl policy confirm >/dev/null
sleep 3.5
check "a confirmed change stays" is_stopped
version=$(nmctl -o json policy history | jq -r 'select(.current) | .version')
nmctl policy rollback >/dev/null
check "rollback brings back the version before" passes
check_not "rollback made another version current" \
	[ "$version" = "$(nmctl -o json policy history | jq -r 'select(.current) | .version')" ]
no_rules

printf 'default watch\nblock class=%s\n' "$CLASS" >"$WORK/web.policy"
check "diff tells what a policy file would change" \
	grep -q "+ *block class=$CLASS" <(nmctl policy diff "$WORK/web.policy")
nmctl policy apply "$WORK/web.policy" >/dev/null
check "a policy file is enforced when applied" is_stopped
stop "$LOAD_PID"

# The flow's verdict is kept in the state of the kernel: what goes out, and IPv6.
no_rules
start load "$LOAD" --from "$HOST:$HOST6" --to "$OUT:$OUT6" --port 6002 --mbit 10 --seconds 60
LOAD_PID=$STARTED
wait_for 10 has_verdict udp 6002
CLASS=$(class_of udp 6002)
nmctl policy block class="$CLASS" dir=in >/dev/null
check "dir=in does not touch what goes out (IPv6)" passes
nmctl policy block class="$CLASS" dir=out >/dev/null
check "dir=out stops what goes out (IPv6)" is_stopped
nmctl policy allow net="$OUT6/128" >/dev/null
check "allow net= exempts an IPv6 address" passes
finish
