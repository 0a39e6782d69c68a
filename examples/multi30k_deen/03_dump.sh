#!/usr/bin/env bash
# Stage 2: ask the teacher once for every target token of the training split; keep its top K.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# shellcheck disable=SC2086
stage dump bertkd dump-topk "$DATA_BIN" --path "$WORK/teacher/checkpoint_best.pt" --destdir "$TOPK" \
    --topk "$TOPK_K" --precision "$PRECISION" --json "$WORK/dump.json" $DUMP_EXTRA
