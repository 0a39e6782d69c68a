#!/usr/bin/env bash
# One more student, trained to so many updates and decoded: other seeds, other settings of the teacher's share.
#
#   KD_ALPHA=0.5 KD_TEMPERATURE=1 SEED=2 UPDATES=2000 ./student.sh     # KD_ALPHA=0: a plain one
#
# Goes on from a dump in WORK (01 to 03). The same command with more UPDATES continues; checkpoint_best.pt is the best
# of all so far and, with AVERAGE=10, the mean of the last 10 is what translates. NAME=mine names the student, SUBSETS the
# splits to translate. TOPK=DIR is another store than that of 03, and gives the student its name. A plain one has this
# package's criterion as well: its loss is then fairseq's, computed in less time. SELECTED=NAME
# learns from what select.sh made as well, and has that in its name.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"
: "${UPDATES:?must be the number of updates to train to}"
: "${SELECTED=}"

if [[ -n $SELECTED ]]; then
    TRAIN_DATA=$WORK/selected/$SELECTED/data-bin
    [[ $TOPK != "$WORK/topk" ]] || for store in "$WORK/selected/$SELECTED"/topk?; do
        TOPK+=:$store
    done
fi

if [[ $KD_ALPHA == 0 && $STUDENT_EXTRA != *--kd-augment* ]]; then # which draws from the store, even with alpha 0
    student_options "$PLAIN_MAX_TOKENS" "$PLAIN_UPDATE_FREQ"
    name=${NAME:-plain}.seed$SEED
    options=(--kd-alpha 0 --lr "$PLAIN_LR" --warmup-updates "$PLAIN_WARMUP")
else
    student_options "$KD_MAX_TOKENS" "$KD_UPDATE_FREQ"
    name=${NAME:-alpha$KD_ALPHA.T$KD_TEMPERATURE}.seed$SEED
    [[ -n ${NAME-}$SELECTED || $TOPK == "$WORK/topk" || $SHARDS -gt 1 ]] || name=${TOPK##*/}.$name
    options=(--kd-alpha "$KD_ALPHA" --kd-temperature "$KD_TEMPERATURE" --teacher-topk "$TOPK"
        --lr "$KD_LR" --warmup-updates "$KD_WARMUP" "${KD_START[@]}")
fi
[[ -n ${NAME-} || -z $SELECTED ]] || name=$SELECTED.$name
# shellcheck disable=SC2086
stage "$name.$UPDATES" "${TRAIN[@]}" "${STUDENT[@]}" --save-dir "$WORK/$name" \
    --criterion bert_kd_label_smoothed_cross_entropy "${options[@]}" --max-update "$UPDATES" $STUDENT_EXTRA
checkpoint=checkpoint_best.pt
if ((AVERAGE > 0)); then
    checkpoint=average_last.$UPDATES.pt
    stage "average_$name.$UPDATES" bertkd average --save-dir "$WORK/$name" --last "$AVERAGE" \
        --output "$WORK/$name/$checkpoint" --force
fi
for subset in ${SUBSETS-test}; do
    stage "generate_${subset}_$name.$UPDATES" fairseq-generate --beam "$BEAM" "${GENERATE[@]}" \
        --gen-subset "$subset" --path "$WORK/$name/$checkpoint" --results-path "$WORK/$name.$UPDATES"
done
