/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and writing the policy's history. */
#include "agent/nmd/policy_files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POINTER_FILE  "state"
#define MAX_FILE      (4 << 20)
#define PATH_LEN      512
#define VERSION_DIGIT "%06" PRIu32

static void free_text(char **text)
{
	free(*text);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int version_path(const char *dir, uint32_t version, char path[PATH_LEN])
{
	int n = snprintf(path, PATH_LEN, "%s/" VERSION_DIGIT ".policy", dir, version);

	return n < PATH_LEN ? 0 : -ENAMETOOLONG;
}

int policy_files_prepare(const char *dir, struct error *e)
{
	char parent[PATH_LEN];
	char *slash;

	if (snprintf(parent, sizeof(parent), "%s", dir) >= (int)sizeof(parent))
		return error_set(e, -ENAMETOOLONG, "%s: path too long", dir);
	slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = '\0';
		if (mkdir(parent, 0700) && errno != EEXIST)
			return error_set(e, -errno, "%s: cannot be made: %m", parent);
	}
	if (mkdir(dir, 0700) && errno != EEXIST)
		return error_set(e, -errno, "%s: cannot be made: %m", dir);
	return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= n;
	}
	return fsync(fd) ? -errno : 0;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

/* Whole or not at all. */
static int write_file(const char *dir, const char *path, const char *text, struct error *e)
{
	char temporary[PATH_LEN + 8];
	int fd, rc;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(e, -errno, "%s: cannot be written: %m", temporary);
	rc = write_all(fd, text, strlen(text));
	close(fd);
	if (!rc && rename(temporary, path))
		rc = -errno;
	if (!rc)
		rc = sync_dir(dir);
	if (!rc)
		return 0;
	unlink(temporary);
	return error_set(e, rc, "%s: cannot be written: %s", path, strerror(-rc));
}

static int read_file(const char *path, char **ret_text, size_t *ret_len, struct error *e)
{
	cleanup(free_text) char *text = NULL;
	size_t len = 0, n;
	struct stat st;
	FILE *file = fopen(path, "re");

	if (!file)
		return error_set(e, -errno, "%s: cannot be read: %m", path);
	if (fstat(fileno(file), &st) || st.st_size > MAX_FILE || !(text = malloc(st.st_size + 1))) {
		fclose(file);
		return error_set(e, -EFBIG, "%s: too large for a policy", path);
	}
	while ((n = fread(text + len, 1, st.st_size - len, file)) > 0)
		len += n;
	fclose(file);
	text[len] = '\0';
	*ret_text = take_ptr(text);
	*ret_len = len;
	return 0;
}

int policy_files_write(const char *dir, const struct policy_version *about,
		       const struct policy *policy, struct error *e)
{
	cleanup(free_text) char *rules = policy_format(policy);
	cleanup(free_text) char *text = NULL;
	char path[PATH_LEN], when[32];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int rc = version_path(dir, about->version, path);

	if (!out || !rules || rc) {
		if (out)
			fclose(out);
		return error_set(e, rc ? rc : -ENOMEM, "policy %" PRIu32 ": %s", about->version,
				 strerror(rc ? -rc : ENOMEM));
	}
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&(time_t){about->time_s}));
	fprintf(out, "# netmamba policy, version %" PRIu32 "\n# time %s\n# by %s\n# summary %s\n",
		about->version, when, about->by, about->summary);
	fprintf(out, "# ids");
	for (uint32_t i = 0; i < policy->n_rules; i++)
		fprintf(out, " %" PRIu32, policy->rules[i].id);
	fprintf(out, "\n# next %" PRIu32 "\n%s", policy->next_id, rules);
	if (fclose(out))
		return error_set(e, -ENOMEM, "policy %" PRIu32 ": out of memory", about->version);
	return write_file(dir, path, text, e);
}

/* The value of the head's line "# key value", or NULL. Ends the value at its line's end. */
static char *head_value(const char *text, const char *key, char *buffer, size_t size)
{
	char start[32];
	size_t n = snprintf(start, sizeof(start), "# %s", key);

	while (*text == '#') {
		size_t len = strcspn(text, "\n");

		if (len >= n && !strncmp(text, start, n) && (text[n] == ' ' || len == n)) {
			size_t skip = len > n ? n + 1 : n;

			len -= skip;
			len = len < size ? len : size - 1;
			memcpy(buffer, text + skip, len);
			buffer[len] = '\0';
			return buffer;
		}
		text += len + (text[len] == '\n');
	}
	return NULL;
}

/* The rules' own ids, so that counters and `policy remove ID` survive a restart. */
static int restore_ids(struct policy *policy, const char *text)
{
	bool seen[MAX_RULES] = {0};
	char ids[MAX_RULES * 5 + 1], next[16];
	char *at = head_value(text, "ids", ids, sizeof(ids)), *end;

	if (!at || !head_value(text, "next", next, sizeof(next)))
		return -ENODATA;
	for (uint32_t i = 0; i < policy->n_rules; i++) {
		unsigned long id = strtoul(at, &end, 10);

		if (end == at || id < 1 || id >= MAX_RULES || seen[id])
			return -EINVAL;
		seen[id] = true;
		policy->rules[i].id = (uint32_t)id;
		at = end;
	}
	policy->next_id = (uint32_t)strtoul(next, NULL, 10);
	if (policy->next_id < 1 || policy->next_id > MAX_RULES)
		return -EINVAL;
	return 0;
}

