#!/usr/bin/env bash
# Make a corpus of the ladder: the references, and beside them (train1) translations by students, of the training text, or
# of UNPAIRED further sentences of it, of which only the source is read.
#
# The first of STUDENTS writes n-best lists, and the others rescore them. With TEACHERS, all students write together, as
# an ensemble, and the teachers rescore. With BY=student they write together, and nobody rescores. Weight and length bonus
# are tuned on valid, and the best hypothesis of each sentence is taken. If nobody rescores, that is the first one.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/../config.sh"
: "${STUDENTS:?must be the checkpoints of the students}" "${TEACHERS=}" "${NBEST=5}" "${BY=teacher}" "${UNPAIRED=0}"

[[ ! -f $WORK/chosen.done ]] || exit 0
lists=$WORK/nbest writers=$STUDENTS others=$TEACHERS
if [[ $BY == teacher && -z $TEACHERS ]]; then
    writers=${STUDENTS%%:*} others=${STUDENTS#"${STUDENTS%%:*}"}
fi
mkdir -p "$lists"
bin=$DATA_BIN split=train made=train1 beside=apart
if ((UNPAIRED > 0)); then # they are the test split of a data-bin with the same symbols
    bin=$WORK/unpaired split=test made=test beside=no
    file=$DATA/train.$SRC
    [[ -f $file ]] || file+=.gz
    # shellcheck disable=SC2016
    stage unpaired_text bash -o pipefail -c 'gzip -dcf "$0" | sed -n "$(($1 + 1)),$(($1 + $2))p" >"$3.$4"
        sed "s/.*/./" "$3.$4" >"$3.$5"' "$file" "$TRAIN_PAIRS" "$UNPAIRED" "$lists/unpaired" "$SRC" "$TGT"
    mapfile -t command < <(xargs -n 1 <"$WORK/prepare.done")
    command=("${command[@]//'$WORK'/"$WORK"}")
    stage prepare_unpaired "${command[@]}" --test "$lists/unpaired" --destdir "$bin"
    cmp "$DATA_BIN/dict.$SRC.txt" "$bin/dict.$SRC.txt"
fi
generate=("${GENERATE[@]/#"$DATA_BIN"/"$bin"}")
for each in "$split" valid; do
    stage "nbest_$each" fairseq-generate "${generate[@]}" --gen-subset "$each" --path "$writers" \
        --beam "$NBEST" --nbest "$NBEST" --results-path "$lists"
done
choose=(--by student)
if [[ $BY == teacher && -n $others ]]; then
    stage rescore bertkd rescore --nbest "$lists/generate-$split.txt" --gen-subset "$split" --data-bin "$bin" \
        --path "${others#:}" --precision "$PRECISION" --tune-nbest "$lists/generate-valid.txt" \
        --output "$lists/rescored.txt" --json "$lists/rescored.json" --force
    choose=(--by teacher --rescored "$lists/rescored.txt")
fi
stage select bertkd select --nbest "$lists/generate-$split.txt" --gen-subset "$split" "${choose[@]}" --data-bin "$bin" \
    --with-reference "$beside" --destdir "$WORK/selected" --json "$WORK/selected.json" --force
# shellcheck disable=SC2016
stage chosen bash -euc 'for file in "$0/$2".*; do cp "$file" "$1/train1.${file#"$0/$2."}"; done' \
    "$WORK/selected" "$DATA_BIN" "$made"
