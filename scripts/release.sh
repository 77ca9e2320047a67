#!/usr/bin/env bash
# Checks before a release. Most of the time goes into training; `snippets` says beforehand how long its own takes.
#
#     bash scripts/release.sh                    # every step, in this order:
#     bash scripts/release.sh wheel examples     # only these
#
# wheel        builds wheel and sdist into dist/, and imports the wheel in an environment that has nothing else
# quickstart   scripts/quickstart.sh, and from its results the card in model_cards/filled/
# examples     scripts/examples/, on SmolLM2-135M where they take a base, with the wheel
# snippets     the blocks of README.md and docs/ as they are written, with the wheel
# tests        the long tests
#
# A step that fails does not keep the others from running; the last lines say how each went.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
sources=$PWD

known=(wheel quickstart examples snippets tests)
steps=("$@")
(($#)) || steps=("${known[@]}")
for step in "${steps[@]}"; do
    case " ${known[*]} " in
    *" $step "*) ;;
    *)
        echo "there is no step $step; the steps are: ${known[*]}" >&2
        exit 2
        ;;
    esac
done

source scripts/environment.sh || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python="$scratch/venv/bin/python" # of the environment that has the wheel

# Builds the wheel and installs it into an empty environment, once a run.
wheel_environment() {
    [ -e "$scratch/installed" ] && return
    rm -rf dist "$scratch/venv"
    "$TOKEXT_VENV/bin/python" -m pip install --quiet build
    "$TOKEXT_VENV/bin/python" -m build --outdir dist . >"$scratch/build.log" || { cat "$scratch/build.log"; return 1; }
    "${PYTHON:-python3}" -m venv "$scratch/venv"
    "$python" -m pip install --quiet -c constraints.txt torch==2.13.0
    "$python" -m pip install --quiet -c constraints.txt dist/*.whl
    touch "$scratch/installed"
}

wheel() {
    wheel_environment
    cd "$scratch" # away from the sources, so that the wheel is what gets imported
    "$python" "$sources/scripts/bench_import.py"
}

quickstart() {
    bash scripts/quickstart.sh
    "$TOKEXT_VENV/bin/python" scripts/cards.py
}

# 10 steps of 4 x 128 tokens are 5,120: one to two minutes each at 50 to 100 tokens a second. Bytes: a small model.
examples() {
    wheel_environment
    local base donor short=(--steps 10 --batch 4 --length 128)
    base=$("$TOKEXT_VENV/bin/python" scripts/samples.py smollm2-135m)
    donor=$("$TOKEXT_VENV/bin/python" scripts/samples.py gpt2-tokenizer)
    "$TOKEXT_VENV/bin/python" scripts/snippets.py --files "$scratch/examples"
    local wheels=(dist/*.whl)
    "$python" -m pip install --quiet -c constraints.txt "${wheels[0]}[svg,molecules,ir,codec]" datasets resvg-py pillow
    cd "$scratch/examples"
    learn finetune_trainer --base "$base" --donor "$donor" "${short[@]}"
    learn finetune_lora_added_tokens --base "$base" --token 'self.=self' --token '__init__=init' "${short[@]}"
    learn finetune_lora_new_vocabulary --base "$base" --vocabulary 16384 "${short[@]}"
    learn train_bytes --steps 100 --batch 8
    # the domains; what is --toy is so in the long tests as well, but with the wheel here
    example extend/draw_shapes --base "$base" --steps 10 --sequences 5 --output shapes
    example side_channel/letter_counts --model "$base" --steps 10 --output letters
    example multimodal/read_and_draw --toy --codec-steps 60 --steps 40 --output drawing
    example svg/svg_icons --toy --output icons
    example svg/teach_drawing --toy --steps 20 20 --output drawings
    example molecule/molecule_tokens 'CC(=O)Oc1ccccc1C(=O)O' aspirin.svg
    example molecule/train_selfies selfies --steps 50 --samples 50
    example llvm_ir/ir_functions --toy --output functions
}

learn() {
    example "$1" --text corpus.txt --output "$1" "${@:2}"
}

example() {
    local name=$1 started=$SECONDS
    shift
    printf -- '-- %s\n' "$name $*"
    "$python" "$sources/scripts/examples/$name.py" "$@"
    printf -- '   %s s\n' "$((SECONDS - started))"
}

snippets() {
    wheel_environment
    local wheels=(dist/*.whl)
    "$python" -m pip install --quiet -c constraints.txt "${wheels[0]}[plots,words,fast,svg,molecules,ir,codec]" # as README and the pages say
    "$TOKEXT_VENV/bin/python" scripts/snippets.py --python "$python"
}

tests() {
    "$TOKEXT_VENV/bin/pytest" -m long
}

summary="" failed=0
for step in "${steps[@]}"; do
    printf '\n== %s\n' "$step"
    started=$SECONDS
    (
        set -e # has no effect where a function is called in a condition, therefore the code is looked at afterwards
        "$step"
    )
    code=$?
    outcome=ok
    ((code)) && outcome="failed ($code)" && failed=1
    summary+=$(printf '%-12s %6s s  %s' "$step" "$((SECONDS - started))" "$outcome")$'\n'
done
printf '\n%s' "$summary"
((failed)) && exit 1
printf 'passed\n'
