#!/usr/bin/env bash
# See how good the store of the teacher OF is, on the training text and on valid (topk.OF.valid).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/../config.sh"

for split in train valid; do
    store=$WORK/topk.$OF
    [[ $split == train ]] || store+=.$split
    stage "inspect_$split.$OF" bertkd inspect "$store" --data-bin "$DATA_BIN" \
        --json "$WORK/$OF.$split.json" --force
done
