/* SPDX-License-Identifier: BSD-2-Clause */
/* Every key of a training run: to add one, add its member and its row. */
#include "agent/nmtrain/settings_table.h"

#define MEMBER(member) (((struct train_settings *)0)->member)
/* Type and offset; does not compile when the member is not of the type. */
#define TYPED(setting_type, type, member)                                                          \
	setting_type, offsetof(struct train_settings, member) +                                    \
			      0 * sizeof(char[__builtin_types_compatible_p(                        \
						      type, __typeof__(MEMBER(member)))            \
						      ? 1                                          \
						      : -1])
#define SHORT(member)   TYPED(SETTING_SHORT, uint16_t, member)
#define COUNT(member)   TYPED(SETTING_COUNT, uint32_t, member)
#define SEED(member)    TYPED(SETTING_SEED, uint64_t, member)
#define FLOAT(member)   TYPED(SETTING_FLOAT, float, member)
#define REAL(member)    TYPED(SETTING_REAL, double, member)
#define SWITCH(member)  TYPED(SETTING_SWITCH, bool, member)
#define CHOICE(member)  TYPED(SETTING_CHOICE, bool, member)
#define LOSS(member)    TYPED(SETTING_LOSS, enum loss_kind, member)
#define NAME(member)    TYPED(SETTING_NAME, char[16], member)
#define DEBIAS(member)  TYPED(SETTING_DEBIAS, uint32_t, member)
#define CLASSES(member) TYPED(SETTING_CLASSES, struct run_settings, member)

#define RANGE(low, high)                                                                           \
	low, high,                                                                                 \
	{                                                                                          \
		NULL, NULL                                                                         \
	}
#define NAMES(one, two)                                                                            \
	0, 0,                                                                                      \
	{                                                                                          \
		one, two                                                                           \
	}
#define NO_RANGE RANGE(0, 0)

#define ALL_DEBIASED "ip_addr ports ip_id ttl checksums tcp_seq_ack tcp_timestamps tls_sni"