int policy_files_read(const char *dir, uint32_t version, struct policy **ret_policy,
		      struct error *e)
{
	cleanup(free_text) char *text = NULL;
	struct policy *policy;
	char path[PATH_LEN];
	size_t len;
	int rc;

	if (version == 0) {
		policy = policy_new();
		if (!policy)
			return error_set(e, -ENOMEM, "out of memory");
		*ret_policy = policy;
		return 0;
	}
	rc = version_path(dir, version, path);
	if (!rc)
		rc = read_file(path, &text, &len, e);
	if (rc)
		return rc;
	rc = policy_parse(path, text, len, &policy, e);
	if (rc)
		return rc;
	if (restore_ids(policy, text)) {
		policy_free(policy);
		return error_set(e, -EINVAL, "%s: the head's rule ids do not fit the rules", path);
	}
	*ret_policy = policy;
	return 0;
}

void policy_files_remove(const char *dir, uint32_t version)
{
	char path[PATH_LEN];

	if (!version_path(dir, version, path))
		unlink(path);
}

int policy_files_read_pointer(const char *dir, struct policy_pointer *ret_pointer, struct error *e)
{
	cleanup(free_text) char *text = NULL;
	struct policy_pointer p = {0};
	char path[PATH_LEN];
	size_t len;
	int rc;

	snprintf(path, sizeof(path), "%s/" POINTER_FILE, dir);
	if (access(path, F_OK) && errno == ENOENT) {
		*ret_pointer = p;
		return 0;
	}
	rc = read_file(path, &text, &len, e);
	if (rc)
		return rc;
	if (sscanf(text, "current %" SCNu32 "\nconfirm_at %" SCNd64 "\nrevert_to %" SCNu32 "\n",
		   &p.version, &p.confirm_at_s, &p.revert_to) != 3)
		return error_set(e, -EINVAL,
				 "%s: damaged; remove it to begin with an empty policy, or write "
				 "\"current N\", \"confirm_at 0\", \"revert_to 0\"",
				 path);
	*ret_pointer = p;
	return 0;
}

int policy_files_write_pointer(const char *dir, const struct policy_pointer *pointer,
			       struct error *e)
{
	char path[PATH_LEN], text[128];

	snprintf(path, sizeof(path), "%s/" POINTER_FILE, dir);
	snprintf(text, sizeof(text),
		 "current %" PRIu32 "\nconfirm_at %" PRId64 "\nrevert_to %" PRIu32 "\n",
		 pointer->version, pointer->confirm_at_s, pointer->revert_to);
	return write_file(dir, path, text, e);
}

static int compare_versions(const void *a, const void *b)
{
	const struct policy_version *x = a, *y = b;

	return x->version < y->version ? -1 : x->version > y->version;
}

static void read_head(const char *dir, struct policy_version *about)
{
	cleanup(free_text) char *text = NULL;
	char path[PATH_LEN], when[32];
	struct tm tm = {0};
	size_t len;

	snprintf(about->summary, sizeof(about->summary), "(cannot be read)");
	if (version_path(dir, about->version, path) || read_file(path, &text, &len, NULL))
		return;
	if (head_value(text, "time", when, sizeof(when)) &&
	    strptime(when, "%Y-%m-%dT%H:%M:%SZ", &tm))
		about->time_s = timegm(&tm);
	head_value(text, "by", about->by, sizeof(about->by));
	head_value(text, "summary", about->summary, sizeof(about->summary));
}

int policy_files_list(const char *dir, struct policy_version **ret_versions, uint32_t *ret_n,
		      struct error *e)
{
	cleanup(close_dir) DIR *folder = opendir(dir);
	struct policy_version *versions = NULL;
	struct dirent *entry;
	uint32_t n = 0;

	if (!folder)
		return error_set(e, -errno, "%s: cannot be read: %m", dir);
	while ((entry = readdir(folder))) {
		struct policy_version *more;
		uint32_t version;
		char suffix[9] = ""; /* one more than ".policy": "000007.policy.new" is none */

		if (sscanf(entry->d_name, "%" SCNu32 "%8s", &version, suffix) != 2 ||
		    strcmp(suffix, ".policy"))
			continue;
		more = realloc(versions, (n + 1) * sizeof(*versions));
		if (!more) {
			free(versions);
			return error_set(e, -ENOMEM, "out of memory");
		}
		versions = more;
		versions[n] = (struct policy_version){.version = version};
		read_head(dir, &versions[n++]);
	}
	if (n)
		qsort(versions, n, sizeof(*versions), compare_versions);
	*ret_versions = versions;
	*ret_n = n;
	return 0;
}
