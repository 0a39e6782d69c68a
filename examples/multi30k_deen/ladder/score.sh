#!/usr/bin/env bash
# Score the translations of student.sh: sacreBLEU on each of SUBSETS, and the cross-entropy of valid's references.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/../config.sh"

name=$NAME.seed$SEED
for subset in $SUBSETS; do
    stage "compare_${subset}_$name.$UPDATES" bertkd compare --data-bin "$DATA_BIN" --gen-subset "$subset" --force \
        --system "$name=$WORK/$name.$UPDATES/generate-$subset.txt" --resamples "$RESAMPLES" \
        --json "$WORK/$name.$UPDATES/scores.$subset.json"
done
stage "validate_$name.$UPDATES" fairseq-validate "$DATA_BIN" --user-dir "$USER_DIR" --task translation_bert_kd \
    --path "$WORK/$name/average_last.$UPDATES.pt" --model-overrides "{'eval_bleu': False}" --max-tokens 8000 \
    --required-batch-size-multiple 1 --log-format simple
