#!/usr/bin/env bash
# Stage 3: the student with the teacher's soft targets.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

student_options "$KD_MAX_TOKENS" "$KD_UPDATE_FREQ"
# shellcheck disable=SC2086
stage distilled "${TRAIN[@]}" "${STUDENT[@]}" --save-dir "$WORK/distilled" --teacher-topk "$TOPK" \
    --criterion bert_kd_label_smoothed_cross_entropy \
    --kd-alpha "$KD_ALPHA" --kd-temperature "$KD_TEMPERATURE" \
    --lr "$KD_LR" --warmup-updates "$KD_WARMUP" --max-update "$KD_UPDATES" \
    "${KD_START[@]}" $STUDENT_EXTRA
