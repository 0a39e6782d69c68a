# What all recipes share; config.sh sources it at its end.
#
#   stage NAME COMMAND...   runs the command with its output in WORK/logs/NAME.log, unless it has been
#                           completed before with the same settings. A stage that was interrupted
#                           continues: fairseq-train from its last checkpoint, dump-topk from its
#                           last block.

fail() {
    echo "error: $*" >&2
    exit 2
}

stage() {
    local name=$1 log=$WORK/logs/$1.log done_file=$WORK/$1.done start=$SECONDS command code=0
    shift
    printf -v command '%q ' "$@"
    # WORK by name, so that a copy of the folder is still complete.
    command=${command//"$WORK"/'$WORK'}
    if [[ -f $done_file ]]; then
        [[ $(<"$done_file") == "$command" ]] ||
            fail "$name is complete in $WORK, but with other settings (see $done_file)." \
                "Use another WORK, or remove the results of this stage and of all later ones."
        echo "$name: complete, skipped"
        return 0
    fi
    mkdir -p "$WORK/logs"
    echo "$name: running, log in $log"
    echo "\$ $command" >>"$log"
    "$@" >>"$log" 2>&1 || code=$?
    if ((code)); then
        tail -n 20 "$log" >&2
        fail "$name failed with exit code $code; the log is $log."
    fi
    printf '%s\t%d\n' "$name" "$((SECONDS - start))" >>"$WORK/seconds.tsv"
    printf '%s' "$command" >"$done_file.partial"
    mv "$done_file.partial" "$done_file"
    echo "$name: done in $((SECONDS - start)) s"
}

# From a checkout that isn't installed, the package is found beside this folder.
if ! command -v bertkd >/dev/null; then
    PYTHONPATH=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}
    export PYTHONPATH
    bertkd() { "${PYTHON:-python3}" -m bertkd_fairseq.cli "$@"; }
fi
command -v fairseq-train >/dev/null ||
    fail "fairseq-train isn't on the PATH. Activate the environment that \`make install\` made."
USER_DIR=$(bertkd user-dir) || fail "bertkd can't run here: \`bertkd doctor\` tells why."

# One precision for all stages and all students: what this machine is measured to be fastest in, kept from the first
# stage on. With it come settings of threads and memory, where the environment has none.
[[ $PRECISION != auto || ! -f $WORK/precision ]] || PRECISION=$(<"$WORK/precision")
exports=$(PRECISION=$PRECISION bertkd doctor --exports) || fail "the machine can't be measured."
eval "$exports"
if [[ ! -f $WORK/precision ]]; then
    mkdir -p "$WORK"
    echo "$PRECISION" >"$WORK/precision.partial"
    mv "$WORK/precision.partial" "$WORK/precision"
fi

[[ $AVERAGE =~ ^(0|[2-9]|[1-9][0-9]+)$ ]] ||
    fail "\`AVERAGE\` must be 0 or a number of checkpoints from 2 on, but is $AVERAGE instead."

DATA_BIN=$WORK/data-bin
TOPK=$WORK/topk

# What the method asks for, whatever the data: shared with the demo.
mapfile -t TEACHER <"$USER_DIR/options/teacher.txt"
mapfile -t student <"$USER_DIR/options/student.txt"
mapfile -t generate <"$USER_DIR/options/generate.txt"

# Both students: same model, same loss of the plain part, same search, same choice of checkpoint.
STUDENT=(
    "$DATA_BIN" --user-dir "$USER_DIR" --task translation_bert_kd --precision "$PRECISION" "${student[@]}"
    --arch "$STUDENT_ARCH" --dropout "$DROPOUT"
    --encoder-layers "$LAYERS" --encoder-embed-dim "$DIM" --encoder-ffn-embed-dim "$FFN"
    --decoder-layers "$LAYERS" --decoder-embed-dim "$DIM" --decoder-ffn-embed-dim "$FFN"
    --encoder-attention-heads "$HEADS" --decoder-attention-heads "$HEADS"
    --label-smoothing "$LABEL_SMOOTHING" --max-tokens "$STUDENT_MAX_TOKENS" --seed "$SEED"
    # The length limits are the same in all arms and in validation: loops would cost time and BLEU.
    --eval-bleu-args "{\"beam\": 1, \"max_len_a\": $MAX_LEN_A, \"max_len_b\": $MAX_LEN_B}"
    --eval-bleu-detok-args "{\"undo_segmentation\": true, \"target_lang\": \"$TGT\"}"
    --validate-interval-updates "$VALIDATE_EVERY" --save-interval-updates "$VALIDATE_EVERY"
    --validate-interval 100000 --save-interval 100000 --no-epoch-checkpoints
    --keep-interval-updates "$((AVERAGE > 1 ? AVERAGE : 1))"
    --log-format simple --log-interval "$LOG_EVERY"
)
GENERATE=(
    "${generate[@]}" --lenpen "$LENPEN" --max-len-a "$MAX_LEN_A" --max-len-b "$MAX_LEN_B"
    --max-tokens 8000 --user-dir "$USER_DIR" --gen-subset test "$DATA_BIN"
)
((STUDENT_UPDATE_FREQ == 1)) || STUDENT+=(--update-freq "$STUDENT_UPDATE_FREQ")
((AVERAGE == 0)) || STUDENT+=(--keep-best-checkpoints "$AVERAGE")
