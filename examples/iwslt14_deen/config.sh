# All settings of the recipe: those of the paper (Chen et al., ACL 2020) for one GPU, each with its
# place there. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh

# SCALE=mini runs every stage in seconds, on the miniature that tests/iwslt14_archive.py makes.
SCALE=${SCALE:-paper}
if [[ $SCALE == mini ]]; then
    : "${ARCHIVE:?must be a miniature de-en.tgz, see tests/iwslt14_archive.py}"
    : "${PAIRS:?must be how many pairs it gives for train, valid and test}"
    : "${TEACHER_UPDATES=4}" "${TEACHER_WARMUP=1}" "${TEACHER_MAX_TOKENS=1000}" "${TEACHER_EXTRA=}"
    : "${DUMP_EXTRA=}" "${LAYERS=1}" "${DIM=32}" "${FFN=32}" "${HEADS=2}"
    : "${STUDENT_MAX_TOKENS=1000}" "${STUDENT_EXTRA=}" "${VALIDATE_EVERY=2}" "${LOG_EVERY=1}"
    : "${PLAIN_UPDATES=6}" "${PLAIN_WARMUP=2}" "${KD_UPDATES=8}" "${KD_WARMUP=4}" "${RESAMPLES=20}"
fi

# What goes in and where everything comes out.
WORK=${WORK:-$PWD/work/iwslt14_deen}
ARCHIVE=${ARCHIVE:-$WORK/de-en.tgz}                 # downloaded unless it is there
# As released: 19,982,877 bytes. The original host (wit3.fbk.eu) no longer has it.
ARCHIVE_URL=${ARCHIVE_URL:-http://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz}
PAIRS=${PAIRS:-160239 7283 6750}                    # of train, valid, test; anything else is an error
BERT=${BERT:-bert-base-multilingual-cased}          # appendix A, C-MLM; hub name or folder
SRC=de
TGT=en
SEED=${SEED:-1}
# The usual text of this data: Moses tokens of punctuation as it stands, lowercased.
PREPARE_EXTRA=${PREPARE_EXTRA---lowercase --keep-punctuation}
# auto: the dump in bfloat16 where the GPU has it; for the trainings, see --fp16 below.
PRECISION=${PRECISION:-auto}                        # not a setting of the paper

# Stage 1: the teacher. Appendix A, C-MLM on IWSLT De-En.
TEACHER_UPDATES=${TEACHER_UPDATES:-100000}          # "100k updates"
TEACHER_WARMUP=${TEACHER_WARMUP:-5000}              # "5k warm-up": linear up, then linear down to 0
TEACHER_LR=${TEACHER_LR:-5e-5}                      # peak
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-16384}     # 16k tokens a batch: MAX_TOKENS * UPDATE_FREQ
TEACHER_UPDATE_FREQ=${TEACHER_UPDATE_FREQ:-1}       # 2 or 4 with less GPU memory, MAX_TOKENS divided by it
TEACHER_EXTRA=${TEACHER_EXTRA---fp16 --fp16-no-flatten-grads}      # GPU; not a setting of the paper
# Weight decay 0.01 (none on biases and LayerNorm) and clipping at 1.0 stand in 02_teacher.sh, 15%
# masked tokens (section 3.1) and dropout 0.1 are defaults of the task and of this BERT.

# Stage 2: its soft targets, from 7 masked copies of each pair (section 3.2).
TOPK_K=${TOPK_K:-8}                                 # K = 8 in all experiments
DUMP_EXTRA=${DUMP_EXTRA-}

# Stage 3: both students. Appendix A, Transformer "base"; Adam (0.9, 0.98) stands in stage.sh.
STUDENT_ARCH=${STUDENT_ARCH:-transformer}
LAYERS=${LAYERS:-6}
DIM=${DIM:-512}
FFN=${FFN:-2048}
HEADS=${HEADS:-8}
DROPOUT=${DROPOUT:-0.3}                             # appendix A, De-En (0.1 elsewhere)
LABEL_SMOOTHING=${LABEL_SMOOTHING:-0.1}
STUDENT_MAX_TOKENS=${STUDENT_MAX_TOKENS:-6000}      # appendix A, "6k tokens"
STUDENT_UPDATE_FREQ=${STUDENT_UPDATE_FREQ:-1}       # as TEACHER_UPDATE_FREQ
STUDENT_EXTRA=${STUDENT_EXTRA---fp16}               # GPU; not a setting of the paper
VALIDATE_EVERY=${VALIDATE_EVERY:-2000}
LOG_EVERY=${LOG_EVERY:-100}
# Appendix A gives noam's eta and warm-up w; inverse_sqrt's peak is eta * (512 * w)^-0.5.
PLAIN_UPDATES=${PLAIN_UPDATES:-50000}               # appendix A, plain student, "50k"
PLAIN_WARMUP=${PLAIN_WARMUP:-4000}                  # w = 4k
PLAIN_LR=${PLAIN_LR:-7.0e-4}                        # eta = 1
KD_UPDATES=${KD_UPDATES:-100000}                    # appendix A, KD student, "100k": twice as long
KD_WARMUP=${KD_WARMUP:-8000}                        # w = 8k
KD_LR=${KD_LR:-9.9e-4}                              # eta = 2
KD_ALPHA=${KD_ALPHA:-0.5}                           # appendix A, De-En
KD_TEMPERATURE=${KD_TEMPERATURE:-10}                # appendix A, De-En; on the teacher only, footnote 8
AVERAGE=${AVERAGE:-0}                               # not in the paper; 5: the last and the best 5 as well

# Decoding and scoring.
BEAM=${BEAM:-5}                                     # the authors' example
MORE_BEAMS=${MORE_BEAMS-4}                          # the paper
# The paper's penalty is Wu et al.'s ((5 + n) / 6)^0.6; fairseq's --lenpen divides by n^0.6.
LENPEN=${LENPEN:-0.6}
MAX_LEN_A=${MAX_LEN_A:-1.2}
MAX_LEN_B=${MAX_LEN_B:-10}
RESAMPLES=${RESAMPLES:-1000}

source "$(dirname -- "${BASH_SOURCE[0]}")/../stage.sh"
