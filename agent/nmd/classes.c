/* SPDX-License-Identifier: BSD-2-Clause */
/* The class registry: names to ids, kept in the pinned map. */
#include "agent/nmd/classes.h"
#include <errno.h>
#include <string.h>

#define UNKNOWN_NAME "unknown"

int classes_find(const struct classes *c, const char *name)
{
	for (uint32_t id = 0; id < c->n; id++)
		if (!strcmp(c->name[id], name))
			return (int)id;
	return -1;
}

int classes_load(struct classes *c, struct kernel *k, struct error *e)
{
	int rc;

	memset(c, 0, sizeof(*c));
	for (uint32_t id = 0; id < MAX_CLASSES; id++) {
		rc = kernel_class_name_get(k, id, c->name[id]);
		if (rc)
			return error_set(e, rc, "map class_names: cannot be read: %s",
					 strerror(-rc));
		c->name[id][CLASS_NAME_LEN - 1] = '\0';
		if (!c->name[id][0])
			break;
		c->n++;
	}
	if (c->n)
		return 0;
	rc = classes_register(c, k, UNKNOWN_NAME, e);
	return rc < 0 ? rc : 0;
}

int classes_register(struct classes *c, struct kernel *k, const char *name, struct error *e)
{
	int id = classes_find(c, name), rc;

	if (id >= 0)
		return id;
	if (c->n >= MAX_CLASSES)
		return error_set(e, -ENOSPC,
				 "class %s: all %d class ids are given out; stop nmd and run "
				 "`nmd --detach` to begin anew",
				 name, MAX_CLASSES);
	if (strlen(name) >= CLASS_NAME_LEN)
		return error_set(e, -ENAMETOOLONG, "class %s: a name has %d characters at most",
				 name, CLASS_NAME_LEN - 1);
	rc = kernel_class_name_set(k, c->n, name);
	if (rc)
		return error_set(e, rc, "map class_names: cannot be written: %s", strerror(-rc));
	strcpy(c->name[c->n], name);
	return (int)c->n++;
}

int classes_adopt_model(struct classes *c, struct kernel *k, const struct model *m, struct error *e)
{
	struct classes fresh = *c;

	memset(fresh.in_model, 0, sizeof(fresh.in_model));
	memset(fresh.watch_only, 0, sizeof(fresh.watch_only));
	memset(fresh.threshold, 0, sizeof(fresh.threshold));
	for (uint32_t i = 0; i < m->n_classes; i++) {
		int id = classes_register(&fresh, k, m->class_name[i], e);

		if (id < 0)
			return id;
		fresh.in_model[id] = true;
		fresh.watch_only[id] = m->calibration.watch_only[i];
		fresh.threshold[id] = m->calibration.threshold[i];
	}
	*c = fresh;
	return 0;
}
