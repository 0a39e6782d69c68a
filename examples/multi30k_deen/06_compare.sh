#!/usr/bin/env bash
# Translate the test split with both students, count and score the translations, plot the training.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

for name in plain distilled; do
    # Without the batch size multiple of 1, fairseq-generate drops sentences; compare would notice.
    stage "generate_$name" fairseq-generate "$DATA_BIN" --user-dir "$USER_DIR" \
        --path "$WORK/$name/checkpoint_best.pt" --gen-subset test --results-path "$WORK/$name" \
        --beam "$BEAM" --lenpen "$LENPEN" --max-len-a "$MAX_LEN_A" --max-len-b "$MAX_LEN_B" \
        --max-tokens 8000 --required-batch-size-multiple 1 \
        --bpe bert_wordpiece --tokenizer bertkd_moses
done
stage compare bertkd compare --data-bin "$DATA_BIN" --split test --resamples "$RESAMPLES" \
    --system plain="$WORK/plain/generate-test.txt" \
    --system distilled="$WORK/distilled/generate-test.txt" --force \
    --json "$WORK/scores.json" --html "$WORK/compare.html"
stage curves bertkd curves --force --dest "$WORK/curves.png" --run plain="$WORK/logs/plain.log" \
    --run distilled="$WORK/logs/distilled.log" --run teacher="$WORK/logs/teacher.log"
sed -n '/^system /,$p' "$WORK/logs/compare.log"
