# The recipe's own settings for one GPU, each with its place in the paper (Chen et al., ACL 2020); what all of its
# experiments share is in ../stages/paper.sh. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh

STAGES=$(dirname -- "${BASH_SOURCE[0]}")/../stages
# SCALE=mini runs every stage in seconds, on the miniature that tests/iwslt14_archive.py makes.
source "$STAGES/mini.sh"
if [[ $SCALE == mini ]]; then
    : "${ARCHIVE:?must be a miniature de-en.tgz, see tests/iwslt14_archive.py}"
    : "${PAIRS:?must be how many pairs it gives for train, valid and test}"
fi

# What goes in and where everything comes out.
WORK=${WORK:-$PWD/work/iwslt14_deen}
ARCHIVE=${ARCHIVE:-$WORK/de-en.tgz}                 # downloaded unless it is there
# As released: 19,982,877 bytes. The original host (wit3.fbk.eu) no longer has it.
ARCHIVE_URL=${ARCHIVE_URL:-http://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz}
PAIRS=${PAIRS:-160239 7283 6750}                    # of train, valid, test; anything else is an error
SRC=de
TGT=en
# The usual text of this data: Moses tokens of punctuation as it stands, lowercased.
PREPARE_EXTRA=${PREPARE_EXTRA---lowercase --keep-punctuation}

# Appendix A, IWSLT De-En.
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-16384}     # "16k tokens" a batch: MAX_TOKENS * UPDATE_FREQ
DROPOUT=${DROPOUT:-0.3}
# It gives noam's eta and warm-up w; inverse_sqrt's peak is eta * (512 * w)^-0.5.
PLAIN_UPDATES=${PLAIN_UPDATES:-50000}               # "50k steps"
PLAIN_WARMUP=${PLAIN_WARMUP:-4000}                  # w = 4k
PLAIN_LR=${PLAIN_LR:-7.0e-4}                        # eta = 1
KD_UPDATES=${KD_UPDATES:-100000}                    # "100k steps": twice as long
KD_WARMUP=${KD_WARMUP:-8000}                        # w = 8k
KD_LR=${KD_LR:-9.9e-4}                              # eta = 2
KD_ALPHA=${KD_ALPHA:-0.5}
KD_TEMPERATURE=${KD_TEMPERATURE:-10}                # on the teacher only, footnote 8

BEAM=${BEAM:-5}                                     # the authors' example
MORE_BEAMS=${MORE_BEAMS-4}                          # the paper

source "$STAGES/paper.sh"
