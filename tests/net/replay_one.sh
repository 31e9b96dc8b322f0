#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `sudo make replay CAPTURE=file.pcap`: captures cross a guarded interface in namespaces of their
# own; shows what arrived and what nmd made of it.
. "$(dirname "$0")/lib.sh"

ENDED=1 # no TAP here
skip_all() {
	echo "The capture cannot be replayed here: $1" >&2
	exit 1
}
if [ $# -eq 0 ]; then
	echo "usage: sudo make replay CAPTURE=\"file.pcap...\"" >&2
	exit 2
fi
net_begin
net_quiet
nmd_begin --set idle_s=2
replay --max-gap 500 "$@" >"$WORK/crossed"
status=$?
jq -r 'select(.flow) | "\(.flow): \(.sent) packets sent, \(.arrived) arrived"' "$WORK/crossed"
jq -r 'select(.summary) | "in all \(.sent) sent, \(.arrived) arrived; not sent: \(.not_ip) not IP, " +
	"\(.too_long) longer than the link takes"' "$WORK/crossed"
sleep 4 # flows without an end are judged when they have been idle
nmctl flows limit=100
exit $status
