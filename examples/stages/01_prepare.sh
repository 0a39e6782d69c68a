#!/usr/bin/env bash
# Raw text to the data-bin that teacher and students share.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

prepare "$DATA"
