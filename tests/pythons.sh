#!/usr/bin/env bash
# Installs and tests this package with every supported Python that is found, as README's pip command does it, and
# ends with a table. `tests/pythons.sh 3.12 3.13` takes these alone; a run that was stopped goes on with the
# Pythons that are not done yet at this commit. Minutes and 2 to 6 GB for each; an environment goes when it's done.
#   PYTHONS_FOLDER  where everything goes: logs, and a row of the table for each Python (work/pythons)
#   WORKERS         processes of pytest (2)
# pip's own variables and settings count too: PIP_EXTRA_INDEX_URL with the address that pytorch.org shows for pip and
# CPU takes that build of torch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ALL=(3.10 3.11 3.12 3.13)
folder=${PYTHONS_FOLDER:-$PWD/work/pythons}
commit=$(git describe --always --dirty 2>/dev/null || echo "no commit")
export PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH

# Prints the interpreter of Python $1, if there is one that runs.
find_python() {
    local candidate
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3 "$(command -v "python$1")"; do
        if [[ $("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$1" ]]; then
            echo "$candidate"
            return
        fi
    done
}

# Runs the rest in the folder for Python $version, its output in log $1; prints ok or the last line that it wrote.
say_ok() {
    local log=$here/$1.log
    shift
    if "$@" > "$log" 2>&1; then echo ok; else tail -n 1 "$log" | tr '|' ' '; fi
}

# Runs the rest, its output in log $1; prints the seconds that it took, or that it failed.
say_seconds() {
    local log=$here/$1.log started=$SECONDS
    shift
    if "$@" > "$log" 2>&1; then echo $((SECONDS - started)); else echo "failed, see $log"; fi
}

in_empty_folder() {
    mkdir -p "$here/empty"
    cd "$here/empty"
    "$@"
}

try_python() {
    local bin=$here/env/bin install check transformers demo tests torch size
    # setuptools would keep modules that were deleted since.
    rm -rf "$here" build
    mkdir -p "$here"
    "$1" -m venv "$here/env"
    install=$(say_seconds install "$bin/python" -m pip install .)
    check=$(say_ok check "$bin/python" -m pip check)
    transformers=$(say_ok transformers in_empty_folder "$bin/python" -c 'from transformers import BertModel')
    demo=$(say_seconds demo in_empty_folder "$bin/bertkd" demo --quick)
    torch=$("$bin/python" -c 'import torch; print(torch.__version__)' || echo none)
    size=$(du -sm "$here/env" | cut -f 1)
    "$bin/python" -m pip install '.[test]' > "$here/install_test.log" 2>&1 || true
    OMP_NUM_THREADS=1 "$bin/python" -m pytest tests/unit -n "${WORKERS:-2}" > "$here/unit.log" 2>&1 || true
    tests=$(tail -n 1 "$here/unit.log" | sed 's/ in .*//')
    rm -rf "$here/env" "$here/empty"
    printf '| %s ' "$("$1" -c 'import platform; print(platform.python_version())')" "$torch" "$size" "$install" \
        "$tests" "$demo" "$check" "$transformers" > "$here/row.unfinished"
    echo "|" >> "$here/row.unfinished"
    echo "$commit" > "$here/commit"
    mv "$here/row.unfinished" "$here/row"
}

(($#)) || set -- "${ALL[@]}"
for version; do
    here=$folder/$version
    if [[ -e $here/row && $(< "$here/commit") == "$commit" ]]; then continue; fi
    python=$(find_python "$version")
    if [[ -z $python ]]; then
        echo "Python $version: not found with pyenv or on PATH"
        continue
    fi
    echo "Python $version: $python, logs in $here"
    try_python "$python"
done

echo "commit $commit; demo --quick runs from an empty folder, seconds are wall time"
echo "| Python | torch | MB | install, s | unit tests | demo --quick, s | pip check | from transformers import BertModel |"
echo "|---|---|---|---|---|---|---|---|"
good='^\| [0-9.]+ \| [^|]+ \| [0-9]+ \| [0-9]+ \| [0-9]+ passed(, [0-9]+ (skipped|warnings?))* \| [0-9]+ \| ok \| ok \|$'
failed=0
for version in "${ALL[@]}"; do
    row=$folder/$version/row
    if [[ ! -e $row || $(< "$folder/$version/commit") != "$commit" ]]; then continue; fi
    cat "$row"
    grep -qE "$good" "$row" || failed=1
done
exit $failed
