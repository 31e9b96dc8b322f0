/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The selective scan (arXiv 2312.00752, 3.2 and algorithm 2) with its gate:
 *   dt = softplus(dt + dt_bias), A = -exp(A_log)
 *   s_t = exp(dt_t A) s_(t-1) + dt_t x_t B_t,  y_t = C_t s_t + D x_t,  out_t = y_t silu(z_t)
 *
 * Time is sequential, channels are not: LANES channels walk the sequence together. The
 * exponentials, E * N a token, are nearly all of the work; A is kept times log2(e), so that each is
 * one exp2. A general A is assumed: powers of one exponential would do for the initial A_n = -n
 * only.
 *
 * They walk in chunks of tokens: what a token needs once (dt, gate) is computed for the whole
 * chunk, then a few states at a time go through it. State by state within each token takes a
 * quarter longer, since one softplus follows on the other. A tile of channels goes through a chunk
 * before the next chunk begins: a row of the inputs is read as one piece, where channels a whole
 * sequence long, rows 2 KB apart, take a fifth longer.
 *
 * For ops_scan.c and ops_scan_wide.c, which compile it for eight lanes and for sixteen.
 */
#pragma once
#include "model/lanes.h"
#include "model/model_file.h"
#include "model/ops.h"

#define LOG2_E 1.44269504088896341F

/* A (N) of n channels from A_log (n, N). */
LANES_INLINE void load_A(lanes *A, const float *A_log, size_t N, unsigned n)
{
	for (size_t k = 0; k < N; k++) {
		A[k] = (lanes){0};
		for (unsigned i = 0; i < n; i++)
			A[k][i] = A_log[i * N + k];
		lanes_exp(&A[k]);
		A[k] *= -LOG2_E;
	}
}

/* As the registers hold them, (N, n): for scan_backward alone. */
LANES_INLINE void store_states(float *states, const lanes *s, size_t N, unsigned n)
{
	for (size_t k = 0; k < N; k++)
		lanes_store(states + k * n, &s[k], n);
}

/* A chunk of tokens: its first row, and the states before it. */
struct chunk {
	size_t row, n;
	float *states;
};

static inline struct chunk chunk_of(size_t b, size_t i, float *states, size_t L, size_t E, size_t N)
{
	size_t first = i * SCAN_CHUNK, at = (b * scan_chunks(L) + i) * E * N;

	return (struct chunk){.row = b * L + first,
			      .n = L - first < SCAN_CHUNK ? L - first : SCAN_CHUNK,
			      .states = states ? states + at : NULL};
}

#define TILE_CHANNELS 128 /* 32 are 10% slower; bounds the stack, 1 MB */
#define TILE_GROUPS   (TILE_CHANNELS / LANES)
#define LINE_STATES   4

/* How many of LANES lanes are channels. */
static inline unsigned group_width(size_t channel, size_t E)
{
	return E - channel < LANES ? (unsigned)(E - channel) : LANES;
}

/* One group's values in a chunk, by token. */
struct line {
	lanes dt[SCAN_CHUNK], dt_x[SCAN_CHUNK], y[SCAN_CHUNK], gate[SCAN_CHUNK];
};

LANES_INLINE void line_begin(struct line *v, const struct scan_inputs *in, size_t channel,
			     const struct chunk *c, size_t E, unsigned n)
{
	size_t at = c->row * E + channel;
	lanes D, bias;

	lanes_load(&D, in->D + channel, n);
	lanes_load(&bias, in->dt_bias + channel, n);
	for (size_t t = 0; t < c->n; t++, at += E) {
		lanes x, z, dt;

		lanes_load(&x, in->x + at, n);
		lanes_load(&z, in->z + at, n);
		lanes_load(&dt, in->dt + at, n);
		dt += bias;
		lanes_softplus(&dt);
		lanes_silu(&z);
		v->dt[t] = dt;
		v->dt_x[t] = dt * x;
		v->y[t] = D * x;
		v->gate[t] = z;
	}
}

