#!/usr/bin/env bash
# Runs the lines of the Dockerfile in a clean folder, in its order, where no engine can build it: COPY takes what git has,
# RUN runs with an environment of its ENV and ARG alone, WORKDIR and absolute folders lie below the folder. Lines of apt-get
# are left out; what they install has to be there. Minutes, as fairseq is compiled.
#   DOCKERFILE_FOLDER  the clean folder (a temporary one, removed at the end)
# pip's own variables count too: PIP_EXTRA_INDEX_URL with the address that pytorch.org shows for pip and CPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
checkout=$PWD
root=${DOCKERFILE_FOLDER:-$(mktemp -d)}
[[ -n ${DOCKERFILE_FOLDER-} ]] || trap 'rm -rf "$root"' EXIT
[[ -z $(ls -A "$root" 2>/dev/null) ]] || { echo "error: $root must be empty" >&2; exit 2; }
mkdir -p "$root/tmp" "$root/home"

environment=(HOME="$root/home" PATH="/usr/local/bin:/usr/bin:/bin" LANG=C.UTF-8)
for variable in $(compgen -e | grep '^PIP_'); do environment+=("$variable=${!variable}"); done
folder=$root ran=0

below() { sed -E "s#(^|[ =:])/(bertkd|work|tmp)#\1$root/\2#g" <<<"$1"; }

while read -r instruction rest; do
    case $instruction in
        WORKDIR) folder=$root$rest && mkdir -p "$folder" ;;
        COPY) git -C "$checkout" ls-files -z --cached --others --exclude-standard |
            (cd "$checkout" && xargs -0 -I{} sh -c '[ ! -e "$1" ] || cp --parents "$1" "$2"' _ {} "$folder") ;;
        # A variable that the environment has wins, as --build-arg does.
        ARG) [[ -n $(compgen -e -X "!${rest%%=*}") ]] || environment+=("$rest") ;;
        ENV) environment+=("$(below "${rest//\$PATH//usr/local/bin:/usr/bin:/bin}")") ;;
        RUN)
            if [[ $rest == apt-get* ]]; then
                echo "left out: $rest"
                continue
            fi
            command=$(below "$rest")
            echo "RUN $rest"
            (cd "$folder" && env -i "${environment[@]}" sh -c "$command" </dev/null) || {
                echo "failed: $rest" >&2
                exit 1
            }
            ran=$((ran + 1))
            ;;
        FROM | ENTRYPOINT | CMD | "#"* | "") ;;
        *) echo "error: what to do with $instruction?" >&2; exit 2 ;;
    esac
done <"$checkout/Dockerfile"
echo "all $ran lines ran"
