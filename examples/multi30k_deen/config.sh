# All settings of the recipe. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh
# Sized for a CPU with 2 cores: a shorter training and a much smaller student than in the paper. Subwords, dropout, length
# penalty and the teacher are what won on valid (docs/results.md). The paper's: SUBWORD=wordpiece ENSEMBLE=0
# KD_TEMPERATURE=10 DROPOUT=0.3 LENPEN=0.6 AVERAGE=0.

# What goes in and where everything comes out.
: "${DATA:?must name the folder with train, valid and test .de and .en (or .de.gz, .en.gz)}"
: "${BERT:?must be a folder or hub name of a BERT in Hugging Face form, see README.md}"
WORK=${WORK:-$PWD/work/multi30k_deen}
SRC=${SRC:-de}
TGT=${TGT:-en}
SEED=${SEED:-1}
# As in the paper, text is lowercased; PREPARE_EXTRA= keeps case.
PREPARE_EXTRA=${PREPARE_EXTRA---lowercase}
SUBWORD=${SUBWORD:-sentencepiece}
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
ENSEMBLE=${ENSEMBLE:-3}                 # plain students that teach beside BERT; 0: none (paper)
TOPK_K=${TOPK_K:-8}
DUMP_EXTRA=${DUMP_EXTRA-}

# Stage 3: both students.
STUDENT_ARCH=${STUDENT_ARCH:-transformer_iwslt_de_en}
LAYERS=${LAYERS:-2}
DIM=${DIM:-128}
FFN=${FFN:-256}
HEADS=${HEADS:-4}
DROPOUT=${DROPOUT:-0.1}
LABEL_SMOOTHING=${LABEL_SMOOTHING:-0.1}
STUDENT_MAX_TOKENS=${STUDENT_MAX_TOKENS:-4096}
STUDENT_UPDATE_FREQ=${STUDENT_UPDATE_FREQ:-1}
STUDENT_EXTRA=${STUDENT_EXTRA-}
VALIDATE_EVERY=${VALIDATE_EVERY:-120}
LOG_EVERY=${LOG_EVERY:-25}
PLAIN_UPDATES=${PLAIN_UPDATES:-3600}   # about 28 epochs
PLAIN_WARMUP=${PLAIN_WARMUP:-400}
PLAIN_LR=${PLAIN_LR:-2e-3}
KD_UPDATES=${KD_UPDATES:-$PLAIN_UPDATES}   # equal schedules
KD_WARMUP=${KD_WARMUP:-$PLAIN_WARMUP}
KD_LR=${KD_LR:-$PLAIN_LR}
KD_ALPHA=${KD_ALPHA:-0.5}
KD_TEMPERATURE=${KD_TEMPERATURE:-1}
AVERAGE=${AVERAGE:-5}   # scores the means of the last and of the best 5 checkpoints as well; the last 5 teach

# Decoding and scoring.
BEAM=${BEAM:-5}
MORE_BEAMS=${MORE_BEAMS-}
LENPEN=${LENPEN:-1.4}
MAX_LEN_A=${MAX_LEN_A:-1.2}
MAX_LEN_B=${MAX_LEN_B:-10}
RESAMPLES=${RESAMPLES:-1000}

source "$(dirname -- "${BASH_SOURCE[0]}")/../stages/stage.sh"
