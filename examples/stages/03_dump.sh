#!/usr/bin/env bash
# Stage 2: ask the teacher once for every target token of the training split; keep its top K. With ENSEMBLE=3, three plain
# students teach beside BERT, and 04 runs first. GPUS processes share the work, or so many jobs on one or several machines,
# each started with its number:
#
#   DUMP_JOBS=8 DUMP_JOB=0 ./03_dump.sh     # and so on to DUMP_JOB=7; all others wait for job 0 to begin
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/config.sh"

# Of several jobs, none trains the students.
[[ $ENSEMBLE == 0 || -n ${DUMP_JOBS-} ]] || bash "$(dirname -- "${BASH_SOURCE[0]}")/04_plain.sh"
teacher_models
dump=(bertkd dump-topk)
((GPUS == 1)) || dump=("${TORCHRUN[@]}" --module bertkd_fairseq.cli dump-topk)
IFS=: read -ra folders <<<"$TRAIN_DATA"
IFS=: read -ra stores <<<"$TOPK"
for i in "${!folders[@]}"; do
    name=dump${stores[i]#"$WORK/topk"} jobs=()
    report=$WORK/$name.json
    if [[ -n ${DUMP_JOBS-} ]]; then
        name+=.job${DUMP_JOB:?must be the number of this job, from 0}
        jobs=(--num-shards "$DUMP_JOBS" --shard-id "$DUMP_JOB")
    fi
    # shellcheck disable=SC2086
    stage "$name" "${dump[@]}" "${folders[i]}" "${MODELS[@]}" --destdir "${stores[i]}" \
        --topk "$TOPK_K" --precision "$PRECISION" --json "$report" "${jobs[@]}" $DUMP_EXTRA
done
