/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers for people: three significant digits and a prefix. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include "agent/nmctl/human.h"

/* Three significant digits without trailing zeros; below 1000 whole numbers stay whole. The
 * prefix moves up before rounding could print "1000". */
static void scaled(double value, const char *const *prefixes, const char *suffix,
		   char buffer[HUMAN_TEXT])
{
	unsigned i = 0;

	while (fabs(value) >= 999.5 && prefixes[i + 1]) {
		value /= 1000;
		i++;
	}
	if (i == 0)
		snprintf(buffer, HUMAN_TEXT, "%.0f%s%s", value, prefixes[i], suffix);
	else
		snprintf(buffer, HUMAN_TEXT, "%.3g%s%s", value, prefixes[i], suffix);
}

char *human_count(double n, char buffer[HUMAN_TEXT])
{
	static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E", NULL};

	if (fabs(n) < 9999.5)
		snprintf(buffer, HUMAN_TEXT, "%.0f", n);
	else
		scaled(n, prefixes, "", buffer);
	return buffer;
}

char *human_bytes(double bytes, char buffer[HUMAN_TEXT])
{
	static const char *const prefixes[] = {" ", " k", " M", " G", " T", " P", " E", NULL};

	scaled(bytes, prefixes, "B", buffer);
	return buffer;
}

char *human_duration(double seconds, char buffer[HUMAN_TEXT])
{
	/* Beyond some 300 years it is no duration but a wrong number. */
	int64_t s = seconds > 0 && seconds < 1e10 ? (int64_t)(seconds + 0.5) : 0;

	if (!(seconds < 1e10))
		snprintf(buffer, HUMAN_TEXT, "forever");
	else if (seconds > 0 && seconds < 0.9995)
		snprintf(buffer, HUMAN_TEXT, "%.0fms", seconds * 1000);
	else if (s < 60)
		snprintf(buffer, HUMAN_TEXT, "%ds", (int)s);
	else if (s < 3600)
		snprintf(buffer, HUMAN_TEXT, "%dm%02ds", (int)(s / 60), (int)(s % 60));
	else if (s < 86400)
		snprintf(buffer, HUMAN_TEXT, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
	else
		snprintf(buffer, HUMAN_TEXT, "%dd%02dh", (int)(s / 86400), (int)(s / 3600 % 24));
	return buffer;
}

char *human_percent(double fraction, char buffer[HUMAN_TEXT])
{
	snprintf(buffer, HUMAN_TEXT, "%.1f%%", fraction * 100);
	return buffer;
}

static char *local_time(int64_t seconds, const char *format, char buffer[HUMAN_TEXT])
{
	time_t t = seconds;
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(buffer, HUMAN_TEXT, format, &tm))
		snprintf(buffer, HUMAN_TEXT, "%lld", (long long)seconds);
	return buffer;
}

char *human_time(int64_t seconds, char buffer[HUMAN_TEXT])
{
	return local_time(seconds, "%Y-%m-%d %H:%M:%S", buffer);
}

char *human_time_of_day(int64_t seconds, char buffer[HUMAN_TEXT])
{
	return local_time(seconds, "%H:%M:%S", buffer);
}
