/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The selective scan (arXiv 2312.00752, 3.2 and algorithm 2) with its gate:
 *   dt = softplus(dt + dt_bias), A = -exp(A_log)
 *   s_t = exp(dt_t A) s_(t-1) + dt_t x_t B_t,  y_t = C_t s_t + D x_t,  out_t = y_t silu(z_t)
 *
 * Time is sequential, channels are not: eight channels walk the sequence together, their N states
 * in registers or the first-level cache. The exponentials, E * N a token, are nearly all of the
 * work; A is kept times log2(e), so that each is one exp2. A general A is assumed: powers of one
 * exponential would do for the initial A_n = -n only.
 */
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

LANES_INLINE void store_states(float *states, const lanes *s, size_t N, unsigned n)
{
	for (size_t k = 0; k < N; k++)
		lanes_store(states + k * n, &s[k], n);
}

/* states: NULL, or the first chunk's. A group's are stored as the registers hold them: (N, n), for
 * scan_backward alone. */
LANES_INLINE void scan_lanes(float *out, float *states, const struct scan_inputs *in, size_t row,
			     size_t e, size_t L, size_t E, size_t N, unsigned n)
{
	lanes A[MODEL_MAX_STATE], s[MODEL_MAX_STATE], D, bias;

	load_A(A, in->A_log + e * N, N, n);
	for (size_t k = 0; k < N; k++)
		s[k] = (lanes){0};
	lanes_load(&D, in->D + e, n);
	lanes_load(&bias, in->dt_bias + e, n);
	for (size_t t = row; t < row + L; t++) {
		const float *B = in->bc + t * in->bc_stride, *C = B + N;
		lanes x, z, dt, dt_x, y;

		if (states && (t - row) % SCAN_CHUNK == 0) {
			store_states(states + e * N, s, N, n);
			states += E * N;
		}
		lanes_load(&x, in->x + t * E + e, n);
		lanes_load(&z, in->z + t * E + e, n);
		lanes_load(&dt, in->dt + t * E + e, n);
		dt += bias;
		lanes_softplus(&dt);
		lanes_silu(&z);
		dt_x = dt * x;
		y = D * x;
#pragma GCC unroll 4 /* four chains of the exponential at a time: 10% */
		for (size_t k = 0; k < N; k++) {
			lanes decay = dt * A[k];

			lanes_exp2(&decay);
			s[k] = decay * s[k] + dt_x * B[k];
			y += s[k] * C[k];
		}
		y *= z;
		lanes_store(out + t * E + e, &y, n);
	}
}

/* The official d_state is 16: a constant spares the loop its remainder. */
SIMD_CLONES void scan_forward(float *out, float *states, const struct scan_inputs *in, size_t B,
			      size_t L, size_t E, size_t N)
{
	size_t whole = E - E % LANES;

	for (size_t b = 0; b < B; b++) {
		float *first = states ? states + b * scan_chunks(L) * E * N : NULL;

		for (size_t e = 0; e < whole; e += LANES) {
			if (N == 16)
				scan_lanes(out, first, in, b * L, e, L, E, 16, LANES);
			else
				scan_lanes(out, first, in, b * L, e, L, E, N, LANES);
		}
		if (whole < E)
			scan_lanes(out, first, in, b * L, whole, L, E, N, E % LANES);
	}
}

/*
 * The gradients, from the last chunk to the first. With g the gradient of s_t:
 *   g_t = d_y_t C_t + exp(dt_(t+1) A) g_(t+1),  d_C_t = d_y_t s_t,  d_B_t = g_t dt_t x_t
 * A chunk's states and decays are computed again from the state before it, one state of eight
 * channels at a time: they stay in the first-level cache whatever N is. d_B and d_C are sums over
 * all channels: a tile of channels goes through a chunk together, so that their lanes are summed
 * across once a tile.
 */
#define TILE_GROUPS 16 /* of eight channels; four are 10% slower; bounds the stack, 700 kB */
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

/* A chunk of tokens: its first row, and the states before it. */
struct chunk {
	size_t row, n;
	const float *states;
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

/* Forth and back along one state of a group; before: its value before the chunk, bc: its B in the
 * chunk's first row. */
LANES_INLINE void walk_state(struct walk *w, struct tile_state *state, lanes *d_B, lanes *d_C,
			     const float *before, const float *bc, size_t bc_stride, size_t N,
			     size_t count, unsigned n)
{
	lanes decay[SCAN_CHUNK], s[SCAN_CHUNK + 1];
	lanes A = state->A, d_s = state->d_state, d_A = {0};

	lanes_load(&s[0], before, n);
#pragma GCC unroll 4 /* and apart from the states: 7% */
	for (size_t t = 0; t < count; t++) {
		decay[t] = w->dt[t] * A;
		lanes_exp2(&decay[t]);
	}
	for (size_t t = 0; t < count; t++) {
		const float *B = bc + t * bc_stride;

		s[t + 1] = decay[t] * s[t] + w->dt_x[t] * *B;
	}
	for (size_t t = count; t-- > 0;) {
		const float *B = bc + t * bc_stride, *C = B + N;
		lanes d_exponent;

		w->y[t] += s[t + 1] * *C;
		d_s += w->d_y[t] * *C;
		d_C[t] += w->d_y[t] * s[t + 1];
		d_B[t] += d_s * w->dt_x[t];
		w->d_dt_x[t] += d_s * *B;
		d_s *= decay[t];
		d_exponent = d_s * s[t];
		w->d_dt[t] += d_exponent * A;
		d_A += d_exponent * w->dt[t];
	}
	state->d_state = d_s;
	state->d_A += d_A;
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
	struct walk w;

	walk_begin(&w, g, d_out, in, at, E, c->n, n);
	for (size_t k = 0; k < N; k++)
		walk_state(&w, &state[k], &tile->d_B[k * SCAN_CHUNK], &tile->d_C[k * SCAN_CHUNK],
			   before + k * n, bc + k, in->bc_stride, N, c->n, n);
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

static size_t tile_groups(const struct tile *tile)
{
	return (tile->n_channels + LANES - 1) / LANES;
}

/* How many of LANES lanes are channels. */
static unsigned tile_width(const struct tile *tile, size_t group)
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

SIMD_CLONES void scan_backward(const struct scan_gradients *d, const float *d_out,
			       const float *states, const struct scan_inputs *in, size_t B,
			       size_t L, size_t E, size_t N)
{
	const size_t width = TILE_GROUPS * LANES;
	struct tile tile;

	for (tile.first = 0; tile.first < E; tile.first += width) {
		tile.n_channels = E - tile.first < width ? E - tile.first : width;
		tile_begin(&tile, in, N);
		for (size_t b = 0; b < B; b++) {
			for (size_t i = 0; i < tile_groups(&tile) * N; i++)
				tile.state[i].d_state = (lanes){0};
			for (size_t i = scan_chunks(L); i-- > 0;) {
				size_t first = i * SCAN_CHUNK;
				struct chunk c = {
					.row = b * L + first,
					.n = L - first < SCAN_CHUNK ? L - first : SCAN_CHUNK,
					.states = states + (b * scan_chunks(L) + i) * E * N,
				};

				tile_chunk(&tile, d, d_out, in, &c, E, N);
			}
		}
		tile_end(&tile, d, N);
	}
}