/* `some` <= LINE_STATES states through a chunk: so many chains of the exponential at a time, and y
 * is fetched once for them. */
LANES_INLINE void line_states(struct line *v, const lanes *A, lanes *states, const float *bc,
			      size_t bc_stride, size_t N, size_t count, unsigned some)
{
	lanes s[LINE_STATES];

#pragma GCC unroll 4
	for (unsigned k = 0; k < some; k++)
		s[k] = states[k];
	for (size_t t = 0; t < count; t++, bc += bc_stride) {
		lanes dt = v->dt[t], dt_x = v->dt_x[t], y = v->y[t];

#pragma GCC unroll 4
		for (unsigned k = 0; k < some; k++) {
			lanes decay = dt * A[k];

			lanes_exp2(&decay);
			s[k] = decay * s[k] + dt_x * bc[k];
			y += s[k] * bc[N + k];
		}
		v->y[t] = y;
	}
#pragma GCC unroll 4
	for (unsigned k = 0; k < some; k++)
		states[k] = s[k];
}

LANES_INLINE void scan_group(float *out, const lanes *A, lanes *states,
			     const struct scan_inputs *in, size_t channel, const struct chunk *c,
			     size_t E, size_t N, unsigned n)
{
	const float *bc = in->bc + c->row * in->bc_stride;
	struct line v;
	size_t k = 0;

	if (c->states)
		store_states(c->states + channel * N, states, N, n);
	line_begin(&v, in, channel, c, E, n);
	for (; k + LINE_STATES <= N; k += LINE_STATES)
		line_states(&v, A + k, states + k, bc + k, in->bc_stride, N, c->n, LINE_STATES);
	for (; k < N; k++)
		line_states(&v, A + k, states + k, bc + k, in->bc_stride, N, c->n, 1);
	for (size_t t = 0; t < c->n; t++) {
		lanes y = v.y[t] * v.gate[t];

		lanes_store(out + (c->row + t) * E + channel, &y, n);
	}
}

/* Channels first .. end - 1 of all flows. */
LANES_INLINE void scan_tile(float *out, float *states, const struct scan_inputs *in, size_t first,
			    size_t end, size_t B, size_t L, size_t E, size_t N)
{
	lanes A[TILE_GROUPS * MODEL_MAX_STATE], s[TILE_GROUPS * MODEL_MAX_STATE];

	for (size_t e = first, at = 0; e < end; e += LANES, at += N)
		load_A(A + at, in->A_log + e * N, N, group_width(e, E));
	for (size_t b = 0; b < B; b++) {
		for (size_t i = 0; i < TILE_GROUPS * N; i++)
			s[i] = (lanes){0};
		for (size_t i = 0; i < scan_chunks(L); i++) {
			struct chunk c = chunk_of(b, i, states, L, E, N);
			size_t e = first, at = 0;

			for (; e + LANES <= end; e += LANES, at += N)
				scan_group(out, A + at, s + at, in, e, &c, E, N, LANES);
			if (e < end)
				scan_group(out, A + at, s + at, in, e, &c, E, N, end - e);
		}
	}
}

/* The official d_state is 16: a constant spares the loops their remainder. */
LANES_INLINE void scan_forward_lanes(float *out, float *states, const struct scan_inputs *in,
				     size_t B, size_t L, size_t E, size_t N)
{
	for (size_t first = 0; first < E; first += TILE_CHANNELS) {
		size_t end = E - first < TILE_CHANNELS ? E : first + TILE_CHANNELS;

		if (N == 16)
			scan_tile(out, states, in, first, end, B, L, E, 16);
		else
			scan_tile(out, states, in, first, end, B, L, E, N);
	}
}

/*
 * The gradients, from the last chunk to the first. With g the gradient of s_t:
 *   g_t = d_y_t C_t + exp(dt_(t+1) A) g_(t+1),  d_C_t = d_y_t s_t,  d_B_t = g_t dt_t x_t
 * A chunk's states and decays are computed again from the state before it, a few states at a time:
 * they stay in the first-level cache whatever N is. d_B and d_C are sums over all channels: their
 * lanes are summed across once a tile.
 */
