#!/usr/bin/env bash
# Articles and titles to the data-bin that teacher and students share: valid and test are parts of the original valid.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

stage text "${PYTHON:-python3}" "$(dirname -- "${BASH_SOURCE[0]}")/split_text.py" "$DATA" "$WORK/text" "$SRC" "$TGT" \
    "$HELD_OUT" "$ARTICLE_WORDS"
grep ' cut to ' "$WORK/logs/text.log"
prepare "$WORK/text"
