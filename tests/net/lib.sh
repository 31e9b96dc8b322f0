# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# For the tests in namespaces: sourced first, then net_begin. Two hosts joined by a veth pair:
#
#   $OUT (out0, 10.91.0.2, fd00:91::2)  <-->  (eth0, 10.91.0.1, fd00:91::1) $HOST, where nmd runs
#
# Everything has the test's process id in its name and is gone when the test ends, however it ends;
# programs are ended by their own process id and die with the test. Nothing outside the namespaces
# is touched: no interface, address, route or daemon of the machine.
#
# Results are TAP lines; what programs printed is shown only when a claim fails.

# shellcheck disable=SC2034  # some variables are for the tests
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
[ "${BUILD#/}" != "$BUILD" ] || BUILD=$ROOT/$BUILD
NMD=$BUILD/nmd
NMCTL=$BUILD/nmctl
REPLAY=$BUILD/tests/tools/replay
LOAD=$BUILD/tests/tools/load
CAPTURES=$ROOT/tests/captures
MODEL=${MODEL:-$ROOT/model/weights/bootstrap.safetensors}
HOST=nm-net-$$-host
OUT=nm-net-$$-out
HOST4=10.91.0.1 OUT4=10.91.0.2 HOST6=fd00:91::1 OUT6=fd00:91::2

N_CLAIMS=0
N_FAILED=0
PIDS=()
NMD_PID=
WORK=
ENDED=

# ---- TAP ------------------------------------------------------------------------------------------
ok() {
	N_CLAIMS=$((N_CLAIMS + 1))
	echo "ok $N_CLAIMS - $1"
}

# not_ok CLAIM [DETAIL...]
not_ok() {
	N_CLAIMS=$((N_CLAIMS + 1))
	N_FAILED=$((N_FAILED + 1))
	echo "not ok $N_CLAIMS - $1"
	shift
	printf '%s\n' "$@" | sed 's/^/#   /'
	[ ! -s "$WORK/nmd.log" ] || tail -n 15 "$WORK/nmd.log" | sed 's/^/#   nmd: /'
}

skip() {
	N_CLAIMS=$((N_CLAIMS + 1))
	echo "ok $N_CLAIMS - $1 # SKIP $2"
}

skip_all() {
	echo "1..0 # SKIP $1"
	ENDED=1
	exit 0
}

# check CLAIM COMMAND...: the command decides; what it printed is shown when it fails. Not run in a
# subshell, so that it may start programs.
check() {
	local claim=$1
	shift
	if "$@" >"$WORK/check.out" 2>&1; then
		ok "$claim"
	else
		not_ok "$claim" "failed: $*" "$(cat "$WORK/check.out")"
	fi
}
# check_not: the command must fail.
check_not() {
	local claim=$1
	shift
	if "$@" >"$WORK/check.out" 2>&1; then
		not_ok "$claim" "succeeded: $*" "$(cat "$WORK/check.out")"
	else
		ok "$claim"
	fi
}

# check_that CLAIM EXPRESSION...: numbers by the shell's arithmetic; the expression is shown when false.
check_that() {
	local claim=$1
	shift
	if (($*)); then
		ok "$claim"
	else
		not_ok "$claim" "not true: $*"
	fi
}

check_equal() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "expected: $2" "got:      $3"
	fi
}

finish() {
	echo "1..$N_CLAIMS"
	ENDED=1
	exit $((N_FAILED > 0))
}

# ---- set-up and clean-up --------------------------------------------------------------------------
in_host() { nsenter --net="/run/netns/$HOST" "$@"; }
in_out() { nsenter --net="/run/netns/$OUT" "$@"; }

