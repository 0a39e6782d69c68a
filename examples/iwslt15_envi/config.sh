# The recipe's own settings for one GPU, each with its place in the paper (Chen et al., ACL 2020); what all of its
# experiments share is in ../stages/paper.sh. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh

STAGES=$(dirname -- "${BASH_SOURCE[0]}")/../stages
source "$STAGES/mini.sh"

# What goes in and where everything comes out.
: "${DATA:?must name the folder with train, valid and test .en and .vi (or .en.gz, .vi.gz), see README.md}"
WORK=${WORK:-$PWD/work/iwslt15_envi}
SRC=${SRC:-en}
TGT=${TGT:-vi}
# Case is kept. The text is tokenised already.
PREPARE_EXTRA=${PREPARE_EXTRA---tokenized}

# Appendix A, IWSLT En-Vi: teacher and plain student as for De-En.
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-16384}     # "16k tokens" a batch: MAX_TOKENS * UPDATE_FREQ
# It gives noam's eta and warm-up w; inverse_sqrt's peak is eta * (512 * w)^-0.5.
PLAIN_UPDATES=${PLAIN_UPDATES:-50000}               # "50k steps"
PLAIN_WARMUP=${PLAIN_WARMUP:-4000}                  # w = 4k
PLAIN_LR=${PLAIN_LR:-7.0e-4}                        # eta = 1
KD_UPDATES=${KD_UPDATES:-100000}                    # "100k steps"
KD_WARMUP=${KD_WARMUP:-8000}                        # w = 8k
KD_LR=${KD_LR:-9.9e-4}                              # eta = 2
KD_ALPHA=${KD_ALPHA:-0.1}
KD_TEMPERATURE=${KD_TEMPERATURE:-5}                 # on the teacher only, footnote 8

source "$STAGES/paper.sh"
