#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# tests/run itself: what counts as passed, failed and skipped. It is given programs made here.
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/tests/fake" "$dir/tests/other"
n=0

program() { # PATH; its text comes by stdin
	{ echo '#!/bin/sh'; cat; } >"$dir/tests/$1"
	chmod +x "$dir/tests/$1"
}

# CLAIM PART STATUS LAST_LINE
holds() {
	local got last status
	n=$((n + 1))
	got=$(BUILD=$dir PROGRAM_LIMIT_S=1 tests/run "$2")
	status=$?
	last=$(printf '%s\n' "$got" | tail -n 1)
	if [ "$last" = "$4" ] && [ "$status" -eq "$3" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		printf 'expected status %s and: %s\ngot status %s and:\n%s\n' "$3" "$4" "$status" "$got" |
			sed 's/^/# /'
	fi
}

program fake/test_good <<<'printf "1..2\nok 1 - a\nok 2 - b\n"'
program fake/test_skips <<<'printf "1..2\nok 1 - a\nok 2 - b # SKIP no such device\n"'
holds claims_are_summed_and_skips_counted_apart fake 0 "3 passed, 0 failed, 1 skipped"
holds one_program_can_be_named test_good 0 "2 passed, 0 failed"
holds a_part_that_has_no_test_fails nothing 1 "0 passed, 0 failed"
program other/test_bad <<<'printf "1..2\nnot ok 1 - a\nok 2 - b\n"; exit 1'
holds a_failed_claim_fails_the_run other 1 "1 passed, 1 failed"
program other/test_bad <<<'printf "1..3\nok 1 - a\n"; kill -SEGV $$'
holds a_crash_counts_as_one_failure other 1 "1 passed, 1 failed"
program other/test_bad <<<'printf "1..3\nok 1 - a\n"; exit 0'
holds fewer_results_than_planned_count_as_a_failure other 1 "1 passed, 1 failed"
program other/test_bad <<<'echo all is well'
holds a_program_without_results_counts_as_a_failure other 1 "0 passed, 1 failed"
program other/test_bad <<<'printf "1..1\nok 1 - a\n"; exit 3'
holds a_bad_status_without_a_failed_claim_counts_as_a_failure other 1 "1 passed, 1 failed"
program other/test_bad <<<'echo "ok 1 - a"; sleep 30'
holds a_program_that_does_not_end_counts_as_a_failure other 1 "1 passed, 1 failed"
program other/test_bad <<<'echo "1..0 # SKIP no root"'
holds a_program_may_skip_as_a_whole other 0 "0 passed, 0 failed, 1 skipped"
program other/test_bad <<<'printf "1..2\nok 1 - a\nnot ok 2 # SKIP b\n"'
holds a_skip_as_cmocka_words_it_is_no_failure other 0 "1 passed, 0 failed, 1 skipped"

# What runs is ended, in time for its own clean-up, and nothing more is started.
n=$((n + 1))
program fake/test_good <<<"trap 'touch $dir/ended; exit 1' TERM; touch $dir/began; while :; do sleep 0.1; done"
program fake/test_skips <<<"touch $dir/another"
BUILD=$dir tests/run fake >"$dir/said" &
runner=$!
while [ ! -e "$dir/began" ] && kill -0 "$runner"; do sleep 0.1; done
kill "$runner"
wait "$runner"
status=$?
if [ "$status" -eq 130 ] && [ -e "$dir/ended" ] && [ ! -e "$dir/another" ]; then
	echo "ok $n - an_interrupt_ends_the_run_and_what_it_runs"
else
	echo "not ok $n - an_interrupt_ends_the_run_and_what_it_runs"
	sed "s/^/# status $status: /" "$dir/said"
fi
echo "1..$n"