# What tests left that were killed outright: their shell is no more, and their programs died with it.
remove_leftovers() {
	local name pid dir
	for name in $(ip netns list | awk '{print $1}' | grep '^nm-net-[0-9]*-'); do
		pid=${name#nm-net-}
		[ -d "/proc/${pid%%-*}" ] || ip netns del "$name"
	done
	for dir in /tmp/nm-net-[0-9]*.??????; do
		pid=${dir#/tmp/nm-net-}
		[ -d "$dir" ] && [ ! -d "/proc/${pid%%.*}" ] && [ -O "$dir" ] || continue
		unmount_under "$dir"
		rm -rf --one-file-system "$dir"
	done
}

unmount_under() {
	local at
	for at in $(awk -v p="$1/" 'index($2, p) == 1 {print $2}' /proc/mounts | tac); do
		umount "$at"
	done
}

net_end() {
	local pid name status=$?
	trap - EXIT INT TERM HUP
	for pid in "${PIDS[@]}"; do
		kill "$pid" 2>/dev/null
	done
	for pid in "${PIDS[@]}"; do
		wait_gone "$pid" 3 || kill -KILL "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	for name in $(ip netns list | awk '{print $1}' | grep "^nm-net-$$-"); do
		ip netns del "$name"
	done
	if [ -n "$WORK" ]; then
		unmount_under "$WORK"
		rm -rf --one-file-system "$WORK"
	fi
	[ -n "$ENDED" ] || echo "not ok $((N_CLAIMS + 1)) - $(basename "$0") came to its end"
	exit "$status"
}

require() {
	[ "$(id -u)" = 0 ] || skip_all "needs root"
	local file
	for file in "$NMD" "$NMCTL" "$REPLAY" "$LOAD"; do
		[ -x "$file" ] || skip_all "$file is not built"
	done
}

add_veth() {
	ip link add eth0 netns "$HOST" type veth peer name out0 netns "$OUT" || return 1
	set_up_end "$HOST" eth0 "$HOST4" "$HOST6"
	set_up_end "$OUT" out0 "$OUT4" "$OUT6"
}

# Without offloads: packets on this wire are packets as a wire has them.
set_up_end() {
	nsenter --net="/run/netns/$1" ethtool -K "$2" tx off rx off tso off gso off gro off sg off >/dev/null 2>&1
	ip -n "$1" addr add "$3/24" dev "$2"
	ip -n "$1" addr add "$4/64" dev "$2" nodad
	ip -n "$1" link set "$2" up
}

set_up_netns() {
	ip netns add "$1" || return 1
	ip -n "$1" link set lo up
	nsenter --net="/run/netns/$1" sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 \
		net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
}

net_begin() {
	require
	remove_leftovers
	WORK=$(mktemp -d "/tmp/nm-net-$$.XXXXXX") || exit 1
	trap net_end EXIT
	trap 'exit 130' INT TERM HUP
	if ! set_up_netns "$HOST" 2>"$WORK/setup" || ! set_up_netns "$OUT" 2>>"$WORK/setup" ||
		! add_veth 2>>"$WORK/setup"; then
		skip_all "no network namespaces with veth here: $(tail -n 1 "$WORK/setup")"
	fi
}

# The two hosts say nothing of their own on the wire: no IPv6, and so no multicast reports.
net_quiet() {
	in_host sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1
	in_out sysctl -qw net.ipv6.conf.out0.disable_ipv6=1
}

# ---- programs -------------------------------------------------------------------------------------
# start NAME COMMAND...: in the background, output in $WORK/NAME.log; its process id in STARTED. It
# gets a signal when this shell dies. Never call it in a subshell: that would be its parent.
start() {
	local name=$1
	shift
	setpriv --pdeathsig TERM "$@" >"$WORK/$name.log" 2>&1 </dev/null &
	STARTED=$!
	PIDS+=("$STARTED")
}
start_in() {
	local ns=$1 name=$2
	shift 2
	start "$name" nsenter --net="/run/netns/$ns" "$@"
}

wait_gone() {
	local i
	for ((i = 0; i < $2 * 20; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	return 1
}

# stop PID [SIGNAL]: ends one program and waits for it.
stop() {
	kill -"${2:-TERM}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.1
	done
}

# ---- nmd ------------------------------------------------------------------------------------------
nmctl() { "$NMCTL" --socket "$WORK/run/nmd.sock" "$@"; }

nmd_runs() { kill -0 "$NMD_PID" 2>/dev/null; }
nmd_answers() { nmd_runs && nmctl status; }
# A busy machine takes its time to verify the programs; who has ended is not waited for.
nmd_answers_or_ended() { ! nmd_runs || nmctl status; }

# nmd_start [OPTION...]: waits until it answers. What an earlier run logged is kept.
nmd_start() {
	[ ! -e "$WORK/nmd.log" ] || cat "$WORK/nmd.log" >>"$WORK/nmd.old.log"
	start_in "$HOST" nmd "$NMD" --iface eth0 --model "$MODEL" --run-dir "$WORK/run" \
		--state-dir "$WORK/state" "$@"
	NMD_PID=$STARTED
	wait_for 60 nmd_answers_or_ended
	nmd_answers >/dev/null 2>&1
}

# nmd_begin [OPTION...]: as nmd_start; where the kernel lets no program be attached, the test is
# skipped with nmd's own words.
nmd_begin() {
	nmd_start "$@" && return
	if grep -qiE 'bpffs|not permitted|BTF' "$WORK/nmd.log" && ! kill -0 "$NMD_PID" 2>/dev/null; then
		skip_all "nmd does not start here: $(tail -n 1 "$WORK/nmd.log")"
	fi
	not_ok "nmd starts and answers" "$(tail -n 20 "$WORK/nmd.log")"
	finish
}

nmd_stop() { stop "$NMD_PID"; }

status_of() { nmctl -o json status | jq -r "$1"; }
counter() { status_of ".counters.\"$1\".packets // 0"; }

# ---- traffic --------------------------------------------------------------------------------------
replay() { "$REPLAY" --outside "$OUT:out0" --inside "$HOST:eth0" "$@"; }

# model_with IN OUT FILTER: a model file with its metadata changed by a jq filter.
model_with() {
	local n header
	n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	header=$(tail -c +9 "$1" | head -c "$n" |
		jq -c ".__metadata__.netmamba |= (fromjson | $3 | tojson)") || return 1
	while (((${#header} & 7) != 0)); do header+=' '; done
	n=${#header}
	{
		# shellcheck disable=SC2059  # the format is made of octal escapes
		printf "$(printf '\\%03o' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) 0 0 0 0 0)"
		printf '%s' "$header"
		tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"
	} >"$2"
}

# A model that always names the nearest class: claims about enforcement must not hang on how sure
# the shipped model is of synthetic traffic.
sure_model() {
	model_with "$MODEL" "$WORK/sure.safetensors" \
		'.calibration.thresholds |= map(0) | .calibration.unknown.threshold = 1e9'
	MODEL=$WORK/sure.safetensors
}

# flow_event PROTO PORT: the newest final event of a flow to that port, as one JSON object.
flow_event() {
	nmctl -o json flows | jq -c "select(.proto == \"$1\" and (.dport == $2 or .sport == $2) and
		.provisional != true)" | tail -n 1
}
# The class that the policy sees: the nearest one, or unknown when the model was not sure.
class_of() { flow_event "$1" "$2" | jq -r 'if .decided_by == "class" then .class else "unknown" end'; }
has_verdict() { [ -n "$(flow_event "$1" "$2")" ]; }

# load_start [OPTION...]: a steady UDP flow from outside to the guarded host; load_now prints the
# counts so far.
load_start() {
	start load "$LOAD" --from "$OUT:$OUT4" --to "$HOST:$HOST4" "$@"
	LOAD_PID=$STARTED
	wait_for 5 test -s "$WORK/load.log"
}
load_now() {
	local before
	before=$(wc -l <"$WORK/load.log")
	kill -USR1 "$LOAD_PID" || return 1
	while (($(wc -l <"$WORK/load.log") == before)); do
		sleep 0.02
		kill -0 "$LOAD_PID" || return 1
	done
	tail -n 1 "$WORK/load.log"
}
arrived() { load_now | jq .arrived; }
sent() { load_now | jq .sent; }
# Packets that arrive in the next SECONDS.
arrivals_in() {
	local before
	before=$(arrived)
	sleep "$1"
	echo $(($(arrived) - before))
}
