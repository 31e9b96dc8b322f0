/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that the operator names: policies to send, the model to use. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmctl/nmctl.h"

/* A policy must fit in one line of the socket, with room for JSON's escapes. */
#define MAX_TEXT_BYTES (WIRE_MAX_LINE / 2)

static void close_file(FILE **file)
{
	if (*file && *file != stdin)
		fclose(*file);
}

int nmctl_read_file(const char *path, char **ret_text, size_t *ret_len, struct error *e)
{
	bool standard = !strcmp(path, "-");
	cleanup(close_file) FILE *file = standard ? stdin : fopen(path, "re");
	cleanup(drop_text) char *text = malloc(MAX_TEXT_BYTES + 1);
	size_t len;

	if (!file)
		return error_set(e, -errno, "%.120s: %s", path, strerror(errno));
	if (!text)
		return error_set(e, -ENOMEM, "no memory to read %.120s", path);
	len = fread(text, 1, MAX_TEXT_BYTES + 1, file);
	if (ferror(file))
		return error_set(e, -EIO, "%.120s: %s", path, strerror(errno));
	if (len > MAX_TEXT_BYTES)
		return error_set(e, -EFBIG, "%.120s: larger than %d bytes", path, MAX_TEXT_BYTES);
	if (memchr(text, 0, len))
		return error_set(e, -EILSEQ, "%.120s: not a text file: it has a zero byte", path);
	text[len] = 0;
	*ret_len = len;
	*ret_text = take_ptr(text);
	return 0;
}

const char *nmctl_model_path(const struct nmctl *ctl)
{
	if (ctl->options.model_path)
		return ctl->options.model_path;
	if (!access(DEFAULT_MODEL, R_OK))
		return DEFAULT_MODEL;
	return !access(TREE_MODEL, R_OK) ? TREE_MODEL : NULL;
}
