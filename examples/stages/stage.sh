# What all recipes share; config.sh sources it at its end.
#
#   stage NAME COMMAND...   runs the command with its output in WORK/logs/NAME.log, unless it has been
#                           completed before with the same settings. A stage that was interrupted
#                           continues: fairseq-train from its last checkpoint, dump-topk from its
#                           last block.

STAGES=$(dirname -- "${BASH_SOURCE[0]}")

# Settings that most recipes leave as they are.
: "${GPUS:=1}"                      # processes of each training, and of the dump
: "${SHARDS:=1}"                    # data-bins that the training split is spread over: an epoch goes through one
: "${PLAIN_MAX_TOKENS:=$STUDENT_MAX_TOKENS}" "${PLAIN_UPDATE_FREQ:=$STUDENT_UPDATE_FREQ}"
: "${KD_MAX_TOKENS:=$STUDENT_MAX_TOKENS}" "${KD_UPDATE_FREQ:=$STUDENT_UPDATE_FREQ}"
: "${KD_FROM=}"                     # checkpoint whose weights the distilled student begins with
: "${ENSEMBLE:=0}" "${BERT_WEIGHT:=0.4}"  # plain students that teach beside BERT, and its weight in their mean
: "${TRAIN_PAIRS=}"                  # only the first pairs of the training text, so many; empty: all
: "${COMPARE_EXTRA=}"
: "${TEACHER_NAME=teacher}"         # another teacher in the same WORK
: "${DUMP_PATH=$WORK/$TEACHER_NAME/checkpoint_best.pt}" # several, with colons between, are averaged
: "${KEEP_BEST=$AVERAGE}"           # best checkpoints that each student keeps
# The symbols: wordpiece (paper), or bpe or sentencepiece with VOCAB_SIZE merges or pieces, learnt from the text.
: "${SUBWORD=wordpiece}" "${VOCAB_SIZE=6000}"

fail() {
    echo "error: $*" >&2
    exit 2
}

stage() {
    local name=$1 log=$WORK/logs/$1.log done_file=$WORK/$1.done start=$SECONDS command code=0
    shift
    printf -v command '%q ' "$@"
    # WORK and the package by name, so that a copy of the folder is still complete, for another checkout too.
    command=${command//"$WORK"/'$WORK'}
    command=${command//"$USER_DIR"/'$USER_DIR'}
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

# prepare TEXT OPTION...   TEXT/train, valid and test to the data-bin; its training split over SHARDS more, if several.
prepare() {
    local text=$1 train=$1/train symbols=(--tokenizer "$BERT") language file
    shift
    [[ -z $TRAIN_PAIRS ]] || for language in "$SRC" "$TGT"; do
        file=$text/train.$language train=$WORK/first_pairs/train
        [[ -f $file ]] || file+=.gz
        mkdir -p "$WORK/first_pairs"
        # gzip -f passes on what isn't compressed; sed reads all, so that gzip isn't cut off.
        # shellcheck disable=SC2016
        stage "first_pairs.$language" bash -o pipefail -c 'gzip -dcf "$0" | sed -n "1,$1p" >"$2"' \
            "$file" "$TRAIN_PAIRS" "$train.$language"
    done
    [[ $SUBWORD == wordpiece ]] || symbols=(--subword "$SUBWORD" --vocab-size "$VOCAB_SIZE")
    # PREPARE_EXTRA and its like hold several words on purpose.
    # shellcheck disable=SC2086
    stage prepare bertkd prepare --source-lang "$SRC" --target-lang "$TGT" \
        --train "$train" --valid "$text/valid" --test "$text/test" "$@" \
        "${symbols[@]}" --destdir "$DATA_BIN" --force $PREPARE_EXTRA
    ((SHARDS == 1)) ||
        stage shards "${PYTHON:-python3}" "$STAGES/shards.py" "$DATA_BIN" "$WORK/shards" "$SHARDS"
}

# From a checkout that isn't installed, the package is found beside this folder.
if ! command -v bertkd >/dev/null; then
    PYTHONPATH=$(cd -- "$STAGES/../.." && pwd)${PYTHONPATH:+:$PYTHONPATH}
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

for name in GPUS SHARDS; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "\`$name\` must be a number from 1 on, but is ${!name} instead."
done

[[ $TRAIN_PAIRS =~ ^([1-9][0-9]*)?$ ]] ||
    fail "\`TRAIN_PAIRS\` must be empty or a number from 1 on, but is $TRAIN_PAIRS instead."

DATA_BIN=$WORK/data-bin
TRAIN_DATA=$DATA_BIN
TOPK=${TOPK:-$WORK/topk} # another teacher's store, for student.sh
if ((SHARDS > 1)); then
    TRAIN_DATA=$WORK/shards/0 TOPK=$WORK/topk.0
    for ((shard = 1; shard < SHARDS; shard++)); do
        TRAIN_DATA+=:$WORK/shards/$shard
        TOPK+=:$WORK/topk.$shard
    done
fi

[[ $ENSEMBLE =~ ^[0-9]+$ ]] || fail "\`ENSEMBLE\` must be a number of students, but is $ENSEMBLE instead."

# teacher_models   puts into MODELS the teacher's models: BERT, and with it the plain student of 04_plain.sh and more of
#                  the next seeds.
teacher_models() {
    local path=$DUMP_PATH first=checkpoint_best next=checkpoint_best k
    MODELS=(--path "$path")
    ((ENSEMBLE > 0)) || return 0
    ((AVERAGE == 0)) || first=average_last next=average_last.$PLAIN_UPDATES
    path+=:$WORK/plain/$first.pt
    for ((k = 1; k < ENSEMBLE; k++)); do
        path+=:$WORK/plain.seed$((SEED + k))/$next.pt
    done
    MODELS=(--path "$path" --weights "$("${PYTHON:-python3}" -c 'import sys
bert, students = float(sys.argv[1]), int(sys.argv[2])
print(*map("{:g}".format, [bert, *[(1 - bert) / students] * students]), sep=",")' "$BERT_WEIGHT" "$ENSEMBLE")")
}

# average WHICH NAME   the mean of the last, or of the best, AVERAGE checkpoints of a student
average() {
    local which=$1 name=$2 count=()
    [[ $which == best ]] || count=("$AVERAGE")
    stage "average_${which}_$name" bertkd average --save-dir "$WORK/$name" "--$which" "${count[@]}" \
        --output "$WORK/$name/average_$which.pt" --force
}

TORCHRUN=(torchrun --standalone --nproc-per-node "$GPUS")
TRAIN=(fairseq-train)
PARALLEL=()
if ((GPUS > 1)); then
    TRAIN=("${TORCHRUN[@]}" --no-python fairseq-train)
    PARALLEL=(--ddp-backend legacy_ddp)
fi

# What the method asks for, whatever the data: shared with the demo.
mapfile -t TEACHER <"$USER_DIR/options/teacher.txt"
mapfile -t student <"$USER_DIR/options/student.txt"
mapfile -t generate <"$USER_DIR/options/generate.txt"

# How symbols become text again, in validation and in decoding.
detok=
[[ " $PREPARE_EXTRA " != *" --tokenized "* ]] || detok+=', "tokenized": true'
case $SUBWORD in
    wordpiece) ;;
    bpe)
        detok+=', "subword": "bpe"'
        generate+=(--bpe subword_nmt --bpe-codes "$DATA_BIN/bpe.codes")
        ;;
    sentencepiece) # made of raw text
        detok+=', "subword": "sentencepiece"'
        generate+=(--bpe sentencepiece --sentencepiece-model "$DATA_BIN/sentencepiece.model" --tokenizer space)
        ;;
    *) fail "\`SUBWORD\` must be wordpiece, bpe or sentencepiece, but is $SUBWORD instead." ;;
