#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What nmtrain trains is served as it is: a small data set, two networks of unlike shapes, each
# fine-tuned for a few seconds, calibrated, exported, and run by nmd on replayed captures.
#
# The networks were trained on the flows that they are asked about: claims are about serving them,
# not about what they know.
. "$(dirname "$0")/lib.sh"
NMTRAIN=$BUILD/nmtrain
DEMO=$CAPTURES/demo
TRAIN_LIMIT_S=60

# ---- what is served -------------------------------------------------------------------------------
make_set() {
	"$NMTRAIN" dataset --folds 2 --packets 6 --header-bytes 128 --payload-bytes 256 --seq-len 30 \
		--labels "$CAPTURES/open/labels.tsv" --captures "$CAPTURES/open" --class http --captures "$DEMO/http.pcap" \
		--class tls --captures "$DEMO/tls.pcap" --class tor --captures "$DEMO/tor.pcap" \
		--class p2p --captures "$DEMO/bittorrent.pcap" --class voip --captures "$DEMO/voip.pcapng" \
		--class quic --captures "$DEMO/quic.pcap" --class openvpn --captures "$DEMO/openvpn.pcap" \
		--class dns --captures "$DEMO/dns.pcap" --labelled-only -o "$WORK/set.nmd"
}

# finetune NAME SETTING...: no fold is kept back, since none is to be measured on.
finetune() {
	local name=$1 setting
	shift
	for setting; do set -- "$@" --set "$setting"; shift; done
	timeout "$TRAIN_LIMIT_S" "$NMTRAIN" finetune --data "$WORK/set.nmd" --output "$WORK/$name" --fold none \
		--validation none --threads 1 --set schedule.warmup_epochs=1 --set schedule.batch=16 \
		--set optimiser.layer_decay=1 --set loss.scale=10 \
		--set loss.balanced=off "$@"
}
# A replay's packets are sent and seen microseconds apart, which is much on a logarithmic scale: times
# are jittered in training so that little hangs on them, and `blind` is the network to which they say
# nothing, so that all else can be compared to the digit.
train_mamba() {
	finetune mamba architecture.embed_dim=32 architecture.depth=1 architecture.byte_embedding=table \
		architecture.value_embedding=projected tokens.packed=on tokens.iat_scale=log tokens.packets=6 \
		tokens.seq_len=30 schedule.epochs=12 augment.time_jitter=1 augment.time_jitter_deviation=5 \
		optimiser.learning_rate=3e-2
}
make_blind() {
	python3 - "$WORK/mamba" "$WORK/blind" <<-'EOF'
		import json, struct, sys
		raw = bytearray(open(sys.argv[1], "rb").read())
		size, = struct.unpack("<Q", raw[:8])
		begin, end = json.loads(raw[8:8 + size])["iat_embed.proj.weight"]["data_offsets"]
		assert any(raw[8 + size + begin:8 + size + end])
		raw[8 + size + begin:8 + size + end] = bytes(end - begin)
		open(sys.argv[2], "wb").write(raw)
	EOF
}
# As many bytes of a packet as a record can have; one packet of a flow, where the other has six.
train_attention() {
	finetune attention architecture.backbone=attention architecture.embed_dim=16 architecture.heads=2 \
		architecture.depth=1 tokens.packets=1 tokens.header_bytes=128 tokens.payload_bytes=256 \
		tokens.seq_len=12 schedule.epochs=6 \
		optimiser.learning_rate=1e-1
}
# trained CLAIM COMMAND: a machine that is too busy to train is not asked for more.
trained() {
	"$2" >"$WORK/check.out" 2>&1
	case $? in
	0) ok "$1" ;;
	124)
		skip "$1" "not done after $TRAIN_LIMIT_S s: there is too little CPU time here"
		finish
		;;
	*) not_ok "$1" "$(tail -n 20 "$WORK/check.out")" ;;
	esac
}
calibrate() { # NAME
	"$NMTRAIN" eval --model "$WORK/$1" --data "$WORK/set.nmd" --fold 0 --validation 1 \
		--precision 0.8 --calibrate "$WORK/$1.calibrated"
}
export_as() { # TYPE NAME
	"$NMTRAIN" export "$WORK/$2.calibrated" --type "$1" -o "$WORK/$1"
}

# ---- what is said of flows ------------------------------------------------------------------------
say_offline() { "$NMCTL" classify --model "$1" -o json "$WORK/sent.pcap" | jq -c 'select(.src)' >"$WORK/offline"; }
say_live() { nmctl -o json flows limit=1000 | jq -c 'select(.src and .provisional != true)' >"$WORK/live"; }

# Flows of which the two say different things, with what they say; the newest word counts.
differing() { # FLOWS TOLERANCE: flows of which this filter holds offline
	jq -nc --slurpfile offline "$WORK/offline" --slurpfile live "$WORK/live" --argjson tolerance "$2" '
		def flow: "\(.proto) \(.src):\(.sport) > \(.dst):\(.dport)";
		def said: {class, decided_by, confidence};
		(reduce $live[] as $l ({}; .[$l | flow] = ($l | said))) as $live | $offline[] |
		select('"$1"') | flow as $flow | said as $o | $live[$flow] as $l |
		select($l == null or $l.class != $o.class or $l.decided_by != $o.decided_by or
			($l.confidence - $o.confidence | fabs) > $tolerance) | {$flow, live: $l, offline: $o}'
}
live_agrees() {
	local found
	say_live
	found=$(differing "$@") && [ -z "$found" ]
}
# agrees CLAIM FLOWS TOLERANCE: flows without an end are judged when they have been idle.
agrees() {
	if wait_for 30 live_agrees "$2" "$3"; then
		ok "$1"
	else
		not_ok "$1" "$(differing "$2" "$3")"
	fi
}

