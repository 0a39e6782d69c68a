#!/usr/bin/env bash
# Translate the test split with both students, count and score the translations, plot the training.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

tables=() # what was scored: suffix of its files, a space, its heading
# translate SUFFIX CHECKPOINT BEAM: both students, and their scores, in files of that suffix.
translate() {
    local suffix=$1 checkpoint=$2 beam=$3 name
    for name in plain distilled; do
        stage "generate_$name$suffix" fairseq-generate --beam "$beam" "${GENERATE[@]}" \
            --path "$WORK/$name/$checkpoint" --results-path "$WORK/$name$suffix"
    done
    # shellcheck disable=SC2086
    stage "compare$suffix" bertkd compare --data-bin "$DATA_BIN" --gen-subset test --resamples "$RESAMPLES" \
        --system plain="$WORK/plain$suffix/generate-test.txt" \
        --system distilled="$WORK/distilled$suffix/generate-test.txt" --force \
        --json "$WORK/scores$suffix.json" --html "$WORK/compare$suffix.html" --text "$WORK/compare$suffix.txt" \
        $COMPARE_EXTRA
    tables+=("$suffix $checkpoint, beam $beam (scores$suffix.json)")
}

translate "" checkpoint_best.pt "$BEAM"
for beam in $MORE_BEAMS; do
    translate ".beam$beam" checkpoint_best.pt "$beam"
done
((AVERAGE == 0)) || for which in last best; do
    for name in plain distilled; do
        average "$which" "$name"
    done
    translate ".average_$which" "average_$which.pt" "$BEAM"
done
stage curves bertkd curves --force --output "$WORK/curves.png" --run plain="$WORK/logs/plain.log" \
    --run distilled="$WORK/logs/distilled.log" --run teacher="$WORK/logs/teacher.log"
for table in "${tables[@]}"; do
    printf '\n%s\n' "${table#* }"
    # The sentences that differ most come before the tables.
    sed -n '/^system /,$p' "$WORK/compare${table%% *}.txt"
done

printf '\nreport: %s\ncurves: %s\n' "$WORK/compare.html" "$WORK/curves.png"
