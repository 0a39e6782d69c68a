# All settings of the recipe: those of the paper (Chen et al., ACL 2020) for one GPU, each with its
# place there. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh

# What goes in and where everything comes out.
: "${DATA:?must name the folder with train, valid and test .de and .en (or .de.gz, .en.gz)}"
BERT=${BERT:-bert-base-multilingual-cased}          # the paper's; hub name or folder
WORK=${WORK:-$PWD/work/iwslt14_deen}
SRC=${SRC:-de}
TGT=${TGT:-en}
SEED=${SEED:-1}
# As the paper's De-En text: lowercased; cleaning ratio 1.5, 1 to 175 tokens (prepare's defaults).
PREPARE_EXTRA=${PREPARE_EXTRA---lowercase}

# Stage 1: the teacher (appendix A).
TEACHER_UPDATES=${TEACHER_UPDATES:-100000}
TEACHER_WARMUP=${TEACHER_WARMUP:-5000}              # linear up, then linear down to 0
TEACHER_LR=${TEACHER_LR:-5e-5}
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-16384}     # 16k tokens a batch: MAX_TOKENS * UPDATE_FREQ
TEACHER_UPDATE_FREQ=${TEACHER_UPDATE_FREQ:-1}       # 2 or 4 with less GPU memory, MAX_TOKENS divided by it
TEACHER_EXTRA=${TEACHER_EXTRA---fp16 --fp16-no-flatten-grads}      # GPU; not a setting of the paper

# Stage 2: its soft targets; K = 8 in all experiments of the paper.
TOPK_K=${TOPK_K:-8}
DUMP_EXTRA=${DUMP_EXTRA---precision bf16}           # GPU; not a setting of the paper

# Stage 3: both students: the Transformer "base"; dropout 0.3 on this pair.
STUDENT_ARCH=${STUDENT_ARCH:-transformer}
LAYERS=${LAYERS:-6}
DIM=${DIM:-512}
FFN=${FFN:-2048}
HEADS=${HEADS:-8}
DROPOUT=${DROPOUT:-0.3}
LABEL_SMOOTHING=${LABEL_SMOOTHING:-0.1}
STUDENT_MAX_TOKENS=${STUDENT_MAX_TOKENS:-6000}      # appendix A: 6k tokens a batch
STUDENT_EXTRA=${STUDENT_EXTRA---fp16}               # GPU; not a setting of the paper
VALIDATE_EVERY=${VALIDATE_EVERY:-2000}
LOG_EVERY=${LOG_EVERY:-100}
# Appendix A gives noam's eta and warm-up w; inverse_sqrt's peak is eta * (512 * w)^-0.5.
PLAIN_UPDATES=${PLAIN_UPDATES:-50000}
PLAIN_WARMUP=${PLAIN_WARMUP:-4000}
PLAIN_LR=${PLAIN_LR:-7.0e-4}                        # eta 1
KD_UPDATES=${KD_UPDATES:-100000}                    # twice as long: distillation wants it
KD_WARMUP=${KD_WARMUP:-8000}
KD_LR=${KD_LR:-9.9e-4}                              # eta 2
KD_ALPHA=${KD_ALPHA:-0.5}                           # appendix A
KD_TEMPERATURE=${KD_TEMPERATURE:-10}                # appendix A; on the teacher only, footnote 8

# Decoding (paper: beam 4, length penalty 0.6; the authors' example runs beam 5) and scoring.
BEAM=${BEAM:-5}
# The paper's penalty is Wu et al.'s ((5 + n) / 6)^0.6; fairseq's --lenpen divides by n^0.6.
LENPEN=${LENPEN:-0.6}
MAX_LEN_A=${MAX_LEN_A:-1.2}
MAX_LEN_B=${MAX_LEN_B:-10}
RESAMPLES=${RESAMPLES:-1000}

source "$(dirname -- "${BASH_SOURCE[0]}")/../stage.sh"
