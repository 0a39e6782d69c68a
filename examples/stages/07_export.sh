#!/usr/bin/env bash
# The distilled student for CTranslate2, in float32 and int8; both translate the test split and are scored beside fairseq.
# EXPORT=1 ./run_all.sh has it at its end.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

systems=(--system fairseq="$WORK/distilled/generate-test.txt")
mkdir -p "$WORK/export"
for quantization in float32 int8; do
    stage "export_$quantization" bertkd export --path "$WORK/distilled/checkpoint_best.pt" --data-bin "$DATA_BIN" \
        --quantization "$quantization" --destdir "$WORK/export/$quantization" --force
    stage "translate_$quantization" bertkd translate --path "$WORK/export/$quantization" --beam "$BEAM" \
        --lenpen "$LENPEN" --max-len-a "$MAX_LEN_A" --max-len-b "$MAX_LEN_B" --force \
        --input "$DATA_BIN/references/test.$SRC" --output "$WORK/export/test.$quantization.$TGT"
    systems+=(--system "$quantization=$WORK/export/test.$quantization.$TGT")
done
# shellcheck disable=SC2086
stage compare_export bertkd compare --data-bin "$DATA_BIN" --gen-subset test --resamples "$RESAMPLES" "${systems[@]}" \
    --force --json "$WORK/export/scores.json" --text "$WORK/export/compare.txt" $COMPARE_EXTRA
sed -n '/^system /,$p' "$WORK/export/compare.txt"