esac

# student_options MAX_TOKENS UPDATE_FREQ   puts into STUDENT what is the same for both students: model, loss of the
#                                          plain part, search, choice of checkpoint.
student_options() {
    STUDENT=(
        "$TRAIN_DATA" --user-dir "$USER_DIR" --task translation_bert_kd --precision "$PRECISION" "${student[@]}"
        --arch "$STUDENT_ARCH" --dropout "$DROPOUT"
        --encoder-layers "$LAYERS" --encoder-embed-dim "$DIM" --encoder-ffn-embed-dim "$FFN"
        --decoder-layers "$LAYERS" --decoder-embed-dim "$DIM" --decoder-ffn-embed-dim "$FFN"
        --encoder-attention-heads "$HEADS" --decoder-attention-heads "$HEADS"
        --label-smoothing "$LABEL_SMOOTHING" --max-tokens "$1" --seed "$SEED"
        # The length limits are the same in all arms and in validation: loops would cost time and BLEU.
        --eval-bleu-args "{\"beam\": 1, \"max_len_a\": $MAX_LEN_A, \"max_len_b\": $MAX_LEN_B}"
        --eval-bleu-detok-args "{\"undo_segmentation\": true, \"target_lang\": \"$TGT\"$detok}"
        --validate-interval-updates "$VALIDATE_EVERY" --save-interval-updates "$VALIDATE_EVERY"
        --validate-interval 100000 --save-interval 100000 --no-epoch-checkpoints
        --keep-interval-updates "$((AVERAGE > 1 ? AVERAGE : 1))"
        --log-format simple --log-interval "$LOG_EVERY" "${PARALLEL[@]}"
    )
    (($2 == 1)) || STUDENT+=(--update-freq "$2")
    ((KEEP_BEST == 0)) || STUDENT+=(--keep-best-checkpoints "$KEEP_BEST")
}

# fairseq takes the weights alone: updates and the learning rate begin anew.
KD_START=()
[[ -z $KD_FROM ]] || KD_START=(--finetune-from-model "$KD_FROM")

GENERATE=(
    "${generate[@]}" --lenpen "$LENPEN" --max-len-a "$MAX_LEN_A" --max-len-b "$MAX_LEN_B"
    --max-tokens 8000 --user-dir "$USER_DIR" --gen-subset test "$DATA_BIN"
)
