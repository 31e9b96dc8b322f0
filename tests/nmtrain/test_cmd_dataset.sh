#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `nmtrain dataset` as people use it: TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
[ "${build#/}" != "$build" ] || build=$PWD/$build
nmtrain=$build/nmtrain
open=tests/captures/open
n=0

if [ ! -x "$nmtrain" ]; then
	echo "1..0 # SKIP no $nmtrain: make it, or name its folder with BUILD"
	exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

run() { # ARGUMENT...: what it said is in $dir/out and $dir/err
	"$nmtrain" dataset "$@" >"$dir/out" 2>"$dir/err"
	status=$?
}
says() { # FILE WORDS
	grep -qF -- "$2" "$dir/$1"
}
claim() { # NAME COMMAND...
	local name=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - $name"
		return
	fi
	echo "not ok $n - $name"
	echo "# status $status"
	sed 's/^/# /' "$dir/out" "$dir/err"
}
exited() { [ "$status" -eq "$1" ]; }
set_query() { # FILE.nmd JQ-EXPRESSION EXPECTED
	[ "$("$nmtrain" dataset show "$1" -o json | jq -c "$2")" = "$3" ]
}

echo 1..20

run --labels $open/labels.tsv --source 'suricata-*=suricata' --source others --captures $open -o "$dir/a.nmd"
claim labelled_captures_make_a_set exited 0
claim classes_are_told says out remote-desktop
# Counted by another program: rows of the table whose capture is there, once for each five-tuple.
rows=$(awk -F'\t' 'NR > 1 && $8 == "remote-desktop"' $open/labels.tsv | wc -l)
claim every_row_is_a_flow set_query "$dir/a.nmd" '.classes[] | select(.class == "remote-desktop").flows' "$rows"
claim a_flow_without_a_row_has_no_class set_query "$dir/a.nmd" '.classes[0].class' null
claim sources_go_by_the_files_names set_query "$dir/a.nmd" '[.sources[].source] | sort' '["others","suricata"]'
claim counts_add_up set_query "$dir/a.nmd" '([.classes[].flows] | add) == .flows and ([.classes[].folds[]] | add) == .flows' true
claim the_checksum_is_the_files set_query "$dir/a.nmd" '.sha256' "\"$(sha256sum <"$dir/a.nmd" | cut -d' ' -f1)\""

run --labels $open/labels.tsv --captures $open -o "$dir/b.nmd" --seed 1 --labelled-only
claim flows_without_a_class_can_be_left_out set_query "$dir/b.nmd" '[.classes[] | select(.class == null)] | length' 0

run --class tor --captures tests/captures/lab/tor --class udp/53=dns --class mail --captures tests/captures/lab/mail -o "$dir/c.nmd"
claim a_folder_has_the_class_that_stands_before_it set_query "$dir/c.nmd" '[.classes[].class] - ["dns"]' '["mail","tor"]'
claim its_source_is_its_name set_query "$dir/c.nmd" '[.sources[].source] | sort' '["mail","tor"]'

run --captures tests/captures/lab -o "$dir/d.nmd" --folds 1
claim folders_are_walked_with_those_below_them set_query "$dir/d.nmd" '[.sources[].source] | contains(["bittorrent", "wireguard"])' true
claim captures_alone_make_a_set_for_pre_training set_query "$dir/d.nmd" '[.classes[].class]' '[null]'

mkdir "$dir/bad" && cp $open/rdp3.pcap $open/smtps.pcapng "$dir/bad" && cp $open/rdp3.pcap "$dir/bad/same.pcap" &&
	head -c 1000 $open/hls.pcapng >"$dir/bad/cut.pcapng" && echo hello >"$dir/bad/notes.txt"
run --captures "$dir/bad" -o "$dir/e.nmd"
claim a_broken_capture_is_told_by_name says err bad/cut.pcapng
claim a_copy_is_told_by_both_names says err "same.pcap: the same as rdp3.pcap"
claim what_was_readable_is_used exited 0
run --captures "$dir/bad" -o "$dir/f.nmd" --strict
claim strict_fails_at_a_broken_capture eval 'exited 1 && [ ! -e "$dir/f.nmd" ]'

run --captures $open --class tor -o "$dir/g.nmd"
claim an_option_that_belongs_to_no_captures_is_a_mistake eval 'exited 2 && says err "no --captures follows"'
run --captures "$dir/none" -o "$dir/g.nmd"
claim a_folder_that_is_not_there_is_named eval 'exited 1 && says err "$dir/none: No such file"'
head -c 2000 "$dir/a.nmd" >"$dir/cut.nmd"
run show "$dir/cut.nmd"
claim a_damaged_set_is_refused eval 'exited 1 && says err "not a good data set"'
run dump "$dir/a.nmd" -o "$dir/a.safetensors" --packets 3
claim a_dump_holds_every_flow eval 'exited 0 && head -c 4000 "$dir/a.safetensors" | grep -aq "\[$("$nmtrain" dataset show "$dir/a.nmd" -o json | jq .flows),3,160\]"'
