#!/usr/bin/env bash
# Submits a recipe to SLURM, one job a stage, each when what it needs has succeeded; arguments are options of sbatch for all.
#
#   RECIPE=wmt14_ende DATA=/shared/wmt14 WORK=/shared/work GPUS=4 DUMP_JOBS=8 slurm.sh --partition=gpu --time=24:00:00
#
# Every machine has to see this checkout, DATA and WORK under the same names. A job that was stopped continues when it is
# submitted again; stages that are complete end at once.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
recipe=$(cd -- "$here/../${RECIPE:?must name a folder in examples}" && pwd)
: "${WORK:?must be a folder that every machine sees}" "${GPUS:=4}" "${DUMP_JOBS:=8}"
export WORK GPUS
mkdir -p "$WORK/logs"
options=("$@")

# submit NAME NEEDED GPUS COMMAND OPTION...   prints the job's number; NEEDED: numbers with colons between, or nothing
submit() {
    local name=$1 needed=$2 gpus=$3 command=$4
    shift 4
    [[ -z $needed ]] || set -- "$@" --dependency "afterok:$needed"
    ((gpus == 0)) || set -- "$@" --gpus-per-node "$gpus"
    sbatch --parsable --export ALL --nodes 1 --ntasks 1 --job-name "$name" --output "$WORK/logs/slurm.%x.%j.log" \
        "$@" "${options[@]}" --wrap "$command"
}

printf -v scripts '%q' "$recipe"
prepare=$(submit prepare "" 0 "$scripts/01_prepare.sh")
teacher=$(submit teacher "$prepare" "$GPUS" "$scripts/02_teacher.sh")
plain=$(submit plain "$prepare" "$GPUS" "$scripts/04_plain.sh")
teachers=$teacher # and plain students, in a recipe or a call that sets ENSEMBLE
[[ ${ENSEMBLE:-0} == 0 ]] && ! grep -q '^ENSEMBLE=' "$recipe/config.sh" || teachers+=:$plain
dump=$(submit dump "$teachers" 1 "GPUS=1 DUMP_JOBS=$DUMP_JOBS DUMP_JOB=\$SLURM_ARRAY_TASK_ID $scripts/03_dump.sh" \
    --array "0-$((DUMP_JOBS - 1))")
distilled=$(submit distilled "$plain:$dump" "$GPUS" "$scripts/05_distilled.sh")
compare=$(submit compare "$distilled" 1 "$scripts/06_compare.sh")
jobs="prepare $prepare, teacher $teacher, plain $plain, dump $dump, distilled $distilled, compare $compare"
[[ ${EXPORT-} != 1 ]] || jobs+=", export $(submit export "$distilled" 0 "$scripts/07_export.sh")"
echo "jobs: $jobs"
