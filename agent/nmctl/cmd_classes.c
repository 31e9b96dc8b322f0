/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl classes`: what each class's flows did and what became of them. */
#include "agent/nmctl/nmctl.h"

enum status cmd_classes(struct nmctl *ctl)
{
	static const struct column columns[] = {
		COLUMN("CLASS", "class", UNIT_TEXT),
		COLUMN("ID", "id", UNIT_TEXT, .wide = true),
		COLUMN("FLOWS", "flows", UNIT_COUNT),
		COLUMN("PASSED", "passed.packets", UNIT_COUNT),
		COLUMN("BYTES", "passed.bytes", UNIT_BYTES),
		COLUMN("DROPPED", "dropped.packets", UNIT_COUNT),
		COLUMN("BYTES", "dropped.bytes", UNIT_BYTES, .wide = true),
		COLUMN("LIMITED", "limited.packets", UNIT_COUNT),
		COLUMN("WOULD", "would.packets", UNIT_COUNT),
		COLUMN("THRESHOLD", "threshold", UNIT_SCORE, .wide = true),
		COLUMN("WATCH-ONLY", "watch_only", UNIT_YES, .wide = true),
		COLUMN("PROTECTED", "protected", UNIT_YES),
	};
	const char *words[] = {"classes"};
	cleanup(drop_json) json_t *done = NULL;
	size_t n_rows;

	return nmctl_table(ctl, words, 1, false, columns, sizeof(columns) / sizeof(columns[0]),
			   &n_rows, &done);
}