#define WALK_STATES (LANES / 4) /* at a time, as registers hold: one takes half as long again */
#define LN_2        0.693147180559945309F

struct tile_state {
	lanes A, d_A;
	lanes d_state; /* what the tokens behind the chunk want of it */
};

struct tile_group {
	lanes D, dt_bias, d_D, d_dt_bias;
};

struct tile {
	size_t first; /* channel */
	size_t n_channels;
	struct tile_group group[TILE_GROUPS];
	struct tile_state state[TILE_GROUPS * MODEL_MAX_STATE]; /* (groups, N) */
	lanes d_B[MODEL_MAX_STATE * SCAN_CHUNK];                /* (N, SCAN_CHUNK) */
	lanes d_C[MODEL_MAX_STATE * SCAN_CHUNK];
};

/* One group's values in a chunk, by token. */
struct walk {
	lanes dt[SCAN_CHUNK], dt_x[SCAN_CHUNK], y[SCAN_CHUNK];
	lanes gate[SCAN_CHUNK]; /* sigmoid of z */
	lanes d_y[SCAN_CHUNK], d_dt[SCAN_CHUNK], d_dt_x[SCAN_CHUNK];
};

/* v = 1 / (1 + e^-v) */
LANES_INLINE void lanes_sigmoid(lanes *v)
{
	*v = -*v;
	lanes_exp(v);
	*v = 1.0F / (1.0F + *v);
}

LANES_INLINE void walk_begin(struct walk *w, const struct tile_group *g, const float *d_out,
			     const struct scan_inputs *in, size_t at, size_t E, size_t count,
			     unsigned n)
{
	for (size_t t = 0; t < count; t++, at += E) {
		lanes x, z, d;

		lanes_load(&x, in->x + at, n);
		lanes_load(&z, in->z + at, n);
		lanes_load(&d, d_out + at, n);
		lanes_load(&w->dt[t], in->dt + at, n);
		w->dt[t] += g->dt_bias;
		lanes_softplus(&w->dt[t]);
		w->dt_x[t] = w->dt[t] * x;
		w->y[t] = g->D * x;
		w->gate[t] = z;
		lanes_sigmoid(&w->gate[t]);
		w->d_y[t] = d * z * w->gate[t];
		w->d_dt[t] = w->d_dt_x[t] = (lanes){0};
	}
}

/* Forth and back along `some` <= WALK_STATES states of a group; before: their values before the
 * chunk, n each; bc: the first one's B in the chunk's first row. */
LANES_INLINE void walk_states(struct walk *w, struct tile_state *state, lanes *d_B, lanes *d_C,
			      const float *before, const float *bc, size_t bc_stride, size_t N,
			      size_t count, unsigned n, unsigned some)
{
	lanes decay[WALK_STATES][SCAN_CHUNK], s[WALK_STATES][SCAN_CHUNK + 1];
	lanes A[WALK_STATES], d_s[WALK_STATES], d_A[WALK_STATES];

#pragma GCC unroll 4
	for (unsigned k = 0; k < some; k++) {
		lanes_load(&s[k][0], before + k * n, n);
		A[k] = state[k].A;
		d_s[k] = state[k].d_state;
		d_A[k] = (lanes){0};
	}
	for (size_t t = 0; t < count; t++) {
		const float *B = bc + t * bc_stride;
		lanes dt = w->dt[t], dt_x = w->dt_x[t];

#pragma GCC unroll 4
		for (unsigned k = 0; k < some; k++) {
			lanes d = dt * A[k];

			lanes_exp2(&d);
			decay[k][t] = d;
			s[k][t + 1] = d * s[k][t] + dt_x * B[k];
		}
	}
	for (size_t t = count; t-- > 0;) {
		const float *B = bc + t * bc_stride, *C = B + N;
		lanes d_y = w->d_y[t], y = w->y[t], dt = w->dt[t], dt_x = w->dt_x[t];
		lanes d_dt = w->d_dt[t], d_dt_x = w->d_dt_x[t];

#pragma GCC unroll 4
		for (unsigned k = 0; k < some; k++) {
			lanes d_exponent;

			y += s[k][t + 1] * C[k];
			d_s[k] += d_y * C[k];
			d_C[k * SCAN_CHUNK + t] += d_y * s[k][t + 1];
			d_B[k * SCAN_CHUNK + t] += d_s[k] * dt_x;
			d_dt_x += d_s[k] * B[k];
			d_s[k] *= decay[k][t];
			d_exponent = d_s[k] * s[k][t];
			d_dt += d_exponent * A[k];
			d_A[k] += d_exponent * dt;
		}
		w->y[t] = y;
		w->d_dt[t] = d_dt;
		w->d_dt_x[t] = d_dt_x;
	}
#pragma GCC unroll 4
	for (unsigned k = 0; k < some; k++) {
		state[k].d_state = d_s[k];
		state[k].d_A += d_A[k];
	}
}

