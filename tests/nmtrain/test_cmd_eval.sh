#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# nmtrain eval as built, on a set of the tests' captures and the model that is shipped: TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/nmtrain/lib.sh

if ! command -v jq >/dev/null; then
	echo "1..0 # SKIP there is no jq"
	exit 0
fi
model=model/weights/bootstrap.safetensors
set=$dir/set.nmd

figure() { sed -nE "s/^figure $1 ([-0-9.]+) ratio$/\1/p" "$dir/out"; }
jq_holds() { # FILE FILTER
	jq -e "$2" "$1" >/dev/null || { echo "$1: not so: $2"; return 1; }
}

set_is_made() {
	run 0 dataset --folds 3 --labels tests/captures/open/labels.tsv --source open --captures tests/captures/open \
		--class dns --source lab --captures tests/captures/lab/dns \
		--class ssh --source lab --captures tests/captures/lab/ssh -o "$set"
}
figures_are_last() {
	run 0 eval --model $model --data "$set" --json "$dir/1.json" --html "$dir/1.html" || return 1
	tail -n 5 "$dir/out" | grep -c '^figure [a-z0-9_]* [0-9.]* ratio$' | grep -qx 5 || return 1
	out_has "measured on fold 0 of 3, fitted on fold 1" && [ -n "$(figure macro_f1)" ] &&
		[ -n "$(figure auroc)" ] && [ -n "$(figure fpr95)" ] && [ -n "$(figure ece)" ]
}
# What the class table adds up to is what stands at the top.
json_adds_up() {
	jq_holds "$dir/1.json" '.format == 1 and (.models | length) == 1' &&
		jq_holds "$dir/1.json" '.models[0] | ([.classes[].right] | add) / .overall.flows - .overall.accuracy | fabs < 1e-6' &&
		jq_holds "$dir/1.json" '.models[0] | ([.classes[].f1 | numbers] | add / length) - .overall.macro_f1 | fabs < 1e-6' &&
		jq_holds "$dir/1.json" '.models[0] | ([.confusion[] | add] | add) == .overall.flows' &&
		jq_holds "$dir/1.json" '.models[0] | ([.sources[].flows] | add) == .overall.flows' &&
		jq_holds "$dir/1.json" '[.models[0].sources[].source] | contains(["open"])' &&
		jq_holds "$dir/1.json" "(.models[0].overall.accuracy - $(figure accuracy) | fabs) < 1e-4"
}
# All packets that the model sees are the whole flow; one packet tells less.
packets_end_with_all() {
	jq_holds "$dir/1.json" '.models[0] | .after_packets[0].packets == 1 and .after_packets[-1].packets == 50' &&
		jq_holds "$dir/1.json" '.models[0] | .after_packets[-1].accuracy == .overall.accuracy' &&
		jq_holds "$dir/1.json" '.models[0] | .after_packets[0].accuracy < .overall.accuracy'
}
page_is_whole() {
	head -c 15 "$dir/1.html" | grep -qF '<!DOCTYPE html>' && tail -n 1 "$dir/1.html" | grep -qF '</html>' &&
		[ "$(grep -o '<svg' "$dir/1.html" | wc -l)" -ge 50 ] && ! grep -qE '<script|https?:|<link' "$dir/1.html"
}
threads_change_nothing() {
	run 0 eval -m $model -d "$set" --threads 3 --json "$dir/3.json" || return 1
	jq 'del(.time)' "$dir/1.json" >"$dir/a" && jq 'del(.time)' "$dir/3.json" >"$dir/b" && cmp "$dir/a" "$dir/b"
}
calibrated_model_carries_it() {
	run 0 eval -m $model -d "$set" --precision 0.8 --calibrate "$dir/c.safetensors" --json "$dir/c.json" || return 1
	cp "$dir/out" "$dir/first"
	run 0 eval -m "$dir/c.safetensors" -d "$set" --fold 0 --split all --json "$dir/d.json" || return 1
	out_has "nothing fitted: the model's own calibration" || return 1
	jq -S '.models[0] | [.calibration.temperature, .unknown.score, .unknown.threshold, [.classes[].threshold], [.classes[].watch_only]]' \
		"$dir/c.json" >"$dir/a"
	jq -S '.models[0] | [.calibration.temperature, .unknown.score, .unknown.threshold, [.classes[].threshold], [.classes[].watch_only]]' \
		"$dir/d.json" >"$dir/b"
	cmp "$dir/a" "$dir/b" && jq_holds "$dir/c.json" '.models[0].calibration.temperature != 1' &&
		jq_holds "$dir/d.json" '.models[0].model.figures.test.macro_f1 | numbers'
}
calibration_leaves_the_weights() {
	run 0 eval -m "$dir/c.safetensors" -d "$set" --precision 0.8 --compare $model || return 1
	[ "$(figure accuracy)" = "$(sed -nE 's/^figure accuracy ([0-9.]+) ratio/\1/p' "$dir/first")" ] &&
		out_has "  $dir/c.safetensors" && out_has "  $model"
}
all_folds_are_more_than_one() {
	jq -e -s '.[0].models[0].flows.known > .[1].models[0].flows.known' "$dir/d.json" "$dir/1.json" >/dev/null
}
cap_limits_a_class() {
	run 0 eval -m $model -d "$set" --cap 2 --json "$dir/cap.json" &&
		jq_holds "$dir/cap.json" '[.models[0].classes[].support] | max == 2' &&
		jq_holds "$dir/cap.json" '.set.over_cap > 0'
}
validation_can_be_chosen() {
	run 0 eval -m $model -d "$set" --fold 2 --validation 1 &&
		out_has "measured on fold 2 of 3, fitted on fold 1"
}
# A model says which fold its training kept back; another one is warned of.
training_folds_are_known() {
	run 0 finetune --data "$set" --output "$dir/t.safetensors" --fold 1 --set architecture.embed_dim=16 \
		--set architecture.depth=1 --set schedule.epochs=1 --set schedule.warmup_epochs=0 || return 1
	run 0 eval -m "$dir/t.safetensors" -d "$set" --json "$dir/t.json" || return 1
	out_has "measured on fold 1 of 3, fitted on fold 2" && ! grep -q WARNING "$dir/out" || return 1
	run 0 eval -m "$dir/t.safetensors" -d "$set" --fold 0 && out_has "WARNING"
}
usage_is_2() {
	run 2 eval -d "$set" && err_has "which model?" || return 1
	run 2 eval -m $model && err_has "which data set?" || return 1
	run 2 eval -m $model -d "$set" --fold 3 && err_has "folds 0 to 2; there is no fold 3" || return 1
	run 2 eval -m $model -d "$set" --fold 1 --validation 1 && err_has "cannot test and validate" || return 1
	run 2 eval -m $model -d "$set" --precision 95 && err_has "--precision 95: must be above 0" || return 1
	run 2 eval -m $model -d "$set" --split train && err_has "test, validation or all" || return 1
	run 2 eval -m $model -d "$set" --split all --calibrate "$dir/x" && err_has "nothing is fitted" || return 1
	run 2 eval -m $model -d "$set" --threads 0 && err_has "--threads 0" || return 1
	run 2 eval -m $model -d "$set" stray && err_has '"stray"'
}
failures_are_1() {
	run 1 eval -m "$dir/none" -d "$set" && err_has "none" || return 1
	run 1 eval -m $model -d $model && err_has "$model" || return 1
	run 1 eval -m $model -d "$set" --html "$dir/no/such.html" && err_has "no/such.html: No such file" || return 1
	run 1 eval -m $model -d "$set" --json /dev/full && err_has "/dev/full" || return 1
	run 1 eval -m $model -d "$set" --html /dev/full && err_has "/dev/full"
}
narrow_set_is_refused() {
	run 0 dataset --folds 3 --packets 5 --labels tests/captures/open/labels.tsv \
		--captures tests/captures/open -o "$dir/narrow.nmd" || return 1
	run 1 eval -m $model -d "$dir/narrow.nmd" && err_has "build a wider set"
}

check a_set_of_captures_is_made set_is_made
check figures_are_the_last_lines figures_are_last
check the_json_adds_up json_adds_up
check all_packets_are_the_whole_flow_and_one_tells_less packets_end_with_all
check the_page_is_whole_and_needs_nothing_else page_is_whole
check the_number_of_threads_changes_nothing threads_change_nothing
check a_calibrated_model_carries_what_was_fitted calibrated_model_carries_it
check calibration_leaves_the_weights_as_they_are calibration_leaves_the_weights
check all_folds_hold_more_than_one all_folds_are_more_than_one
check cap_limits_the_flows_of_a_class cap_limits_a_class
check the_validation_fold_can_be_chosen validation_can_be_chosen
check the_fold_that_training_kept_back_is_the_default_and_others_are_warned_of training_folds_are_known
check mistakes_of_usage_are_2 usage_is_2
check what_cannot_be_read_or_written_is_1 failures_are_1
check a_set_that_holds_less_than_the_model_sees_is_refused narrow_set_is_refused
echo "1..$n"
