# The recipe's own settings for one GPU, each with its place in the paper (Chen et al., ACL 2020); what all of its
# experiments share is in ../stages/paper.sh. Each can be given in the environment: SEED=2 WORK=~/seed2 ./run_all.sh

STAGES=$(dirname -- "${BASH_SOURCE[0]}")/../stages
source "$STAGES/mini.sh"

# What goes in and where everything comes out.
: "${DATA:?must name the folder with train and valid .article and .title (or .article.gz, .title.gz), see README.md}"
WORK=${WORK:-$PWD/work/gigaword}
BERT=${BERT:-bert-base-uncased}                     # section 4.2, of summarisation
SRC=${SRC:-article}
TGT=${TGT:-title}
HELD_OUT=${HELD_OUT:-5000}                          # section 4.1, "5k/5k dev/test-dev splits from the validation set"
ARTICLE_WORDS=${ARTICLE_WORDS:-200}                 # longer articles are cut; the paper names no limit, see README.md
# The text is tokenised and lowercased already. Titles are much shorter than articles: no pair goes for its ratio.
PREPARE_EXTRA=${PREPARE_EXTRA---lowercase --tokenized --max-length 1000 --max-ratio 1000}

# Appendix A, Gigaword. A batch is MAX_TOKENS * UPDATE_FREQ.
TEACHER_MAX_TOKENS=${TEACHER_MAX_TOKENS:-16384} TEACHER_UPDATE_FREQ=${TEACHER_UPDATE_FREQ:-4}     # "64k tokens"
PLAIN_MAX_TOKENS=${PLAIN_MAX_TOKENS:-10000} PLAIN_UPDATE_FREQ=${PLAIN_UPDATE_FREQ:-4}             # "40k tokens"
# It gives noam's eta and warm-up w; inverse_sqrt's peak is eta * (512 * w)^-0.5.
PLAIN_UPDATES=${PLAIN_UPDATES:-50000}               # "50k steps"
PLAIN_WARMUP=${PLAIN_WARMUP:-4000}                  # w = 4k
PLAIN_LR=${PLAIN_LR:-7.0e-4}                        # eta = 1
KD_MAX_TOKENS=${KD_MAX_TOKENS:-9000} KD_UPDATE_FREQ=${KD_UPDATE_FREQ:-4}                          # "36k tokens"
KD_UPDATES=${KD_UPDATES:-70000}                     # "70k steps"
KD_WARMUP=${KD_WARMUP:-4000}                        # w = 4k
KD_LR=${KD_LR:-1.4e-3}                              # eta = 2
KD_ALPHA=${KD_ALPHA:-0.1}
KD_TEMPERATURE=${KD_TEMPERATURE:-10}                # on the teacher only, footnote 8

# Scored by ROUGE, on test-dev. Summaries are of any article's length: 50 pieces are more than any title has words.
COMPARE_EXTRA=${COMPARE_EXTRA---metric rouge}
MAX_LEN_A=${MAX_LEN_A:-0}
MAX_LEN_B=${MAX_LEN_B:-50}

source "$STAGES/paper.sh"
