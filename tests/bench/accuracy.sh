#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `make bench-accuracy`: a network trained from SETTINGS beside a random forest, on the same flows of
# the same folds: macro-F1, accuracy, and how unknown flows are told. Each fold of FOLDS tests once;
# the one after it validates, the others train.
#
#   SET=FILE.nmd, or CAPTURES=DIR and LABELS=FILE (default DIR/labels.tsv)
#   SETTINGS=FILE.conf  OVERRIDES="SECTION.KEY=VALUE ..." over it
#   PRETRAIN=yes: begin with an encoder made as [pretrain] there says
#
# Training takes minutes a fold, so models are kept, in a folder of their own for each set and
# settings, and a run that was interrupted goes on where it was. The folder is named at the start:
# remove it to train anew, as after a change of the trainer.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
NMTRAIN=$BUILD/nmtrain
PYTHON=/usr/bin/python3 # Debian's, which has Debian's scikit-learn
SET=${SET:-}
CAPTURES=${CAPTURES:-}
LABELS=${LABELS:-$CAPTURES/labels.tsv}
SETTINGS=${SETTINGS:-model/settings/nano.conf}
PRETRAIN=${PRETRAIN:-}
set_words=()
for word in ${OVERRIDES:-}; do
	set_words+=(--set "$word")
done
read -ra FOLDS <<<"${FOLDS:-0 1 2 3 4}"

give_up() { # STATUS TEXT
	echo "bench-accuracy: $2" >&2
	exit "$1"
}

short_hash() { sha256sum | cut -c 1-12; }

# Same names, sizes, times and labels: the same set.
set_of_captures() {
	local key
	key=$({
		find "$CAPTURES" -type f -printf '%P %s %T@\n' | LC_ALL=C sort
		cat "$LABELS"
	} | short_hash)
	SET=$BUILD/accuracy/captures-$key.nmd
	[ -e "$SET" ] || "$NMTRAIN" dataset --labels "$LABELS" --captures "$CAPTURES" -o "$SET" ||
		give_up 1 "no data set of $CAPTURES"
}

# COMMAND OUTPUT FOLD OPTION...: from the checkpoint of a run that was interrupted, if there is one.
train() {
	local command=$1 output=$2 fold=$3
	shift 3
	[ ! -e "$output" ] || return 0
	[ ! -e "$output.checkpoint" ] || set -- --resume
	"$NMTRAIN" "$command" --data "$SET" --settings "$SETTINGS" --fold "$fold" --output "$output" \
		"${set_words[@]}" "$@" \
		>/dev/null || give_up 1 "fold $fold: nmtrain $command did not end well"
}

run_fold() { # FOLD
	local base=$WORK/fold-$1 from=()
	if [ -n "$PRETRAIN" ]; then
		train pretrain "$base.encoder.safetensors" "$1"
		from=(--from "$base.encoder.safetensors")
	fi
	train finetune "$base.safetensors" "$1" "${from[@]}"
	if [ ! -e "$base.json" ]; then
		"$NMTRAIN" eval --model "$base.safetensors" --data "$SET" --fold "$1" --threads "$(nproc)" \
			--json "$base.json.part" >"$base.txt" || give_up 1 "fold $1: nmtrain eval failed"
		mv "$base.json.part" "$base.json"
	fi
	"$PYTHON" tests/bench/accuracy_forest.py fold "$1" "$WORK" "$WORK/dump.safetensors" || exit 1
}

mkdir -p "$BUILD/accuracy" || exit 1
if [ -z "$SET" ]; then
	[ -r "$LABELS" ] ||
		give_up 2 "which flows? make bench-accuracy SET=FILE.nmd, or CAPTURES=DIR LABELS=FILE"
	set_of_captures
fi
[ -r "$SET" ] || give_up 2 "$SET cannot be read"
settings=$("$NMTRAIN" finetune --print-settings --settings "$SETTINGS" \
	"${set_words[@]}") || exit 2
WORK=$BUILD/accuracy/$({ cat "$SET" && echo "$settings $PRETRAIN"; } | short_hash)
mkdir -p "$WORK" || exit 1
echo "models and reports: $WORK"
"$NMTRAIN" dataset dump "$SET" -o "$WORK/dump.safetensors" || exit 1
for fold in "${FOLDS[@]}"; do
	run_fold "$fold"
done
"$PYTHON" tests/bench/accuracy_forest.py sum "$WORK" "${FOLDS[@]}"
