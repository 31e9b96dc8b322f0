#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The bash completion against the built program: TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
[ "${build#/}" != "$build" ] || build=$PWD/$build
n=0

if [ ! -x "$build/nmctl" ]; then
	echo "1..0 # SKIP no $build/nmctl: make it, or name its folder with BUILD"
	exit 0
fi
PATH=$build:$PATH
export NETMAMBA_SOCKET=/nonexistent/nmd.sock
source packaging/completion/nmctl || exit 1

completes() { # CLAIM EXPECTED WORD...: the last word is the one being typed
	local claim=$1 expected=$2 got
	shift 2
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_nmctl
	got="${COMPREPLY[*]}"
	n=$((n + 1))
	if [ "$got" = "$expected" ]; then
		echo "ok $n - $claim"
	else
		echo "not ok $n - $claim"
		echo "# expected: $expected"
		echo "# got:      $got"
	fi
}

echo 1..8
completes a_noun_is_completed "flows" nmctl fl
completes nouns_are_offered_once "policy" nmctl pol
completes a_verb_is_completed "remove rollback" nmctl policy r
completes the_words_of_a_rule_are_offered "class=" nmctl policy block cl
completes force_is_offered_too "for= force" nmctl policy block for
completes a_direction_is_completed "in" nmctl policy block dir = i
completes options_of_the_command_are_offered "--follow" nmctl flows --f
completes an_output_format_is_completed "json" nmctl status -o j
