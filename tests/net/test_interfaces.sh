#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Interfaces go, return and are shared; leaving leaves nothing behind.
. "$(dirname "$0")/lib.sh"

n_interfaces() { status_of '.interfaces | length'; }
has_interfaces() { [ "$(n_interfaces)" = "$1" ]; }
xdp_id() { ip -n "$HOST" -j link show eth0 | jq -r '.[0].xdp.prog.id // empty'; }
map_ids() { bpftool -j prog show id "$1" | jq -r '.map_ids[]?'; }
maps_are_gone() {
	local id
	for id in $1; do
		! bpftool map show id "$id" || return 1
	done
}
mounts_under() { grep -c " $1/" /proc/mounts; }

net_begin
sure_model
nmd_begin --set fail_open_s=60

load_start --port 6001 --mbit 5 --seconds 120
wait_for 10 has_verdict udp 6001
CLASS=$(class_of udp 6001)
nmctl policy block class="$CLASS" >/dev/null
check_equal "the block holds before the interface goes" 0 "$(arrivals_in 1)"
stop "$LOAD_PID"
ip -n "$HOST" link del eth0
check "a removed interface is forgotten" wait_for 5 has_interfaces 0
add_veth
check "an interface that returns is guarded" wait_for 5 has_interfaces 1
load_start --port 6001 --from-port 7001 --mbit 5 --seconds 60
check "flows on the returned interface are judged" wait_for 10 has_verdict udp 6001
wait_for 5 eval '(($(arrivals_in 0.5) == 0))'
check_equal "the policy is in force on the returned interface" 0 "$(arrivals_in 1)"
stop "$LOAD_PID"

# Only what matches --iface.
ip link add other0 netns "$HOST" type veth peer name other1 netns "$HOST"
sleep 0.5
check_equal "an interface that no pattern names is left alone" 1 "$(n_interfaces)"

id=$(xdp_id)
check_not "the guarded interface has an XDP program" [ -z "$id" ]
maps=$(map_ids "$id")
check_not "its program has maps" [ -z "$maps" ]
nmd_stop
check_equal "a stopped nmd leaves its program in place" "$id" "$(xdp_id)"
check "nmd --detach succeeds without an agent" in_host "$NMD" --run-dir "$WORK/run" --detach
check_equal "after --detach the interface has no XDP program" "" "$(xdp_id)"
check "after --detach every map is gone" wait_for 5 maps_are_gone "$maps"
check_equal "after --detach nothing is mounted" 0 "$(mounts_under "$WORK")"
check_equal "after --detach no tc filter or qdisc is left" "" \
	"$(in_host tc qdisc show dev eth0 | grep -v noqueue)"
check "nmd --detach with nothing there is no error" in_host "$NMD" --run-dir "$WORK/run" --detach

# A program of somebody else is joined or the attach is refused; it is never replaced.
printf '%s\n' '__attribute__((section("xdp"), used)) int foreign(void *ctx) { (void)ctx; return 2; }' \
	'char license_[] __attribute__((section("license"), used)) = "GPL";' >"$WORK/foreign.c"
if clang -target bpf -O2 -g -c "$WORK/foreign.c" -o "$WORK/foreign.o" 2>"$WORK/foreign.err" &&
	ip -n "$HOST" link set dev eth0 xdp obj "$WORK/foreign.o" sec xdp 2>"$WORK/foreign.err"; then
	id=$(xdp_id)
	nmd_start
	if ! nmd_answers >/dev/null; then
		check "a foreign XDP program is refused in words that name it" grep -q foreign "$WORK/nmd.log"
		check_equal "a foreign XDP program is never replaced" "$id" "$(xdp_id)"
	elif [ "$(n_interfaces)" = 0 ] || [ "$(status_of '.interfaces[0].xdp_method')" != dispatcher ]; then
		check "a foreign XDP program is refused in words that name it" grep -q foreign "$WORK/nmd.log"
		check_equal "a foreign XDP program is never replaced" "$id" "$(xdp_id)"
	else
		check "a foreign XDP program goes on running beside ours" bpftool prog show id "$id"
	fi
	nmd_stop
	in_host "$NMD" --run-dir "$WORK/run" --detach
	check "leaving does not take the foreign program away" bpftool prog show id "$id"
else
	skip "a foreign XDP program is never replaced" "it could not be loaded: $(tail -n 1 "$WORK/foreign.err")"
fi
finish
