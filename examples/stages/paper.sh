# What all experiments of the paper (Chen et al., ACL 2020) share, each with its place there. A recipe's config.sh sources
# this after its own settings, which come first, as those in the environment do.

SEED=${SEED:-1}
BERT=${BERT:-bert-base-multilingual-cased}          # section 4.2, of translation; hub name or folder
# auto: the dump in bfloat16 where the GPU has it; for the trainings, see --fp16 below.
PRECISION=${PRECISION:-auto}                        # not a setting of the paper

# Stage 1: the teacher. Appendix A, C-MLM.
TEACHER_UPDATES=${TEACHER_UPDATES:-100000}          # "100k steps"
TEACHER_WARMUP=${TEACHER_WARMUP:-5000}              # "5k warmup steps": linear up, then linear down to 0
TEACHER_LR=${TEACHER_LR:-5e-5}                      # peak
TEACHER_UPDATE_FREQ=${TEACHER_UPDATE_FREQ:-1}       # 2 or 4 with less GPU memory, MAX_TOKENS divided by it
TEACHER_EXTRA=${TEACHER_EXTRA---fp16 --fp16-no-flatten-grads}      # GPU; not a setting of the paper
# Weight decay 0.01 (none on biases and LayerNorm) and clipping at 1.0 stand in 02_teacher.sh, 15%
# masked tokens (section 3.2) and dropout 0.1 are defaults of the task and of this BERT.

# Stage 2: its soft targets, from 7 masked copies of each pair (appendix A, figure 4).
TOPK_K=${TOPK_K:-8}                                 # section 4.2, K = 8 in all experiments
DUMP_EXTRA=${DUMP_EXTRA-}

# Stage 3: both students. Section 4.2, Transformer "base"; Adam (0.9, 0.98) stands in stage.sh.
STUDENT_ARCH=${STUDENT_ARCH:-transformer}
LAYERS=${LAYERS:-6}
DIM=${DIM:-512}
FFN=${FFN:-2048}
HEADS=${HEADS:-8}
DROPOUT=${DROPOUT:-0.1}                             # appendix A; De-En has another
LABEL_SMOOTHING=${LABEL_SMOOTHING:-0.1}             # section 4.2
STUDENT_MAX_TOKENS=${STUDENT_MAX_TOKENS:-6000}      # appendix A, both IWSLT tasks, "6k tokens"
STUDENT_UPDATE_FREQ=${STUDENT_UPDATE_FREQ:-1}       # as TEACHER_UPDATE_FREQ
STUDENT_EXTRA=${STUDENT_EXTRA---fp16}               # GPU; not a setting of the paper
VALIDATE_EVERY=${VALIDATE_EVERY:-2000}
LOG_EVERY=${LOG_EVERY:-100}
AVERAGE=${AVERAGE:-0}                               # not in the paper; 5: the last and the best 5 as well

# Decoding and scoring.
BEAM=${BEAM:-4}                                     # section 4.2
MORE_BEAMS=${MORE_BEAMS-}
# The paper's penalty is Wu et al.'s ((5 + n) / 6)^0.6; fairseq's --lenpen divides by n^0.6.
LENPEN=${LENPEN:-0.6}
MAX_LEN_A=${MAX_LEN_A:-1.2}
MAX_LEN_B=${MAX_LEN_B:-10}
RESAMPLES=${RESAMPLES:-1000}

source "$(dirname -- "${BASH_SOURCE[0]}")/stage.sh"
