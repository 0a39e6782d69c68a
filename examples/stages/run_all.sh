#!/usr/bin/env bash
# All stages in order; stages that are complete skip themselves.
set -euo pipefail
for script in "$(dirname -- "${BASH_SOURCE[0]}")"/0[1-6]_*.sh; do
    bash "$script"
done
[[ ${EXPORT-} != 1 ]] || bash "$(dirname -- "${BASH_SOURCE[0]}")/07_export.sh"
