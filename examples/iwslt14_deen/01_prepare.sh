#!/usr/bin/env bash
# The archive to raw train, valid and test text, and that to the data-bin that teacher and students share.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# shellcheck disable=SC2086
stage archive bertkd iwslt14 --archive "$ARCHIVE" --url "$ARCHIVE_URL" --destdir "$WORK/text" --force \
    --pairs $PAIRS
sed -n '/^sha256: /,/^pairs: /p' "$WORK/logs/archive.log"
# Cleaned before the split was made, valid included: nothing more to drop.
prepare "$WORK/text" --max-length 1000000 --max-ratio 1000000
