# All settings of the recipe. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh
# Sized for a CPU with 2 cores: a shorter training and a smaller student than in the paper.

# What goes in and where everything comes out.
: "${DATA:?must name the folder with train, valid and test .de and .en (or .de.gz, .en.gz)}"
: "${BERT:?must be a folder or hub name of a BERT in Hugging Face form, see README.md}"
WORK=${WORK:-$PWD/work/multi30k_deen}
SRC=${SRC:-de}
TGT=${TGT:-en}
SEED=${SEED:-1}
# As in the paper, text is lowercased; PREPARE_EXTRA= keeps case.
PREPARE_EXTRA=${PREPARE_EXTRA---lowercase}
# Of all stages: auto, fp32 or bf16. auto measures once and takes what is fastest here.
PRECISION=${PRECISION:-auto}

# Stage 1: the teacher.
TEACHER_UPDATES=${TEACHER_UPDATES:-1500}
TEACHER_WARMUP=${TEACHER_WARMUP:-75}    # 5%, as in the paper
TEACHER_LR=${TEACHER_LR:-4e-4}          # a small BERT that never saw German: more than the paper's 5e-5
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-4096}
TEACHER_UPDATE_FREQ=${TEACHER_UPDATE_FREQ:-1}
TEACHER_EXTRA=${TEACHER_EXTRA---attention eager}   # on CPUs, faster in bfloat16 than fused attention

# Stage 2: its soft targets.
TOPK_K=${TOPK_K:-8}
DUMP_EXTRA=${DUMP_EXTRA-}

# Stage 3: both students.
STUDENT_ARCH=${STUDENT_ARCH:-transformer_iwslt_de_en}
LAYERS=${LAYERS:-3}
DIM=${DIM:-256}
FFN=${FFN:-512}
HEADS=${HEADS:-4}
DROPOUT=${DROPOUT:-0.3}
LABEL_SMOOTHING=${LABEL_SMOOTHING:-0.1}
STUDENT_MAX_TOKENS=${STUDENT_MAX_TOKENS:-4096}
STUDENT_UPDATE_FREQ=${STUDENT_UPDATE_FREQ:-1}
STUDENT_EXTRA=${STUDENT_EXTRA-}
VALIDATE_EVERY=${VALIDATE_EVERY:-250}
LOG_EVERY=${LOG_EVERY:-25}
PLAIN_UPDATES=${PLAIN_UPDATES:-2000}   # about 12 epochs
PLAIN_WARMUP=${PLAIN_WARMUP:-400}
PLAIN_LR=${PLAIN_LR:-2e-3}
KD_UPDATES=${KD_UPDATES:-$PLAIN_UPDATES}   # equal schedules
KD_WARMUP=${KD_WARMUP:-$PLAIN_WARMUP}
KD_LR=${KD_LR:-$PLAIN_LR}
KD_ALPHA=${KD_ALPHA:-0.1}              # chosen on valid, with the temperature: docs/results.md
KD_TEMPERATURE=${KD_TEMPERATURE:-5}    # (the paper: 0.5 and 10)
AVERAGE=${AVERAGE:-0}   # 5: score the means of the last and of the best 5 checkpoints as well

# Decoding and scoring.
BEAM=${BEAM:-5}
MORE_BEAMS=${MORE_BEAMS-}
LENPEN=${LENPEN:-0.6}
MAX_LEN_A=${MAX_LEN_A:-1.2}
MAX_LEN_B=${MAX_LEN_B:-10}
RESAMPLES=${RESAMPLES:-1000}

source "$(dirname -- "${BASH_SOURCE[0]}")/../stages/stage.sh"
