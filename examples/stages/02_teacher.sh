#!/usr/bin/env bash
# Stage 1: fine-tune BERT to fill masked target tokens, given the source and the rest of the target.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# shellcheck disable=SC2086
stage "$TEACHER_NAME" "${TRAIN[@]}" "$TRAIN_DATA" --user-dir "$USER_DIR" --save-dir "$WORK/$TEACHER_NAME" \
    --precision "$PRECISION" "${TEACHER[@]}" --bert-model "$BERT" --weight-decay 0.01 \
    --lr "$TEACHER_LR" --warmup-updates "$TEACHER_WARMUP" \
    --total-num-update "$TEACHER_UPDATES" --max-update "$TEACHER_UPDATES" \
    --max-tokens "$TEACHER_MAX_TOKENS" --update-freq "$TEACHER_UPDATE_FREQ" --seed "$SEED" \
    --validate-interval-updates "$VALIDATE_EVERY" --save-interval-updates "$VALIDATE_EVERY" \
    --validate-interval 100000 --save-interval 100000 --no-epoch-checkpoints \
    --keep-interval-updates 1 \
    --log-format simple --log-interval "$LOG_EVERY" "${PARALLEL[@]}" $TEACHER_EXTRA