/* A is kept times log2(e), hence the LN_2. */
LANES_INLINE void walk_end(const struct walk *w, struct tile_group *g,
			   const struct scan_gradients *d, const float *d_out,
			   const struct scan_inputs *in, size_t at, size_t E, size_t count,
			   unsigned n)
{
	lanes sum_D = {0}, sum_dt_bias = {0};

	for (size_t t = 0; t < count; t++, at += E) {
		lanes x, z, dt, d_x, d_z, d_dt, sigmoid;

		lanes_load(&x, in->x + at, n);
		lanes_load(&z, in->z + at, n);
		lanes_load(&dt, in->dt + at, n);
		lanes_load(&d_z, d_out + at, n);
		d_z *= w->y[t] * w->gate[t] * (1.0F + z * (1.0F - w->gate[t]));
		d_x = w->d_y[t] * g->D + w->d_dt_x[t] * w->dt[t];
		sigmoid = dt + g->dt_bias;
		lanes_sigmoid(&sigmoid);
		d_dt = (w->d_dt[t] * LN_2 + w->d_dt_x[t] * x) * sigmoid;
		sum_D += w->d_y[t] * x;
		sum_dt_bias += d_dt;
		lanes_store(d->x + at, &d_x, n);
		lanes_store(d->z + at, &d_z, n);
		lanes_store(d->dt + at, &d_dt, n);
	}
	g->d_D += sum_D;
	g->d_dt_bias += sum_dt_bias;
}

LANES_INLINE void walk_group(struct tile *tile, size_t group, const struct scan_gradients *d,
			     const float *d_out, const struct scan_inputs *in,
			     const struct chunk *c, size_t E, size_t N, unsigned n)
{
	struct tile_group *g = &tile->group[group];
	struct tile_state *state = &tile->state[group * N];
	size_t channel = tile->first + group * LANES, at = c->row * E + channel;
	const float *bc = in->bc + c->row * in->bc_stride, *before = c->states + channel * N;
	size_t k = 0;
	struct walk w;

	walk_begin(&w, g, d_out, in, at, E, c->n, n);
	for (; k + WALK_STATES <= N; k += WALK_STATES)
		walk_states(&w, &state[k], &tile->d_B[k * SCAN_CHUNK], &tile->d_C[k * SCAN_CHUNK],
			    before + k * n, bc + k, in->bc_stride, N, c->n, n, WALK_STATES);
	for (; k < N; k++)
		walk_states(&w, &state[k], &tile->d_B[k * SCAN_CHUNK], &tile->d_C[k * SCAN_CHUNK],
			    before + k * n, bc + k, in->bc_stride, N, c->n, n, 1);
	walk_end(&w, g, d, d_out, in, at, E, c->n, n);
}

