#!/usr/bin/env bash
# Which subword scheme, and which teacher: small students of equal schedules.
#
#   DATA=... BERT=... ROOT=work/schemes ./teachers_and_schemes.sh            # all, one after the other
#   ... ./teachers_and_schemes.sh wordpiece                                  # or: bpe, sentencepiece, ensemble
#
# Every part continues where it was interrupted; `ensemble` goes on from `wordpiece`.
set -euo pipefail
here=$(dirname -- "${BASH_SOURCE[0]}")/..
: "${ROOT:?must be the folder of all results}"
export LAYERS=${LAYERS:-2} DIM=${DIM:-128} FFN=${FFN:-256}                  # of the students
export TEACHER_UPDATES=${TEACHER_UPDATES:-600} TEACHER_WARMUP=${TEACHER_WARMUP:-30}
export UPDATES=${UPDATES:-1200} VALIDATE_EVERY=${VALIDATE_EVERY:-300}

of_scheme() {
    export WORK=$ROOT/$1 SUBWORD=$1
    "$here/01_prepare.sh"
    KD_ALPHA=0 SEED=1 "$here/student.sh"
    "$here/02_teacher.sh"
    "$here/03_dump.sh"
    SEED=1 "$here/student.sh"
}

# An ensemble of three plain students as teacher, and the C-MLM teacher beside it.
of_ensemble() {
    export WORK=$ROOT/wordpiece SUBWORD=wordpiece
    local plain="" seed
    for seed in 1 2 3; do
        KD_ALPHA=0 SEED=$seed "$here/student.sh"
        plain+=:$WORK/plain.seed$seed/checkpoint_best.pt
    done
    (
        source "$here/config.sh"
        stage dump_ensemble bertkd dump-topk "$DATA_BIN" --path "${plain#:}" --destdir "$WORK/ensemble" \
            --topk "$TOPK_K" --precision "$PRECISION"
        stage dump_both bertkd dump-topk "$DATA_BIN" --path "$WORK/teacher/checkpoint_best.pt$plain" \
            --weights .4,.2,.2,.2 --destdir "$WORK/both" --topk "$TOPK_K" --precision "$PRECISION"
    )
    TOPK=$WORK/ensemble SEED=1 "$here/student.sh"
    TOPK=$WORK/both SEED=1 "$here/student.sh"
}

for part in "${@:-all}"; do
    case $part in
        wordpiece | bpe | sentencepiece) of_scheme "$part" ;;
        ensemble) of_ensemble ;;
        all)
            for scheme in wordpiece bpe sentencepiece; do of_scheme "$scheme"; done
            of_ensemble
            ;;
        *)
            echo "error: no part $part; there are wordpiece, bpe, sentencepiece and ensemble" >&2
            exit 2
            ;;
    esac
done
