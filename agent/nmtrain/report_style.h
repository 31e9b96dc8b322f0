/* SPDX-License-Identifier: BSD-2-Clause */
/* The style sheet of the evaluation's page: light, dark, paper. */
#pragma once

extern const char report_style[];
