#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The built program: exit statuses, what goes to which stream, and the whole line from captures to a
# model: TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/nmtrain/lib.sh

help_is_printed() { run 0 --help && out_has "usage: nmtrain COMMAND" && [ ! -s "$dir/err" ]; }
version_is_printed() { run 0 --version && out_has "nmtrain 0."; }
every_command_has_help() {
	local command
	run 0 help || return 1
	for command in $(sed -nE 's/^  ([a-z]+) .*/\1/p' "$dir/out"); do
		[ "$command" = help ] && continue
		run 0 help "$command" && out_has "usage: nmtrain $command" || return 1
		run 0 "$command" --help && out_has "usage: nmtrain $command" || return 1
	done
}
no_command_is_2() { run 2 && err_has "which command?" && [ ! -s "$dir/out" ]; }
mistyped_is_2() { run 2 finetun && err_has 'nmtrain: unknown command "finetun"; did you mean "finetune"?'; }
far_off_is_2() { run 2 xyzzy && err_has '`nmtrain help` lists them'; }
help_of_nothing_is_2() { run 2 help xyzzy && err_has "unknown command"; }
option_is_2() {
	run 2 finetune --threds 3 && err_has "unknown option --threds; did you mean --threads?" &&
		err_has "usage: nmtrain finetune" || return 1
	run 2 finetune -q && err_has "unknown option -q" || return 1
	run 2 finetune --seed && err_has "needs a value: --seed N" || return 1
	run 2 finetune --seed=x && err_has '"x" is no whole number' || return 1
	run 2 finetune --resume=yes && err_has "option --resume takes no value"
}
failure_is_1() { run 1 finetune -d /nonexistent.nmd -o "$dir/m" && err_has "nmtrain: " && [ ! -s "$dir/out" ]; }
full_output_is_1() { "$build/nmtrain" help >/dev/full 2>"$dir/err"; [ $? -eq 1 ] && err_has "writing the output failed"; }
settings_print() {
	run 0 finetune --print-settings --set schedule.epochs=27 && out_has "epochs = 27" || return 1
	cp "$dir/out" "$dir/a.conf"
	run 0 finetune --settings "$dir/a.conf" --print-settings && cmp "$dir/out" "$dir/a.conf"
}
settings_help() { run 0 pretrain --help-settings && out_has "[architecture]" && out_has "(mamba or attention)"; }
settings_mistake() {
	printf '[schedule]\nepoch = 3\n' >"$dir/b.conf"
	run 1 finetune -s "$dir/b.conf" -d "$dir/s.nmd" -o "$dir/m" &&
		err_has "$dir/b.conf:2: [schedule] has no epoch; did you mean epochs?"
}
captures_to_model() {
	run 0 dataset --labels tests/captures/open/labels.tsv --captures tests/captures/open \
		-o "$dir/s.nmd" || return 1
	run 0 finetune -d "$dir/s.nmd" -o "$dir/m.safetensors" --set schedule.epochs=2 \
		--set schedule.warmup_epochs=1 --set tokens.packets=2 --set tokens.seq_len=8 \
		--set tokens.packed=on || return 1
	out_has "m.safetensors: macro-F1" && err_has "epoch 2/2 100%  loss"
}
no_terminal_codes() { ! grep -q "$(printf '\r')" "$dir/err"; }
on_a_terminal() {
	script -qec "'$build/nmtrain' finetune -d '$dir/s.nmd' -o '$dir/t.safetensors' \
		--set schedule.epochs=1 --set schedule.warmup_epochs=0 --set tokens.packets=2 \
		--set tokens.seq_len=8" /dev/null >"$dir/out" 2>"$dir/err" </dev/null || return 1
	out_has "$(printf '\r')epoch 1/1 [########"
}

echo 1..16
check help_is_printed_on_standard_output help_is_printed
check the_version_is_printed version_is_printed
check every_command_tells_how_it_is_used every_command_has_help
check no_command_is_a_usage_error no_command_is_2
check a_mistyped_command_is_told_the_nearest mistyped_is_2
check a_command_far_from_any_is_told_where_they_are_listed far_off_is_2
check help_of_an_unknown_command_is_a_usage_error help_of_nothing_is_2
check a_wrong_option_is_a_usage_error_with_the_usage option_is_2
check a_failure_is_1_and_told_on_standard_error failure_is_1
check an_output_that_cannot_be_written_is_a_failure full_output_is_1
check printed_settings_read_back settings_print
check settings_are_explained settings_help
check a_mistake_in_a_settings_file_is_told_by_line settings_mistake
check captures_become_a_model captures_to_model
check off_a_terminal_lines_are_plain no_terminal_codes
check on_a_terminal_the_line_is_redrawn_with_a_bar on_a_terminal
