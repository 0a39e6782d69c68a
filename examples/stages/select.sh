#!/usr/bin/env bash
# Training text out of n-best lists (docs/rescoring.md): plain students translate the training split, the teacher
# rescores, and the best hypotheses become a part of their own beside the reference, with a store of their own.
#
#   STUDENTS="plain plain.seed2" BY=teacher ./select.sh     # WORK/selected/teacher
#   SELECTED=teacher UPDATES=2000 ./student.sh              # a student of it; KD_ALPHA=0: a plain one
#   BACKWARD=1 BY=student NAME=diverse ./select.sh          # sources from targets as well (arXiv 1911.01986)
#
# Goes on from 01 to 04, and after ./student.sh with its students: they are folders in WORK. The translation is in
# PARTS stages, rescoring and dumps continue from what they have. RESCORER=plain.seed2 is another second opinion than the
# teacher's, as control.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"
: "${STUDENTS=plain}" "${BY=teacher}" "${RESCORER=teacher}" "${NAME=$BY}" "${BACKWARD=0}"
: "${NBEST=5}" "${PARTS=8}"
: "${NBEST_EXTRA=}"  # of fairseq-generate, such as --sampling --sampling-topk 10
: "${MIX=}"          # --weight W --length-bonus B --lenpen P; those tuned on valid for the first student if empty
: "${SELECT_EXTRA=}" # of bertkd select, such as --keep 2
((SHARDS == 1)) || fail "select.sh takes one data-bin, but SHARDS is $SHARDS."
lists=$WORK/nbest made=$WORK/selected/$NAME
mkdir -p "$lists" "$made"

# translate STUDENT SPLIT PARTS OPTION...   its n-best lists, to nbest/STUDENT.SPLIT.out
translate() {
    local student=$1 split=$2 parts=$3 part outputs=()
    shift 3
    for ((part = 0; part < parts; part++)); do
        # --num-shards does nothing in fairseq-generate; its place in a group of processes does.
        # shellcheck disable=SC2086
        stage "nbest_$student.$split.$part" fairseq-generate "${GENERATE[@]}" --gen-subset "$split" \
            --beam "$NBEST" --nbest "$NBEST" --path "$WORK/$student/checkpoint_best.pt" \
            --distributed-world-size "$parts" --distributed-rank "$part" \
            --results-path "$lists/$student.$split.$part" $NBEST_EXTRA "$@"
        outputs+=("$lists/$student.$split.$part/generate-$split.txt")
    done
    cat "${outputs[@]}" >"$lists/$student.$split.out.partial"
    mv "$lists/$student.$split.out.partial" "$lists/$student.$split.out"
}

# rescore STUDENT OPTION...   its lists of the training split, to nbest/STUDENT.train.RESCORER.out
rescore() {
    local student=$1
    shift
    stage "rescore_$student.$RESCORER" bertkd rescore --nbest "$lists/$student.train.out" --gen-subset train \
        --data-bin "$DATA_BIN" --path "$WORK/$RESCORER/checkpoint_best.pt" --precision "$PRECISION" "$@" \
        --output "$lists/$student.train.$RESCORER.out" --json "$lists/$student.train.$RESCORER.json" --force
}

# choose BY FROM DEST OPTION...   from the data-bin FROM to DEST, which has a part more
choose() {
    local by=$1 from=$2 dest=$3
    shift 3
    # shellcheck disable=SC2086
    stage "select_$NAME.${dest##*/}" bertkd select --by "$by" --data-bin "$from" --with-reference apart "$@" \
        --destdir "$dest" --json "$dest.json" --force $SELECT_EXTRA
}

read -ra students <<<"$STUDENTS"
forward=$made/data-bin nbest=() rescored=()
((BACKWARD == 0)) || forward=$made/forward
for each in "${students[@]}"; do
    translate "$each" train "$PARTS"
    nbest+=("$lists/$each.train.out")
done
if [[ $BY == teacher || $BY == both ]]; then
    first=${students[0]}
    if [[ -z $MIX ]]; then
        translate "$first" valid 1
        rescore "$first" --tune-nbest "$lists/$first.valid.out"
        # One mix for all: only so are scores of several students alike.
        MIX=$("${PYTHON:-python3}" -c 'import json, sys
for name, value in json.load(open(sys.argv[1]))["mix"].items():
    print(f"--{name.replace(chr(95), chr(45))}={value}")' "$lists/$first.train.$RESCORER.json")
        students=("${students[@]:1}")
    fi
    # shellcheck disable=SC2086
    for each in "${students[@]}"; do
        rescore "$each" $MIX
    done
    for file in "${nbest[@]}"; do
        rescored+=("${file%.out}.$RESCORER.out")
    done
    choose "$BY" "$DATA_BIN" "$forward" --nbest "${nbest[@]}" --rescored "${rescored[@]}"
else
    choose "$BY" "$DATA_BIN" "$forward" --nbest "${nbest[@]}"
fi
teacher_models
parts=1
if ((BACKWARD)); then
    student_options "$PLAIN_MAX_TOKENS" "$PLAIN_UPDATE_FREQ"
    back=(--source-lang "$TGT" --target-lang "$SRC")
    # shellcheck disable=SC2086
    stage backward "${TRAIN[@]}" "${STUDENT[@]}" "${back[@]}" --save-dir "$WORK/backward" \
        --eval-bleu-detok-args "{\"undo_segmentation\": true, \"target_lang\": \"$SRC\"$detok}" \
        --criterion label_smoothed_cross_entropy \
        --lr "$PLAIN_LR" --warmup-updates "$PLAIN_WARMUP" --max-update "$PLAIN_UPDATES" $STUDENT_EXTRA
    translate backward train "$PARTS" "${back[@]}"
    choose student "$forward" "$made/data-bin" --backward --nbest "$lists/backward.train.out"
    parts=2
fi
for ((part = 1; part <= parts; part++)); do
    # shellcheck disable=SC2086
    stage "dump_$NAME.$part" bertkd dump-topk "$made/data-bin" --gen-subset "train$part" \
        "${MODELS[@]}" --destdir "$made/topk$part" --topk "$TOPK_K" \
        --precision "$PRECISION" --json "$made/dump$part.json" $DUMP_EXTRA
done