const struct setting settings_table[] = {
	{"architecture", "backbone", NAME(architecture.backbone), "mamba",
	 NAMES("mamba", "attention"), "what mixes the tokens"},
	{"architecture", "embed_dim", COUNT(architecture.embed_dim), "64",
	 RANGE(1, MODEL_MAX_EMBED_DIM), "width"},
	{"architecture", "depth", COUNT(architecture.depth), "2", RANGE(1, MODEL_MAX_DEPTH),
	 "blocks"},
	{"architecture", "d_state", COUNT(architecture.d_state), "16", RANGE(1, MODEL_MAX_STATE),
	 "mamba: state of each channel"},
	{"architecture", "d_conv", COUNT(architecture.d_conv), "4", RANGE(1, MODEL_MAX_CONV),
	 "mamba: taps of the convolution"},
	{"architecture", "expand", COUNT(architecture.expand), "2", RANGE(1, MODEL_MAX_EXPAND),
	 "inner width over embed_dim"},
	{"architecture", "stride", COUNT(architecture.stride), "4", RANGE(1, MODEL_MAX_STRIDE),
	 "bytes of a token"},
	{"architecture", "heads", COUNT(architecture.heads), "4", RANGE(1, MODEL_MAX_EMBED_DIM),
	 "attention: heads; divides embed_dim"},
	{"architecture", "head_bias", SWITCH(architecture.head_bias), "off", NO_RANGE,
	 "a bias for each class"},
	{"architecture", "byte_embedding", CHOICE(architecture.byte_table), "stride",
	 NAMES("stride", "table"), "bytes become tokens by a linear map, or by a learned table"},
	{"architecture", "value_embedding", CHOICE(architecture.project_values), "sinusoid",
	 NAMES("sinusoid", "projected"),
	 "sizes and times become tokens by a sinusoid, or by a learned map of it"},

	{"tokens", "direction", CHOICE(tokens.shape.bidirectional), "bi", NAMES("uni", "bi"),
	 "packets of the first one's direction, or of both"},
	{"tokens", "packets", SHORT(tokens.shape.packets), "10", RANGE(1, MODEL_MAX_PACKETS),
	 "packets of which bytes are seen"},
	{"tokens", "header_bytes", SHORT(tokens.shape.header_bytes), "80",
	 RANGE(0, MODEL_MAX_HEADER_BYTES), "of each, from the IP header on"},
	{"tokens", "payload_bytes", SHORT(tokens.shape.payload_bytes), "80",
	 RANGE(0, MODEL_MAX_PAYLOAD_BYTES), "of each"},
	{"tokens", "seq_len", SHORT(tokens.shape.seq_len), "50", RANGE(1, MODEL_MAX_SEQ_LEN),
	 "packets of which size and time are seen"},
	{"tokens", "packed", SWITCH(tokens.packed), "off", NO_RANGE,
	 "only tokens that exist, instead of padding"},
	{"tokens", "iat_scale", CHOICE(tokens.iat_log), "ratio", NAMES("ratio", "log"),
	 "times between packets, as in the paper or as logarithms"},
	{"tokens", "debias", DEBIAS(tokens.debias), ALL_DEBIASED, NO_RANGE,
	 "what of the bytes is zeroed, since it tells the host or the capture"},

	{"loss", "kind", LOSS(loss.kind), "ldam", NAMES("cross-entropy", "ldam"),
	 "plain, or with margins that are wider for rarer classes"},
	{"loss", "scale", FLOAT(loss.scale), "30", RANGE(0.01, 1000),
	 "ldam: of the logits less their margins"},
	{"loss", "max_margin", FLOAT(loss.max_margin), "0.5", RANGE(0, 100),
	 "ldam: margin of the rarest class"},
	{"loss", "label_smoothing", FLOAT(loss.label_smoothing), "0.1", RANGE(0, 0.99),
	 "share of the target that is spread over all classes"},
	{"loss", "balanced", SWITCH(loss.balanced), "on", NO_RANGE, "rarer classes weigh more"},
	{"loss", "beta", FLOAT(loss.beta), "0.999", RANGE(0, 0.999999),
	 "balanced: how much more, the nearer to 1"},

	{"optimiser", "learning_rate", REAL(optimiser.learning_rate), "2e-3", RANGE(0, 10),
	 "at a batch of 256; goes with the batch"},
	{"optimiser", "min_learning_rate", REAL(optimiser.min_learning_rate), "1e-6", RANGE(0, 10),
	 "where the cosine ends"},
	{"optimiser", "beta1", REAL(optimiser.adamw.beta1), "0.9", RANGE(0, 0.99999),
	 "AdamW's first moment"},
	{"optimiser", "beta2", REAL(optimiser.adamw.beta2), "0.999", RANGE(0, 0.99999),
	 "AdamW's second moment"},
	{"optimiser", "epsilon", REAL(optimiser.adamw.eps), "1e-8", RANGE(1e-20, 1), "AdamW's"},
	{"optimiser", "weight_decay", REAL(optimiser.adamw.weight_decay), "0.05", RANGE(0, 10),
	 "of weights; not of biases, norms, positions"},
	{"optimiser", "layer_decay", REAL(optimiser.adamw.layer_decay), "0.75", RANGE(0.01, 1),
	 "learning rate of a layer over that of the next; 1 = all alike"},
	{"optimiser", "clip_norm", REAL(optimiser.clip_norm), "1", RANGE(0, 1e6),
	 "longest gradient; 0 = any"},
	{"optimiser", "drop_path", REAL(optimiser.drop_path), "0.1", RANGE(0, 0.9),
	 "how often the last block is left out; earlier ones less"},

	{"schedule", "epochs", COUNT(schedule.epochs), "120", RANGE(1, 100000),
	 "times that every flow is seen"},
	{"schedule", "warmup_epochs", COUNT(schedule.warmup_epochs), "20", RANGE(0, 100000),
	 "of these, with a growing learning rate"},
	{"schedule", "batch", COUNT(schedule.batch), "128", RANGE(1, 65536), "flows of a step"},

	{"augment", "one_direction", FLOAT(augment.one_direction), "0", RANGE(0, 1),
	 "share of flows of which one direction is missing"},
	{"augment", "first_missing", FLOAT(augment.first_missing), "0", RANGE(0, 1),
	 "share of which the first packets are missing"},
	{"augment", "max_missing", SHORT(augment.max_missing), "3", RANGE(1, MODEL_MAX_SEQ_LEN),
	 "at most so many of them"},
	{"augment", "cut", FLOAT(augment.cut), "0", RANGE(0, 1), "share that is cut early"},
	{"augment", "min_packets", SHORT(augment.min_packets), "1", RANGE(1, MODEL_MAX_SEQ_LEN),
	 "at the earliest after so many packets"},
	{"augment", "time_scale", FLOAT(augment.time_scale), "0", RANGE(0, 1),
	 "share that is slower or faster as a whole"},
	{"augment", "max_time_factor", FLOAT(augment.max_time_factor), "2", RANGE(1, 1000),
	 "at most so much"},
	{"augment", "time_jitter", FLOAT(augment.time_jitter), "0", RANGE(0, 1),
	 "share of which each gap changes for itself"},
	{"augment", "time_jitter_deviation", FLOAT(augment.time_jitter_deviation), "0.1",
	 RANGE(0, 10), "of a gap's logarithm"},
	{"augment", "stack", FLOAT(augment.stack), "0", RANGE(0, 1),
	 "share that looks as if sent by other TCP/IP stacks"},
	{"augment", "token_drop", FLOAT(augment.token_drop), "0", RANGE(0, 0.9),
	 "share of the tokens that are left out"},

	{"pretrain", "byte_mask", REAL(pretrain.byte_mask), "0.9", RANGE(0, 0.99),
	 "share of the byte tokens to be guessed"},
	{"pretrain", "size_mask", REAL(pretrain.size_mask), "0.15", RANGE(0, 0.99),
	 "share of the sizes"},
	{"pretrain", "iat_mask", REAL(pretrain.iat_mask), "0.15", RANGE(0, 0.99),
	 "share of the times"},
	{"pretrain", "decoder_dim", COUNT(pretrain.decoder_dim), "128",
	 RANGE(1, MODEL_MAX_EMBED_DIM), "width of the byte decoder"},
	{"pretrain", "decoder_depth", COUNT(pretrain.decoder_depth), "2", RANGE(1, MODEL_MAX_DEPTH),
	 "its blocks"},
	{"pretrain", "steps", COUNT(pretrain.steps), "100000", RANGE(1, 1e9), "batches to see"},
	{"pretrain", "warmup_steps", COUNT(pretrain.warmup_steps), "1000", RANGE(0, 1e9),
	 "of these, with a growing learning rate"},
	{"pretrain", "batch", COUNT(pretrain.batch), "128", RANGE(1, 65536), "flows of a step"},
	{"pretrain", "learning_rate", REAL(pretrain.learning_rate), "1e-3", RANGE(0, 10),
	 "at a batch of 256; goes with the batch"},
	{"pretrain", "beta2", REAL(pretrain.beta2), "0.95", RANGE(0, 0.99999),
	 "AdamW's second moment"},

	{"train", "seed", SEED(run.seed), "1", RANGE(0, 0x1p53 - 1), "of everything random"},
	{"train", "threads", COUNT(run.threads), "0", RANGE(0, 256),
	 "0 = one a CPU; with 1 a run repeats to the bit"},
	{"train", "max_flows_per_class", COUNT(run.max_flows_per_class), "0", RANGE(0, 1 << 24),
	 "chosen over all captures; 0 = all"},
	{"train", "min_packets", COUNT(run.min_packets), "1", RANGE(1, MODEL_MAX_SEQ_LEN),
	 "flows with fewer do not train"},
	{"train", "validate_every", COUNT(run.validate_every), "1", RANGE(1, 100000), "epochs"},
	{"train", "patience", COUNT(run.patience), "0", RANGE(0, 100000),
	 "epochs without a better validation after which it ends; 0 = never"},
	{"train", "average_weights", REAL(run.average_weights), "0", RANGE(0, 0.99999),
	 "decay of the moving average of the weights that is kept; 0 = the last ones"},
	{"train", "leave_out", CLASSES(run), "", NO_RANGE,
	 "classes that are not trained, to measure how unknown ones are told"},
};
const size_t n_settings = sizeof(settings_table) / sizeof(settings_table[0]);
_Static_assert(sizeof(settings_table) / sizeof(settings_table[0]) <= SETTINGS_MAX_KEYS,
	       "a reader has a flag a key");
