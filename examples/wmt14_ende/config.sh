# The recipe's own settings for several GPUs, each with its place in the paper (Chen et al., ACL 2020); what all of its
# experiments share is in ../stages/paper.sh. Each can be given in the environment: GPUS=8 WORK=/big/wmt14 ./run_all.sh

STAGES=$(dirname -- "${BASH_SOURCE[0]}")/../stages
source "$STAGES/mini.sh"

# What goes in and where everything comes out.
: "${DATA:?must name the folder with train, valid and test .en and .de (or .en.gz, .de.gz), see README.md}"
WORK=${WORK:-$PWD/work/wmt14_ende}
SRC=${SRC:-en}
TGT=${TGT:-de}
PREPARE_EXTRA=${PREPARE_EXTRA-}                     # raw text; case is kept
GPUS=${GPUS:-4}                                     # appendix A, "4 V100s"
SHARDS=${SHARDS:-4}                                 # not in the paper: an epoch is a quarter of the text

# An update has the paper's tokens on any number of GPUs: passes BATCH MAX_TOKENS says how many each GPU makes for it.
passes() { echo $((($1 + $2 * GPUS - 1) / ($2 * GPUS))); }

# Appendix A, WMT En-De.
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-16384}     # what a GPU holds
TEACHER_UPDATE_FREQ=${TEACHER_UPDATE_FREQ:-$(passes 524288 "$TEACHER_MAX_TOKENS")}     # "512k tokens"
PLAIN_MAX_TOKENS=${PLAIN_MAX_TOKENS:-12000}
PLAIN_UPDATE_FREQ=${PLAIN_UPDATE_FREQ:-$(passes 384000 "$PLAIN_MAX_TOKENS")}           # "384k tokens"
# It gives noam's eta and warm-up w; inverse_sqrt's peak is eta * (512 * w)^-0.5.
PLAIN_UPDATES=${PLAIN_UPDATES:-30000}               # "30k steps"
PLAIN_WARMUP=${PLAIN_WARMUP:-4000}                  # w = 4k
PLAIN_LR=${PLAIN_LR:-2.8e-3}                        # eta = 4
# "We use the baseline Transformer to initialize the Seq2Seq student", "continue training for 50k steps".
KD_FROM=${KD_FROM-$WORK/plain/checkpoint_best.pt}
KD_MAX_TOKENS=${KD_MAX_TOKENS:-8000}
KD_UPDATE_FREQ=${KD_UPDATE_FREQ:-$(passes 64000 "$KD_MAX_TOKENS")}                     # "64k tokens"
KD_UPDATES=${KD_UPDATES:-50000}
KD_WARMUP=${KD_WARMUP:-4000}                        # w = 4k
KD_LR=${KD_LR:-1.4e-3}                              # eta = 2
KD_ALPHA=${KD_ALPHA:-0.1}
KD_TEMPERATURE=${KD_TEMPERATURE:-5}                 # on the teacher only, footnote 8
VALIDATE_EVERY=${VALIDATE_EVERY:-1000}              # not in the paper

source "$STAGES/paper.sh"
