/* SPDX-License-Identifier: BSD-2-Clause */
/* Values of the policy language: numbers with units, times, prefixes. */
#include "agent/policy/units.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include "agent/policy/policy.h"

#define MIN_RATE_BYTES  1000ULL        /* 8 kbit/s */
#define MAX_RATE_BYTES  12500000000ULL /* 100 gbit/s; both as in maps/policy.h */
#define MIN_BURST_BYTES 1500ULL        /* a full packet */
#define MAX_BURST_BYTES 1000000000ULL  /* keeps burst_ns in 64 bits at the lowest rate */

struct unit {
	const char *name;
	uint64_t factor;
};

/* Smallest first. */
static const struct unit rate_units[] = {
	{"bit", 1}, {"kbit", 1000}, {"mbit", 1000000}, {"gbit", 1000000000}};
static const struct unit burst_units[] = {{"b", 1}, {"kb", 1000}, {"mb", 1000000}};
static const struct unit duration_units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};

#define N_UNITS(units) (sizeof(units) / sizeof((units)[0]))

static const char *list_units(const struct unit *units, size_t n, char buffer[UNITS_TEXT])
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += snprintf(buffer + len, UNITS_TEXT - len, "%s%s", i ? ", " : "",
				units[i].name);
	return buffer;
}

static int parse_quantity(const char *text, const struct unit *units, size_t n_units,
			  uint64_t *ret_value, struct error *e)
{
	size_t digits = strspn(text, "0123456789");
	const char *name = text + digits;
	char list[UNITS_TEXT];
	uint64_t value = 0;

	if (digits == 0 || *name == '.' || *name == ',')
		return error_set(e, -EINVAL, "wants a whole number and a unit (%s)",
				 list_units(units, n_units, list));
	for (size_t i = 0; i < digits; i++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return error_set(e, -ERANGE, "too large a number");
	if (*name == '\0')
		return error_set(e, -EINVAL, "has no unit; use %s",
				 list_units(units, n_units, list));
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(name, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].factor, ret_value))
			return error_set(e, -ERANGE, "too large a number");
		return 0;
	}
	return error_set(e, -EINVAL, "unknown unit \"%s\"; use %s", name,
			 list_units(units, n_units, list));
}

int units_parse_rate(const char *text, uint64_t *ret_bytes_per_s, struct error *e)
{
	uint64_t bits;
	int err = parse_quantity(text, rate_units, N_UNITS(rate_units), &bits, e);

	if (err)
		return err;
	if (bits == 0)
		return error_set(e, -EINVAL, "zero; to let nothing pass, use block");
	if (bits / 8 < MIN_RATE_BYTES)
		return error_set(e, -ERANGE, "too small; at least 8kbit");
	if (bits / 8 > MAX_RATE_BYTES)
		return error_set(e, -ERANGE, "too large; at most 100gbit");
	*ret_bytes_per_s = bits / 8;
	return 0;
}

int units_parse_burst(const char *text, uint64_t *ret_bytes, struct error *e)
{
	uint64_t bytes;
	int err = parse_quantity(text, burst_units, N_UNITS(burst_units), &bytes, e);

	if (err)
		return err;
	if (bytes < MIN_BURST_BYTES)
		return error_set(e, -ERANGE, "too small; at least 1500b, a full packet");
	if (bytes > MAX_BURST_BYTES)
		return error_set(e, -ERANGE, "too large; at most 1000mb");
	*ret_bytes = bytes;
	return 0;
}

int units_parse_duration(const char *text, uint64_t max_s, uint64_t *ret_s, struct error *e)
{
	char longest[UNITS_TEXT];
	uint64_t seconds;
	int err = parse_quantity(text, duration_units, N_UNITS(duration_units), &seconds, e);

	if (err)
		return err;
	if (seconds == 0)
		return error_set(e, -EINVAL, "zero; at least 1s");
	if (seconds > max_s)
		return error_set(e, -ERANGE, "too long; at most %s",
				 units_write_duration(max_s, longest));
	*ret_s = seconds;
	return 0;
}

int units_parse_time(const char *text, int64_t *ret_epoch_s, struct error *e)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	char again[UNITS_TEXT];
	int64_t epoch_s;

	if (end && *end == '\0') {
		epoch_s = timegm(&tm);
		/* Written back, the 31st of February would be another day. */
		if (epoch_s > 0 && strcmp(units_write_time(epoch_s, again), text) == 0) {
			*ret_epoch_s = epoch_s;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "not a time; write it in UTC as 2026-11-24T23:00:00Z");
}

