#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `nmtrain export` and `nmtrain import` against `nmctl model verify` and the golden logits: TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
[ "${build#/}" != "$build" ] || build=$PWD/$build
n=0

for program in nmtrain nmctl; do
	if [ ! -x "$build/$program" ]; then
		echo "1..0 # SKIP no $build/$program: make it, or name its folder with BUILD"
		exit 0
	fi
done
PATH=$build:$PATH
golden=tests/golden
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

claim() { # TEXT STATUS: what was said is in $dir/said
	n=$((n + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		sed 's/^/# /' "$dir/said"
	fi
}

says() { # STATUS TEXT COMMAND...: ends so, and says that
	local want=$1 text=$2 got
	shift 2
	"$@" >"$dir/said" 2>&1
	got=$?
	echo "status $got, wanted $want and: $text" >>"$dir/said"
	[ "$got" -eq "$want" ] && head -n -1 "$dir/said" | grep -qF -- "$text"
}

deviation_below() { # LIMIT MODEL: of tiny's golden logits, relative
	nmctl model verify "$2" --vectors $golden/tiny.io.safetensors >"$dir/said" 2>&1
	awk -v limit="$1" '/^figure logits_deviation/ { seen = $3 < limit } END { exit !seen }' "$dir/said"
}

# A state as PyTorch's users save it: the tensors of a golden file without its metadata, or those of
# an attention network, which no golden file has.
make_states() {
	python3 - "$dir" <<-'EOF'
		import json, struct, sys
		def read(name):
		    raw = open("tests/golden/%s.weights.safetensors" % name, "rb").read()
		    size, = struct.unpack("<Q", raw[:8])
		    return json.loads(raw[8:8 + size]), raw[8 + size:]
		def write(name, header, data):
		    header.pop("__metadata__", None)
		    text = json.dumps(header).encode()
		    with open("%s/%s.state" % (sys.argv[1], name), "wb") as f:
		        f.write(struct.pack("<Q", len(text)) + text + data)
		for name in "tiny", "tiny-bi", "tiny-pretrain":
		    write(name, *read(name))
		header, data = read("tiny")
		write("nan", header, data[:-4] + struct.pack("<f", float("nan")))
		D, shapes = 8, {"pos_embed": [1, 443, 8], "byte_embed.proj.weight": [8, 1, 4],
		                "byte_embed.proj.bias": [8], "norm_f.weight": [8], "head.weight": [3, 8]}
		for modality in "byte", "size", "iat":
		    shapes[modality + "_cls_token"] = shapes[modality + "_indicator"] = [1, 1, D]
		for name, shape in (("norm.weight", [D]), ("mixer.in_proj.weight", [3 * D, D]),
		                    ("mixer.out_proj.weight", [D, D]), ("norm2.weight", [D]),
		                    ("mlp.fc1.weight", [4 * D, D]), ("mlp.fc2.weight", [D, 2 * D])):
		    shapes["encoder_blocks.0." + name] = shape
		header, data = {}, b""
		for name, shape in shapes.items():
		    count = 1
		    for size in shape:
		        count *= size
		    values = struct.pack("<%df" % count, *(((i * 37) % 101 - 50) / 100 for i in range(count)))
		    header[name] = {"dtype": "F32", "shape": shape,
		                    "data_offsets": [len(data), len(data) + len(values)]}
		    data += values
		write("attention", header, data)
	EOF
	echo '{"tokens": {"direction": "uni", "packets": 5, "header_bytes": 80, "payload_bytes": 80,
	       "seq_len": 20}}' >"$dir/tiny.json"
}

export_as() { # TYPE
	nmtrain export $golden/tiny.weights.safetensors --type "$1" -o "$dir/$1" >"$dir/said" 2>&1
}

size_of() {
	stat -c %s "$dir/$1"
}

echo 1..22
make_states

export_as f32 && deviation_below 1e-6 "$dir/f32"
claim f32_gives_the_same_logits $?
export_as f16 && deviation_below 2e-3 "$dir/f16"
claim f16_gives_nearly_the_same_logits $?
export_as bf16 && deviation_below 2e-2 "$dir/bf16"
claim bf16_gives_nearly_the_same_logits $?
export_as int8 && deviation_below 2e-2 "$dir/int8"
claim int8_gives_nearly_the_same_logits $?
[ "$(size_of int8)" -lt "$(size_of f16)" ] && [ "$(size_of f16)" -lt "$(size_of f32)" ]
claim fewer_bits_make_smaller_files $?
says 0 "its weights differ by 0 of their norm" nmtrain export "$dir/int8" --type f32 -o "$dir/wide"
claim a_reduced_model_is_expanded_without_loss $?
nmtrain export model/weights/bootstrap.safetensors --type int8 -o "$dir/boot" >"$dir/said" 2>&1 &&
	nmctl model show "$dir/boot" -o json >"$dir/said" &&
	python3 -c 'import json, sys; m = json.load(open(sys.argv[1])); assert "figures" not in m
