#!/usr/bin/env bash
# The baseline: the student without a teacher.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# shellcheck disable=SC2086
stage plain fairseq-train "${STUDENT[@]}" --save-dir "$WORK/plain" \
    --criterion label_smoothed_cross_entropy \
    --lr "$PLAIN_LR" --warmup-updates "$PLAIN_WARMUP" --max-update "$PLAIN_UPDATES" $STUDENT_EXTRA
