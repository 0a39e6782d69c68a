#!/usr/bin/env bash
# Stage 3: the student with the teacher's soft targets. Before it, on valid: how much more often the teacher is right than
# the plain student. This says which alpha to try (docs/choosing_settings.md).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# Without a plain student there is nothing to compare, and draws have no first guess.
if [[ -f $WORK/plain/checkpoint_best.pt && $DUMP_EXTRA != *sampled* ]]; then
    teacher_models
    # shellcheck disable=SC2086
    stage dump_valid bertkd dump-topk "$DATA_BIN" --gen-subset valid "${MODELS[@]}" --destdir "$WORK/topk.valid" \
        --topk "$TOPK_K" --precision "$PRECISION" $DUMP_EXTRA
    stage lead bertkd inspect "$WORK/topk.valid" --data-bin "$DATA_BIN" --force \
        --student plain="$WORK/plain/checkpoint_best.pt" --json "$WORK/lead.json"
    sed -n '/^Predicted correctly/,$p' "$WORK/logs/lead.log"
fi

student_options "$KD_MAX_TOKENS" "$KD_UPDATE_FREQ"
# shellcheck disable=SC2086
stage distilled "${TRAIN[@]}" "${STUDENT[@]}" --save-dir "$WORK/distilled" --teacher-topk "$TOPK" \
    --criterion bert_kd_label_smoothed_cross_entropy \
    --kd-alpha "$KD_ALPHA" --kd-temperature "$KD_TEMPERATURE" \
    --lr "$KD_LR" --warmup-updates "$KD_WARMUP" --max-update "$KD_UPDATES" \
    "${KD_START[@]}" $STUDENT_EXTRA