assert m["training"]["exported"]["type"] == "int8" and m["training"]["exported"]["source_figures"]' "$dir/said"
claim figures_of_the_source_are_not_claimed_for_other_weights $?

says 2 "add --type" nmtrain export "$dir/f32" -o "$dir/x"
claim export_asks_for_the_type $?
says 2 '"int4" is none of f32, f16, bf16, int8' nmtrain export "$dir/f32" -o "$dir/x" --type int4
claim a_type_that_is_not_known_is_refused $?
says 1 "cannot open" nmtrain export "$dir/none" -o "$dir/x" --type f16
claim a_model_that_is_not_there_is_an_error $?
before=$(sha256sum <"$dir/f16")
# A limit on sizes stands for the full disk.
says 1 "cannot write: File too large" bash -c "trap '' XFSZ; ulimit -f 40; nmtrain export '$dir/int8' -o '$dir/f16' --type f32" &&
	[ "$before" = "$(sha256sum <"$dir/f16")" ] && [ -z "$(ls "$dir" | grep tmp)" ]
claim a_full_disk_leaves_the_old_file $?

says 0 "a classifier of mamba, D 64, depth 2" nmtrain import "$dir/tiny.state" -m "$dir/tiny.json" \
	-c web,dns,tor,ssh,p2p -o "$dir/tiny" && deviation_below 1e-5 "$dir/tiny"
claim an_official_state_gives_the_golden_logits $?
says 0 "depth 2, 503 tokens, 5 classes" nmtrain import "$dir/tiny-bi.state" --tokens bi -o "$dir/bi" &&
	says 0 "largest deviation" nmctl model verify "$dir/bi" --vectors $golden/tiny-bi.io.safetensors
claim a_preset_tells_what_an_official_model_reads $?
says 2 "add --tokens uni or bi" nmtrain import "$dir/tiny.state" -o "$dir/x"
claim import_asks_what_the_model_reads $?
says 1 "pos_embed is 1 x 243 x 64; the network is to have 1 x 443 x 64: are the tokens its own?" \
	nmtrain import "$dir/tiny.state" --tokens uni -o "$dir/x"
claim tokens_that_do_not_fit_are_refused $?
says 1 "head.weight is 5 x 64; the network is to have 2 x 64: name as many classes" \
	nmtrain import "$dir/tiny.state" -m "$dir/tiny.json" -c web,dns -o "$dir/x"
claim too_few_class_names_are_refused $?
says 2 "add --heads N" nmtrain import "$dir/attention.state" --tokens uni -o "$dir/x"
claim import_asks_for_attention_heads $?
says 0 "a classifier of attention, D 8, depth 1, 443 tokens, 3 classes" nmtrain import \
	"$dir/attention.state" --tokens uni --heads 2 -o "$dir/attention" &&
	says 0 "every tensor has its name" nmctl model verify "$dir/attention"
claim an_attention_network_is_seen_in_its_shapes $?
says 0 "note: 21 tensors of the pre-training's decoders are left out" nmtrain import \
	"$dir/tiny-pretrain.state" -m "$dir/tiny.json" -o "$dir/encoder"
claim a_pretraining_state_becomes_an_encoder $?
nmtrain dataset --labels tests/captures/open/labels.tsv --captures tests/captures/open -o "$dir/set.nmd" \
	>"$dir/said" 2>&1 && says 0 macro-F1 nmtrain finetune --data "$dir/set.nmd" --output "$dir/tuned" \
	--from "$dir/encoder" --set schedule.epochs=1 --set schedule.warmup_epochs=0 &&
	says 0 "every tensor has its name" nmctl model verify "$dir/tuned"
claim an_imported_encoder_is_tuned_further $?
says 1 "head.weight: value 319 is not finite" nmtrain import "$dir/nan.state" -m "$dir/tiny.json" -o "$dir/x"
claim weights_that_are_not_finite_are_refused $?
says 1 "is a file of nmtrain already" nmtrain import "$dir/tiny" --tokens uni -o "$dir/x" && [ ! -e "$dir/x" ]
claim a_model_file_is_not_imported_again $?
