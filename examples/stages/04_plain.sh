#!/usr/bin/env bash
# The baseline: the student without a teacher.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

student_options "$PLAIN_MAX_TOKENS" "$PLAIN_UPDATE_FREQ"
# shellcheck disable=SC2086
stage plain "${TRAIN[@]}" "${STUDENT[@]}" --save-dir "$WORK/plain" \
    --criterion label_smoothed_cross_entropy \
    --lr "$PLAIN_LR" --warmup-updates "$PLAIN_WARMUP" --max-update "$PLAIN_UPDATES" $STUDENT_EXTRA
