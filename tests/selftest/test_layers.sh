#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# tests/layers.sh itself: it must see a breach, and let a rightful include pass.
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/tests" "$dir/maps" "$dir/agent/wire" "$dir/agent/nmd"
cp tests/layers.sh "$dir/tests/"
cp tests/layers.txt "$dir/tests/"
n=0

# CLAIM STATUS FILE INCLUDE
holds() {
	local got status
	n=$((n + 1))
	printf '/* one */\n#include %s\n' "$4" >"$dir/$3"
	got=$("$dir/tests/layers.sh" tests/layers.txt "$3")
	status=$?
	if [ "$status" -eq "$2" ] && { [ "$2" -eq 0 ] || [[ $got == "$3:2: "* ]]; }; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		printf 'expected status %s, got %s: %s\n' "$2" "$status" "$got" | sed 's/^/# /'
	fi
}

holds a_layer_may_include_what_the_table_names 0 agent/wire/a.c '"model/error.h"'
holds a_layer_may_include_itself 0 agent/wire/a.c '"agent/wire/b.h"'
holds a_neighbour_is_a_breach 1 agent/wire/a.c '"agent/event/event.h"'
holds a_file_of_a_folder_does_not_open_the_folder 1 agent/wire/a.c '"model/decide.h"'
holds nothing_in_maps_looks_up 1 maps/a.h '"model/error.h"'
holds a_name_that_begins_like_a_layer_is_not_that_layer 1 agent/nmd/a.c '"agent/flowers/a.h"'
holds an_include_that_is_not_from_the_root_is_a_breach 1 agent/wire/a.c '"wire.h"'
holds a_library_has_one_file 1 agent/nmd/a.c '<sqlite3.h>'
holds and_that_file_may_use_it 0 agent/nmd/store.c '<sqlite3.h>'
echo "1..$n"
