# The install instructions, made executable.
#
#   docker build -t bertkd .                                                  for GPUs: pip's usual torch brings CUDA
#   docker build -t bertkd --build-arg PIP_EXTRA_INDEX_URL=ADDRESS .          for CPUs, a third as large: the address that
#                                                                             pytorch.org shows for pip and CPU
#   docker run --rm bertkd demo --quick
#   docker run --rm --gpus all -v "$PWD:/work" bertkd dump-topk data-bin --path teacher.pt --destdir topk
#
# tests/dockerfile.sh runs the same lines where no engine is.
FROM python:3.12-slim

RUN apt-get update && apt-get install -y --no-install-recommends g++ make && rm -rf /var/lib/apt/lists/*

WORKDIR /bertkd
COPY . .
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_NO_CACHE_DIR=1
RUN make install PYTHON=python3 VENV=.venv
ENV PATH=/bertkd/.venv/bin:$PATH
RUN bertkd doctor
RUN bertkd demo --quick --destdir /tmp/demo && rm -r /tmp/demo

WORKDIR /work
ENTRYPOINT ["bertkd"]
CMD ["--help"]
