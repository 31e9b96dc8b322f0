# SPDX-License-Identifier: BSD-2-Clause
# NetMamba host agent. `make help` lists the targets.

BUILD   ?= build
VARIANT ?= release
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
VERSION := 0.1.0

MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
CPPFLAGS += -I. -I$(BUILD) -D_GNU_SOURCE -DNM_VERSION='"$(VERSION)"'
ALL_CFLAGS = -std=gnu17 $(WARN) $(CFLAGS) -fno-strict-aliasing -pthread
BPF_CFLAGS = -target bpf -mcpu=v3 -O2 -g $(WARN) -Wno-missing-prototypes -I. -I/usr/include/$(MULTIARCH)
LDFLAGS  += -pthread

ifeq ($(VARIANT),asan)
ALL_CFLAGS += -fsanitize=address,undefined -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=address,undefined
endif

ifeq ($(VARIANT),tsan)
ALL_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=thread
endif

# Made with CC=clang, as `make fuzz-NAME` does.
ifeq ($(VARIANT),fuzz)
ALL_CFLAGS += -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=address,undefined
endif

ifeq ($(V),1)
Q :=
msg =
else
Q := @
msg = @printf '  %-7s %s\n' "$(1)" "$(2)";
endif

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# ---- layers: one archive each; who may use whom is in tests/layers.txt -------------------------
MODEL_SRC  := $(wildcard model/*.c)
FLOW_SRC   := $(wildcard agent/flow/*.c)
POLICY_SRC := $(wildcard agent/policy/*.c)
EVENT_SRC  := $(wildcard agent/event/*.c)
WIRE_SRC   := $(wildcard agent/wire/*.c)
NMD_SRC    := $(filter-out agent/nmd/nmd.c,$(wildcard agent/nmd/*.c))
NMCTL_SRC  := $(filter-out agent/nmctl/nmctl.c,$(wildcard agent/nmctl/*.c))
NMTRAIN_SRC := $(filter-out agent/nmtrain/nmtrain.c,$(wildcard agent/nmtrain/*.c))

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
lib = $(BUILD)/lib$(1).a

LIBS_MODEL  := -lopenblas -ljansson -lsodium -lm
LIBS_FLOW   := -lbpf -lpcap
LIBS_NMD    := -lxdp -lbpf -lnl-3 -levent -lsqlite3 -lsystemd -linih -ljansson
LIBS_NMCTL  := -lsmartcols -lbpf -lcap -ljansson
LIBS_NMTRAIN := -lzstd -linih -ljansson -lsodium

all: $(BUILD)/nmd $(BUILD)/nmctl $(if $(wildcard agent/nmtrain/nmtrain.c),$(BUILD)/nmtrain)
	@:

define archive
$$(call lib,$(1)): $$(call obj,$(2))
	$$(call msg,AR,$$@)rm -f $$@ && ar rcs $$@ $$^
endef
$(eval $(call archive,model,$(MODEL_SRC)))
$(eval $(call archive,flow,$(FLOW_SRC)))
$(eval $(call archive,policy,$(POLICY_SRC)))
$(eval $(call archive,event,$(EVENT_SRC)))
$(eval $(call archive,wire,$(WIRE_SRC)))
$(eval $(call archive,nmd,$(NMD_SRC)))
$(eval $(call archive,nmctl,$(NMCTL_SRC)))
$(eval $(call archive,nmtrain,$(NMTRAIN_SRC)))

ARCHIVES_model  := $(call lib,model)
ARCHIVES_golden := $(call lib,flow) $(call lib,model)
ARCHIVES_flow   := $(call lib,flow)
ARCHIVES_policy := $(call lib,policy)
ARCHIVES_event  := $(call lib,event) $(call lib,model)
ARCHIVES_wire   := $(call lib,wire)
ARCHIVES_bpf    := $(call lib,flow)
ARCHIVES_nmd    := $(call lib,nmd) $(call lib,wire) $(call lib,event) $(call lib,policy) $(call lib,flow) $(call lib,model)
ARCHIVES_nmctl  := $(call lib,nmctl) $(call lib,wire) $(call lib,event) $(call lib,policy) $(call lib,flow) $(call lib,model)
ARCHIVES_nmtrain := $(call lib,nmtrain) $(call lib,policy) $(call lib,flow) $(call lib,model)
# bpf: its archive once more, behind the harness that needs it
LINK_model  := $(LIBS_MODEL)
LINK_golden := $(LIBS_FLOW) $(LIBS_MODEL)
LINK_flow   := $(LIBS_FLOW)
LINK_policy :=
LINK_event  := $(LIBS_MODEL)
LINK_wire   := -ljansson
LINK_bpf    := $(call lib,flow) $(LIBS_FLOW)
LINK_nmd    := $(LIBS_NMD) $(LIBS_FLOW) $(LIBS_MODEL)
LINK_nmctl  := $(LIBS_NMCTL) $(LIBS_FLOW) $(LIBS_MODEL)
LINK_nmtrain := $(LIBS_NMTRAIN) $(LIBS_FLOW) $(LIBS_MODEL)

$(BUILD)/nmd: $(BUILD)/obj/agent/nmd/nmd.o $(ARCHIVES_nmd)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LINK_nmd)
$(BUILD)/nmctl: $(BUILD)/obj/agent/nmctl/nmctl.o $(ARCHIVES_nmctl)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LINK_nmctl)
$(BUILD)/nmtrain: $(BUILD)/obj/agent/nmtrain/nmtrain.o $(ARCHIVES_nmtrain)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LINK_nmtrain)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call msg,CC,$<)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# ---- BPF --------------------------------------------------------------------------------------
SKEL := $(BUILD)/netmamba.skel.h
$(BUILD)/netmamba.bpf.o: bpf/netmamba.bpf.c
	@mkdir -p $(@D)
	$(call msg,BPF,$<)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@ $<
$(SKEL): $(BUILD)/netmamba.bpf.o
	$(call msg,SKEL,$@)$(BPFTOOL) gen skeleton $< name netmamba > $@
$(BUILD)/obj/agent/nmd/kernel.o: $(SKEL)
$(BUILD)/obj/agent/nmd/links.o: CPPFLAGS += $(shell pkg-config --cflags libnl-3.0)
$(call obj,$(wildcard tests/bpf/*.c tests/bench/*.c)): $(SKEL)

# ---- tests: tests/LAYER/test_*.c links the layer's archive and what that layer may use ----------
TEST_LAYERS := model golden flow policy event wire bpf nmd nmctl nmtrain
define layer_tests
TESTS_$(1) := $$(patsubst %.c,$$(BUILD)/%,$$(wildcard tests/$(1)/test_*.c))
$$(TESTS_$(1)): $$(BUILD)/tests/$(1)/%: $$(BUILD)/obj/tests/$(1)/%.o $$(ARCHIVES_$(1))
	@mkdir -p $$(@D)
	$$(call msg,LD,$$@)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LINK_$(1)) -lcmocka
TESTS += $$(TESTS_$(1))
endef
$(foreach layer,$(TEST_LAYERS),$(eval $(call layer_tests,$(layer))))

# The loaded programs under BPF_PROG_TEST_RUN, for the tests, the parity check and the benchmark.
BPF_HARNESS := $(call obj,tests/bpf/harness.c tests/bpf/packets.c)
$(TESTS_bpf): $(BPF_HARNESS)
$(BUILD)/tests/bpf/test_fixtures: $(call obj,$(wildcard tests/bpf/fixtures_*.c))
$(BUILD)/tests/bpf/test_extractor: $(call obj,tests/bpf/fixtures_parse.c)
$(BUILD)/tests/bpf/test_parity: $(call obj,tests/bpf/parity.c)

# Kernel and user space over a folder of captures, record by record: sudo make parity CAPTURES=DIR
CAPTURES ?= tests/captures
parity: $(BUILD)/tests/bpf/test_parity
	$< $(CAPTURES)

# Nanoseconds a packet of the loaded programs, on one quiet CPU: sudo make bench-xdp
$(BUILD)/tests/bench/xdp: $(call obj,tests/bench/xdp.c) $(BPF_HARNESS) $(call lib,flow)
	@mkdir -p $(@D)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_FLOW)
bench-xdp: $(BUILD)/tests/bench/xdp
	$<

# Flows a second of nmctl classify, where the time goes: make bench-classify CAPTURES=DIR MODEL=FILE
MODEL ?= model/weights/bootstrap.safetensors
$(BUILD)/tests/bench/classify: $(call obj,tests/bench/classify.c) $(call lib,model)
	@mkdir -p $(@D)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_MODEL)
bench-classify: $(BUILD)/nmctl $(BUILD)/tests/bench/classify
	$(BUILD)/tests/bench/classify $(BUILD)/nmctl $(MODEL) $(CAPTURES)

# Samples a second of fine-tuning, ours and PyTorch's in turn: make bench-train THREADS=2
THREADS ?= $(shell nproc)
ROUNDS  ?= 5
$(BUILD)/tests/bench/train $(BUILD)/tests/bench/forward_peak: $(BUILD)/%: $(BUILD)/obj/%.o $(call lib,model)
	@mkdir -p $(@D)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_MODEL)
bench-train: $(BUILD)/tests/bench/train
	@$(call install,$(BENCH_DEPS))
	/usr/bin/python3 tests/bench/train_torch.py $< $(THREADS) $(ROUNDS)

# The forward pass at the paper's size against the matrix product's peak, and where its time goes.
bench-forward: $(BUILD)/tests/bench/forward_peak
	$<

# A trained network beside a random forest, fold by fold: make bench-accuracy SET=FILE.nmd, or
# CAPTURES=DIR LABELS=FILE. Minutes a fold, and it goes on where it was interrupted.
FOLDS    ?= 0 1 2 3 4
SETTINGS ?= model/settings/nano.conf
bench-accuracy: $(BUILD)/nmtrain
	@$(call install,$(ACCURACY_DEPS))
	@BUILD="$(BUILD)" SET="$(SET)" CAPTURES="$(CAPTURES)" LABELS="$(LABELS)" FOLDS="$(FOLDS)" \
	  SETTINGS="$(SETTINGS)" OVERRIDES="$(OVERRIDES)" PRETRAIN="$(PRETRAIN)" tests/bench/accuracy.sh

# Tools of the tests in namespaces: replayed captures and steady load, counted at the far side.
TOOLS := $(BUILD)/tests/tools/replay $(BUILD)/tests/tools/load
$(TOOLS): $(BUILD)/%: $(BUILD)/obj/%.o $(call obj,tests/tools/netns.c tests/tools/packet_view.c tests/tools/frames.c) $(call lib,event) $(call lib,flow)
	@mkdir -p $(@D)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_FLOW)

tests: $(TESTS) $(TOOLS)
	@:

# tests/run sums up all results; T=policy runs one part.
check: deps-check
	@$(MAKE) --no-print-directory -j$$(nproc) all tests
	@BUILD=$(BUILD) tests/run $(T)

demo: deps
	@$(call install,$(DEMO_DEPS))
	@$(MAKE) --no-print-directory -j$$(nproc) all $(TOOLS)
	@BUILD=$(BUILD) tests/net/demo.sh

# One capture across a guarded veth pair: sudo make replay CAPTURE=file.pcap
replay: all $(TOOLS)
	@BUILD=$(BUILD) tests/net/replay_one.sh $(CAPTURE)

asan tsan:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/$@ VARIANT=$@ all tests

# A parser against libFuzzer: make fuzz-policy SECONDS=120. What it finds goes to tests/regress.
SECONDS    ?= 60
FUZZ_DEPS  := libclang-rt-dev
FUZZ_LINK  := $(call lib,nmtrain) $(call lib,wire) $(call lib,event) $(call lib,policy) $(call lib,flow) $(call lib,model)
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(FUZZ_LINK)
	@mkdir -p $(@D)
	$(call msg,LD,$@)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS_NMTRAIN) $(LIBS_FLOW) $(LIBS_MODEL)
fuzz-%:
	@$(call install,$(FUZZ_DEPS))
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz VARIANT=fuzz CC=$(CLANG) $(BUILD)/fuzz/tests/fuzz/fuzz_$*
	@mkdir -p $(BUILD)/fuzz/corpus/$*
	$(BUILD)/fuzz/tests/fuzz/fuzz_$* -max_total_time=$(SECONDS) $(FUZZ_FLAGS) $(BUILD)/fuzz/corpus/$* \
	  $(wildcard tests/fuzz/corpus/$*)

# ---- everything else ----------------------------------------------------------------------------
DEPS := gcc make clang llvm bpftool pkg-config libc6-dev libbpf-dev libxdp-dev libnl-3-dev \
	libjansson-dev libevent-dev libpcap-dev libsmartcols-dev libsqlite3-dev libsystemd-dev libinih-dev \
	libopenblas-dev libzstd-dev libsodium-dev libcap-dev libcmocka-dev iproute2 ethtool

# Live programs of the tests in namespaces. None of these packages starts a daemon when installed:
# this may be a host in use. nginx and tor would, so they are unpacked beside the build and never
# installed.
DEMO_DEPS  := jq procps
CHECK_DEPS := $(DEMO_DEPS) curl openssl openssh-client dropbear-bin dnsmasq-base bind9-dnsutils iperf3 iputils-ping libpcre2-8-0 \
	python3 clang-format

# PyTorch, to compare with: bench-train alone needs it.
BENCH_DEPS := python3-torch libopenblas0-pthread python3-numpy

# A random forest, to compare with: bench-accuracy alone needs it.
ACCURACY_DEPS := python3-sklearn python3-numpy

install = missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q '^install ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing from Debian:" $$missing; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

unpack = test -x $(BUILD)/live/$(2) || { mkdir -p $(BUILD)/live && cd $(BUILD)/live && \
	apt-get download -qq $(1) 2>/dev/null && dpkg -x $(1)_*.deb . && rm $(1)_*.deb; } || \
	echo "$(1) could not be had: its tests will be skipped"

deps:
	@$(call install,$(DEPS))

deps-check: deps
	@$(call install,$(CHECK_DEPS))
	@$(call unpack,nginx,usr/sbin/nginx)
	@$(call unpack,tor,usr/bin/tor)

headers:
	@for h in maps/*.h model/*.h agent/*/*.h; do \
	  printf '#include "%s"\n' $$h | $(CC) $(CPPFLAGS) -std=gnu17 $(WARN) -fsyntax-only -x c - || exit 1; done

layers:
	@tests/layers.sh

# CI's root may not own the checkout, which git would refuse.
SOURCES = $$(git -c safe.directory="$(CURDIR)" ls-files '*.c' '*.h')
format:
	@clang-format -i $(SOURCES)
format-check:
	@clang-format --dry-run -Werror $(SOURCES)

# From the compiler's own dry run, so that it is never out of step with the rules above.
compile_commands.json:
	@MAKEFLAGS= $(MAKE) --no-print-directory -Bnk V=1 BUILD=$(BUILD) all tests 2>/dev/null | \
	  awk -v dir="$(CURDIR)" 'BEGIN { print "[" } / -c -o / { file = $$NF; gsub(/["\\]/, "\\\\&"); \
	    printf "%s{\"directory\":\"%s\",\"file\":\"%s\",\"command\":\"%s\"}", sep, dir, file, $$0; sep = ",\n" } END { print "\n]" }' > $@

clean:
	rm -rf $(BUILD)

define HELP
  all                    build/nmd, build/nmctl, build/nmtrain and the BPF object (the default)
  deps                   install from Debian 12 what a build needs
  demo                   real captures across a guarded interface, in namespaces (root)
  tests                  the programs that check runs
  check [T=part]         all tests, or one part: a folder of tests/, selftest, checks (root)
  asan                   programs and tests with the address and undefined sanitizers, in build/asan
  tsan                   the same with the thread sanitizer, in build/tsan
  layers headers         who may include whom; each header compiles alone
  format format-check    clang-format
  bench-xdp              nanoseconds a packet of the loaded programs (root)
  bench-classify         flows a second of nmctl classify; CAPTURES=DIR MODEL=FILE
  bench-train            samples a second of fine-tuning, ours and PyTorch's; THREADS=N ROUNDS=N
  bench-forward          share of the matrix product's peak that the forward pass reaches
  bench-accuracy         ours and a random forest on the same flows and folds; SET=FILE.nmd, or
                         CAPTURES=DIR LABELS=FILE; FOLDS="0 1" SETTINGS=FILE OVERRIDES="KEY=VALUE ..." PRETRAIN=yes
  parity CAPTURES=DIR    kernel and user space over a folder of captures, record by record (root)
  replay CAPTURE=FILE    one capture across a guarded veth pair (root)
  fuzz-NAME SECONDS=60   libFuzzer on one parser: $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
  compile_commands.json  for clangd
  clean                  remove the build folder
Variables: BUILD=build CC=gcc CLANG=clang CFLAGS="-O2 -g" V=1
endef
help:
	@: $(info $(HELP))

.PHONY: help all tests check demo replay parity bench-xdp bench-classify bench-train bench-forward bench-accuracy asan tsan deps deps-check headers layers format format-check clean compile_commands.json
-include $(wildcard $(BUILD)/*.d) $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