/* Rows of d->bc are written by the first tile and added to by the others. */
LANES_INLINE void sum_bc(const struct tile *tile, const struct scan_gradients *d,
			 const struct chunk *c, size_t N)
{
	for (size_t t = 0; t < c->n; t++) {
		float *d_B = d->bc + (c->row + t) * d->bc_stride, *d_C = d_B + N;

		for (size_t k = 0; k < N; k++) {
			float B = lanes_sum(&tile->d_B[k * SCAN_CHUNK + t]);
			float C = lanes_sum(&tile->d_C[k * SCAN_CHUNK + t]);

			d_B[k] = tile->first ? d_B[k] + B : B;
			d_C[k] = tile->first ? d_C[k] + C : C;
		}
	}
}

LANES_INLINE void tile_chunk(struct tile *tile, const struct scan_gradients *d, const float *d_out,
			     const struct scan_inputs *in, const struct chunk *c, size_t E,
			     size_t N)
{
	size_t whole = tile->n_channels / LANES;

	for (size_t i = 0; i < N * SCAN_CHUNK; i++)
		tile->d_B[i] = tile->d_C[i] = (lanes){0};
	for (size_t i = 0; i < whole; i++)
		walk_group(tile, i, d, d_out, in, c, E, N, LANES);
	if (tile->n_channels % LANES)
		walk_group(tile, whole, d, d_out, in, c, E, N, tile->n_channels % LANES);
	sum_bc(tile, d, c, N);
}

static inline size_t tile_groups(const struct tile *tile)
{
	return (tile->n_channels + LANES - 1) / LANES;
}

static inline unsigned tile_width(const struct tile *tile, size_t group)
{
	size_t left = tile->n_channels - group * LANES;

	return left < LANES ? (unsigned)left : LANES;
}

LANES_INLINE void tile_begin(struct tile *tile, const struct scan_inputs *in, size_t N)
{
	for (size_t i = 0; i < tile_groups(tile); i++) {
		size_t channel = tile->first + i * LANES;
		unsigned n = tile_width(tile, i);
		struct tile_group *g = &tile->group[i];
		lanes A[MODEL_MAX_STATE];

		*g = (struct tile_group){0};
		lanes_load(&g->D, in->D + channel, n);
		lanes_load(&g->dt_bias, in->dt_bias + channel, n);
		load_A(A, in->A_log + channel * N, N, n);
		for (size_t k = 0; k < N; k++)
			tile->state[i * N + k] = (struct tile_state){.A = A[k]};
	}
}

/* d_A_log = d_A A, since A = -exp(A_log). */
LANES_INLINE void tile_end(const struct tile *tile, const struct scan_gradients *d, size_t N)
{
	for (size_t i = 0; i < tile_groups(tile); i++) {
		const struct tile_group *g = &tile->group[i];

		for (unsigned j = 0; j < tile_width(tile, i); j++) {
			size_t channel = tile->first + i * LANES + j;

			d->D[channel] += g->d_D[j];
			d->dt_bias[channel] += g->d_dt_bias[j];
			for (size_t k = 0; k < N; k++) {
				const struct tile_state *s = &tile->state[i * N + k];

				d->A_log[channel * N + k] += s->d_A[j] * s->A[j] * LN_2;
			}
		}
	}
}

LANES_INLINE void scan_backward_lanes(const struct scan_gradients *d, const float *d_out,
				      const float *states, const struct scan_inputs *in, size_t B,
				      size_t L, size_t E, size_t N)
{
	struct tile tile;

	for (tile.first = 0; tile.first < E; tile.first += TILE_CHANNELS) {
		tile.n_channels = E - tile.first < TILE_CHANNELS ? E - tile.first : TILE_CHANNELS;
		tile_begin(&tile, in, N);
		for (size_t b = 0; b < B; b++) {
			for (size_t i = 0; i < tile_groups(&tile) * N; i++)
				tile.state[i].d_state = (lanes){0};
			for (size_t i = scan_chunks(L); i-- > 0;) {
				struct chunk c = chunk_of(b, i, (float *)states, L, E, N);

				tile_chunk(&tile, d, d_out, in, &c, E, N);
			}
		}
		tile_end(&tile, d, N);
	}
}
