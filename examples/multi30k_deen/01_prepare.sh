#!/usr/bin/env bash
# Raw text to the data-bin that teacher and students share.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# PREPARE_EXTRA and its like hold several words on purpose.
# shellcheck disable=SC2086
stage prepare bertkd prepare --source-lang "$SRC" --target-lang "$TGT" \
    --train "$DATA/train" --valid "$DATA/valid" --test "$DATA/test" \
    --tokenizer "$BERT" --destdir "$DATA_BIN" --force $PREPARE_EXTRA