# send_and_say MODEL SHIFT [REPLAY-OPTION...]: the demonstration's captures as new flows.
send_and_say() {
	local model=$1 shift=$2
	shift 2
	replay --speed 8 --max-gap 100 --shift "$shift" "$@" --write "$WORK/sent.pcap" "$DEMO"/*.pcap* >"$WORK/crossed"
	say_offline "$model"
}

# ---- classes --------------------------------------------------------------------------------------
# Of the classes that flows of the replay were judged to be: the one with the most packets that
# calibration trusts the model with, and one that it does not. No safety net is to be in the way.
class_where() { # FILTER
	jq -sr --argjson classes "$(nmctl -o json classes | jq -sc "map(select(.in_model and (.protected | not) and $1) |
		.class)")" 'map(select(.decided_by == "class" and (.class | IN($classes[])))) | group_by(.class) |
		max_by(map(.packets) | add) | .[0].class // empty' "$WORK/offline"
}
acted_on() { class_where '(.watch_only | not)'; }
watched() { class_where '.watch_only'; }
refused() { # PATTERN COMMAND...: it fails, and says that
	local pattern=$1
	shift
	! "$@" >"$WORK/said" 2>&1 || return 1
	cat "$WORK/said"
	grep -qE "$pattern" "$WORK/said"
}
n_unlike() { jq -s "map($1) | unique | length" "$WORK/offline"; }
no_rules() {
	local id
	for id in $(nmctl -o json policy show | jq -r '.id // empty'); do
		nmctl policy remove "$id" >/dev/null || return 1
	done
}
# Packets of flows that are of the class, or that are not, `sent` or `arrived` in the last replay.
packets_of() { # ==|!= MEMBER
	jq -n --slurpfile offline "$WORK/offline" --slurpfile crossed "$WORK/crossed" --arg class "$acted_on" '
		def flow: "\(.proto) \(.src):\(.sport) > \(.dst):\(.dport)";
		[$offline[] | select(.class == $class and .decided_by == "class") | flow] as $flows |
		[$crossed[] | select(.flow and (flow | IN($flows[])) '"$1"' true) | .'"$2"'] | add // 0'
}

# ---- the claims -----------------------------------------------------------------------------------
[ -x "$NMTRAIN" ] || skip_all "$NMTRAIN is not built"
command -v python3 >/dev/null || skip_all "there is no python3"
net_begin
net_quiet
check "captures become a data set" make_set
trained "a mamba network with every option is trained" train_mamba
trained "an attention network of another shape is trained" train_attention
((N_FAILED == 0)) || finish
make_blind || not_ok "a network is made blind to times"
check "the mamba network is calibrated" calibrate mamba
check "a network that is blind to times is calibrated" calibrate blind
check "the attention network is calibrated" calibrate attention
check "a model is exported as int8" export_as int8 blind
check "a model is exported as f16" export_as f16 mamba
((N_FAILED == 0)) || finish

MODEL=$WORK/int8
nmd_begin --set fail_open_s=60 --set idle_s=3
send_and_say "$MODEL" 0
check_that "the captures hold flows of many classes" "$(n_unlike .class) >= 5"
agrees "flows are judged live by an int8 model as they are offline, to the digit" 'true' 0.001

acted_on=$(acted_on) watched=$(watched)
check_that "calibration trusts the model with a class of these flows, and not with another" \
	"${#acted_on} > 0 && ${#watched} > 0"
check "a class that calibration marks watch-only is not blocked, and why is said" \
	refused 'watch only.*add force' nmctl policy block "class=$watched"
check "it is blocked by force" nmctl policy block "class=$watched" force
no_rules
check "a class that calibration trusts is blocked" nmctl policy block "class=$acted_on"
replay --speed 8 --max-gap 100 --without-syn "$DEMO"/*.pcap* >"$WORK/crossed"
check_that "its flows were sent again" "$(packets_of '==' sent) > 0"
check_equal "not a packet of its flows passes" 0 "$(packets_of '==' arrived)"
check_equal "every packet of the other flows passes" "$(packets_of '!=' sent)" "$(packets_of '!=' arrived)"

model_with "$WORK/f16" "$WORK/doubtful" ".calibration.watch_only |= (. + [\"$acted_on\"] | unique)"
check "a model that is not trusted with a blocked class is refused by the rule's name" \
	refused "block class=$acted_on:.*watch only" nmctl model load "$WORK/doubtful"
no_rules
check "with the rule gone it is loaded" nmctl model load "$WORK/doubtful"

check "an attention network of another shape is loaded" nmctl model load "$WORK/attention.calibrated"
send_and_say "$WORK/attention.calibrated" 1
check_that "it is not as sure of one flow as of another" "$(n_unlike '.confidence * 100 | floor') >= 5"
agrees "flows are judged live by the attention network as they are offline" 'true' 0.001

check "the f16 model is loaded, and records have the first shape again" nmctl model load "$WORK/f16"
send_and_say "$WORK/f16" 2
check_that "it is sure of many flows" "$(jq -s 'map(select(.confidence > 0.95)) | length' "$WORK/offline") >= 5"
agrees "flows that it is sure of are of the same class live, for all that times differ" \
	'.confidence > 0.95' 1
check_equal "no record was lost on the way" 0 "$(status_of '.agent.records_missing + .counters.ring_full.packets')"

loaded=$(status_of .model.sha256)
model_with "$WORK/attention.calibrated" "$WORK/wide" '.tokens.header_bytes = 132'
check "a model that wants more of a packet than a record holds is refused, and the most is said" \
	refused 'header_bytes.*128' nmctl model load "$WORK/wide"
check_equal "a refused model leaves the one that was" "$loaded" "$(status_of .model.sha256)"
finish
