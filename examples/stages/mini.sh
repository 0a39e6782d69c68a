# SCALE=mini runs every stage of a recipe of the paper in seconds, on a miniature: these come before its own settings.
SCALE=${SCALE:-paper}
if [[ $SCALE == mini ]]; then
    : "${TEACHER_UPDATES=4}" "${TEACHER_WARMUP=1}" "${TEACHER_MAX_TOKENS=1000}" "${TEACHER_UPDATE_FREQ=1}"
    : "${TEACHER_EXTRA=}" "${LAYERS=1}" "${DIM=32}" "${FFN=32}" "${HEADS=2}" "${GPUS=1}"
    : "${STUDENT_MAX_TOKENS=1000}" "${PLAIN_MAX_TOKENS=1000}" "${KD_MAX_TOKENS=1000}"
    : "${PLAIN_UPDATE_FREQ=1}" "${KD_UPDATE_FREQ=1}" "${STUDENT_EXTRA=}"
    : "${PLAIN_UPDATES=6}" "${PLAIN_WARMUP=2}" "${KD_UPDATES=8}" "${KD_WARMUP=4}"
    : "${VALIDATE_EVERY=2}" "${LOG_EVERY=1}" "${RESAMPLES=20}"
fi
