#!/usr/bin/env bash
# Make a corpus of the ladder: the references, and beside them (train1) translations of the training text by students.
#
# The first of STUDENTS writes n-best lists, and the others rescore them. With TEACHERS, all students write together, as
# an ensemble, and the teachers rescore. With BY=student they write together, and nobody rescores. Weight and length bonus
# are tuned on valid, and the best hypothesis of each sentence is taken. If nobody rescores, that is the first one.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/../config.sh"
: "${STUDENTS:?must be the checkpoints of the students}" "${TEACHERS=}" "${NBEST=5}" "${BY=teacher}"

[[ ! -f $WORK/chosen.done ]] || exit 0
lists=$WORK/nbest writers=$STUDENTS others=$TEACHERS
if [[ $BY == teacher && -z $TEACHERS ]]; then
    writers=${STUDENTS%%:*} others=${STUDENTS#"${STUDENTS%%:*}"}
fi
mkdir -p "$lists"
for split in train valid; do
    stage "nbest_$split" fairseq-generate "${GENERATE[@]}" --gen-subset "$split" --path "$writers" \
        --beam "$NBEST" --nbest "$NBEST" --results-path "$lists"
done
choose=(--by student)
if [[ $BY == teacher && -n $others ]]; then
    stage rescore bertkd rescore --nbest "$lists/generate-train.txt" --gen-subset train --data-bin "$DATA_BIN" \
        --path "${others#:}" --precision "$PRECISION" --tune-nbest "$lists/generate-valid.txt" \
        --output "$lists/rescored.txt" --json "$lists/rescored.json" --force
    choose=(--by teacher --rescored "$lists/rescored.txt")
fi
stage select bertkd select --nbest "$lists/generate-train.txt" "${choose[@]}" --data-bin "$DATA_BIN" \
    --with-reference apart --destdir "$WORK/selected" --json "$WORK/selected.json" --force
stage chosen bash -c 'cp "$0"/train1.* "$1"' "$WORK/selected" "$DATA_BIN"