uint64_t units_default_burst(uint64_t rate_bytes_per_s)
{
	uint64_t tenth = rate_bytes_per_s / 10;

	if (tenth < 16000)
		return 16000;
	return tenth < MAX_BURST_BYTES ? tenth : MAX_BURST_BYTES;
}

/* In the largest unit that divides it. */
static const char *write_quantity(uint64_t value, const struct unit *units, size_t n_units,
				  char buffer[UNITS_TEXT])
{
	size_t i = n_units - 1;

	while (i > 0 && value % units[i].factor != 0)
		i--;
	snprintf(buffer, UNITS_TEXT, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
	return buffer;
}

const char *units_write_rate(uint64_t bytes_per_s, char buffer[UNITS_TEXT])
{
	return write_quantity(bytes_per_s * 8, rate_units, N_UNITS(rate_units), buffer);
}

const char *units_write_burst(uint64_t bytes, char buffer[UNITS_TEXT])
{
	return write_quantity(bytes, burst_units, N_UNITS(burst_units), buffer);
}

const char *units_write_duration(uint64_t seconds, char buffer[UNITS_TEXT])
{
	return write_quantity(seconds, duration_units, N_UNITS(duration_units), buffer);
}

const char *units_write_time(int64_t epoch_s, char buffer[UNITS_TEXT])
{
	time_t seconds = epoch_s;
	struct tm tm;

	buffer[0] = '\0';
	if (gmtime_r(&seconds, &tm))
		strftime(buffer, UNITS_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buffer;
}

static bool is_mapped_v4(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

const char *units_write_prefix(const uint8_t addr[16], uint8_t prefix_len, char buffer[UNITS_TEXT])
{
	bool v4 = prefix_len >= 96 && is_mapped_v4(addr);
	char text[INET6_ADDRSTRLEN];

	if (v4)
		inet_ntop(AF_INET, addr + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, addr, text, sizeof(text));
	if (prefix_len == 128)
		snprintf(buffer, UNITS_TEXT, "%s", text);
	else
		snprintf(buffer, UNITS_TEXT, "%s/%d", text, v4 ? prefix_len - 96 : prefix_len);
	return buffer;
}

static void mask_addr(uint8_t addr[16], unsigned prefix_len)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned kept = prefix_len >= 8 * (i + 1) ? 8
				: prefix_len > 8 * i      ? prefix_len - 8 * i
							  : 0;

		addr[i] &= (uint8_t)(0xff00 >> kept);
	}
}

static int parse_prefix_len(const char *text, unsigned bits, unsigned *ret_len, struct error *e)
{
	size_t digits = strspn(text, "0123456789");
	unsigned len = 0;

	if (digits == 0 || digits > 3 || text[digits] != '\0')
		return error_set(e, -EINVAL, "\"/%s\" is not a prefix length; use /0 to /%u", text,
				 bits);
	for (size_t i = 0; i < digits; i++)
		len = len * 10 + (unsigned)(text[i] - '0');
	if (len > bits)
		return error_set(e, -EINVAL, "a prefix length is at most /%u here", bits);
	*ret_len = len;
	return 0;
}

int policy_prefix_parse(const char *text, uint8_t ret_addr[16], uint8_t *ret_prefix_len,
			struct error *e)
{
	uint8_t addr[16] = {[10] = 0xff, [11] = 0xff}, masked[16];
	const char *slash = strchrnul(text, '/');
	char host[INET6_ADDRSTRLEN], right[UNITS_TEXT];
	bool v4 = memchr(text, ':', (size_t)(slash - text)) == NULL;
	unsigned bits = v4 ? 32 : 128, len = bits;
	int err;

	if ((size_t)(slash - text) >= sizeof(host))
		return error_set(e, -EINVAL, "not an address");
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (inet_pton(v4 ? AF_INET : AF_INET6, host, v4 ? addr + 12 : addr) != 1)
		return error_set(
			e, -EINVAL,
			"\"%s\" is not an address; write 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
			host);
	err = *slash ? parse_prefix_len(slash + 1, bits, &len, e) : 0;
	if (err)
		return err;
	len += 128 - bits;
	memcpy(masked, addr, sizeof(masked));
	mask_addr(masked, len);
	if (memcmp(masked, addr, sizeof(masked)) != 0)
		return error_set(e, -EINVAL, "bits behind the prefix are set; did you mean %s?",
				 units_write_prefix(masked, (uint8_t)len, right));
	memcpy(ret_addr, addr, sizeof(addr));
	*ret_prefix_len = (uint8_t)len;
	return 0;
}
