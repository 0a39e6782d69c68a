#!/usr/bin/env bash
# The baseline: the student without a teacher. With ENSEMBLE=3, also two more with the next seeds, which teach (03_dump.sh).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

student_options "$PLAIN_MAX_TOKENS" "$PLAIN_UPDATE_FREQ"
# shellcheck disable=SC2086
stage plain "${TRAIN[@]}" "${STUDENT[@]}" --save-dir "$WORK/plain" \
    --criterion label_smoothed_cross_entropy \
    --lr "$PLAIN_LR" --warmup-updates "$PLAIN_WARMUP" --max-update "$PLAIN_UPDATES" $STUDENT_EXTRA
((ENSEMBLE == 0 || AVERAGE == 0)) || average last plain
for ((k = 1; k < ENSEMBLE; k++)); do
    NAME='' SELECTED='' SUBSETS='' KD_ALPHA=0 SEED=$((SEED + k)) UPDATES=$PLAIN_UPDATES \
        bash "$(dirname -- "${BASH_SOURCE[0]}")/student.sh"
done
