#!/bin/sh
# Does it learn? One backbone, one budget of tasks, seven ways to train it, and tools it never saw.
#
#   sh examples/study.sh                          # SIZE=small: one seed; a night on two cores
#   SIZE=full SEEDS="0 1 2" sh examples/study.sh  # 200 tasks a cell, one to four calls; wants a GPU
#   SIZE=smoke sh examples/study.sh               # a tiny random model: does every line run?
#   ABLATIONS=yes sh examples/study.sh            # and what each part of the method is worth
#
# Every line of work is a `tm` command, shown before it runs. Run it again and it goes on where it stopped.
#
#   base         the backbone as it comes
#   direct       SFT on golden paths               direct-rl     and GRPO for the outcome alone
#   trial        SFT on trial and execution        trial-rl      and GRPO over both phases: ToolMaster
#                                                  trial-compass and GRPO with ToolCompass
#   rl           GRPO without SFT
set -eu

SIZE=${SIZE:-small}
case $SIZE in
    smoke) MODEL=${MODEL:-tiny} TRAIN=${TRAIN:-8} STEPS=${STEPS:-1} PROMPTS=2 GROUP=2 TEST=${TEST:-1} HOPS=1 ;;
    small) MODEL=${MODEL:-smollm2} TRAIN=${TRAIN:-900} STEPS=${STEPS:-24} PROMPTS=8 GROUP=8 TEST=${TEST:-40} HOPS=1,2 ;;
    full) MODEL=${MODEL:-smollm2} TRAIN=${TRAIN:-4000} STEPS=${STEPS:-200} PROMPTS=8 GROUP=8 TEST=${TEST:-200} HOPS=1,2,3,4 ;;
    *) echo "SIZE is smoke, small or full" >&2 && exit 2 ;;
esac
OUT=${OUT:-runs/study-$SIZE}                # where everything goes
SEEDS=${SEEDS:-0}                           # of training; data and tests are the same for all
ARMS=${ARMS:-base direct trial direct-rl trial-rl trial-compass rl}
ABLATIONS=${ABLATIONS:-no}
DRIFT=${DRIFT:-none@0.25,rename,stale}      # how unfamiliar the tools of training are
TEACHER=${TEACHER:-scripted:trials=4}       # who shows trial and execution
SHOWN=${SHOWN:-bank,cinema,flights,hotels}  # toolboxes that a teacher shows; practised are all eight of training
MAX_TOKENS=${MAX_TOKENS:-1536}              # tokens per episode
MAX_NEW=${MAX_NEW:-160}                     # and per turn

run() { printf '\n$ %s\n' "$*" >&2; "$@"; }

# imitate ARM STYLE TEACHER TASKS: a teacher plays, the filter chooses, the model imitates.
imitate() {
    run tm synth --tasks "$4" --style "$2" --teacher "$3" -o "$OUT/synth-$1.jsonl" --resume
    # What the ablations leave out is no defect here.
    run tm filter "$OUT/synth-$1.jsonl" --no-rule no_trial --no-rule phase_order -o "$OUT/imitate-$1.jsonl" --force
    run tm sft "$OUT/imitate-$1.jsonl" --model "$MODEL" --seed "$seed" -o "$OUT/$1.$seed" --resume \
        > "$OUT/sft-$1.$seed.jsonl"
}

# practise ARM FROM STYLE ...: GRPO on the tasks of training, from a checkpoint; more words for tm rl.
practise() {
    arm=$1 from=$2 style=$3
    shift 3
    run tm rl --policy "$from" --style "$style" --tasks "$OUT/practice.jsonl" --steps "$STEPS" \
        --prompts-per-step "$PROMPTS" --group-size "$GROUP" --seed "$seed" \
        --max-tokens "$MAX_TOKENS" --max-new-tokens "$MAX_NEW" "$@" \
        -o "$OUT/$arm.$seed" --resume > "$OUT/rl-$arm.$seed.jsonl"
}

# examine ARM WEIGHTS STYLE: seen tools as they are; unseen tools as they are, and under every kind of drift.
examine() {
    run tm eval --policy "$2" --style "$3" --tasks "$OUT/test-seen.jsonl" --max-tokens "$MAX_TOKENS" \
        --max-new-tokens "$MAX_NEW" --keep "$OUT/seen-$1.$seed.jsonl" --resume > "$OUT/eval-seen-$1.$seed.jsonl"
    run tm eval --policy "$2" --style "$3" --tasks "$OUT/test-unseen.jsonl" --matrix --strengths 1 \
        --max-tokens "$MAX_TOKENS" --max-new-tokens "$MAX_NEW" --keep "$OUT/unseen-$1.$seed.jsonl" --resume \
        > "$OUT/eval-unseen-$1.$seed.jsonl"
}

mkdir -p "$OUT"

# 1. Tasks: what the teacher shows, what is practised, and two tests that nobody trains on.
run tm tasks --suite train -n "$TRAIN" --toolbox "$SHOWN" --hops "$HOPS" --drift "$DRIFT" -o "$OUT/train.jsonl" --force
run tm tasks --suite train -n 10000 --hops "$HOPS" --drift "$DRIFT" --seed 1 -o "$OUT/practice.jsonl" --force
run tm tasks --suite seen -n "$TEST" --toolbox "$SHOWN" --hops "$HOPS" -o "$OUT/test-seen.jsonl" --force
run tm tasks --suite unseen -n "$TEST" --hops "$HOPS" -o "$OUT/test-unseen.jsonl" --force

# 2. The arms.
for seed in $SEEDS; do
    for arm in $ARMS; do
        trials=trial
        case $arm in
            base) examine base "$MODEL" trial && continue ;;
            direct) trials=direct && imitate direct direct scripted "$OUT/train.jsonl" ;;
            trial) imitate trial trial "$TEACHER" "$OUT/train.jsonl" ;;
            direct-rl) trials=direct && practise direct-rl "$OUT/direct.$seed" direct --method grpo ;;
            trial-rl) practise trial-rl "$OUT/trial.$seed" trial --method toolmaster ;;
            trial-compass) practise trial-compass "$OUT/trial.$seed" trial --method toolmaster --compass 0.1 ;;
            rl) practise rl "$MODEL" trial --method toolmaster ;;
            *) echo "there is no arm $arm" >&2 && exit 2 ;;
        esac
        examine "$arm" "$OUT/$arm.$seed" $trials
    done
done

# 3. What each part is worth: SFT on trial and execution, with one thing changed.
if [ "$ABLATIONS" = yes ]; then
    seed=0
    for n in 0 1 2; do imitate "trials-$n" trial "scripted:trials=$n" "$OUT/train.jsonl"; done
    imitate no-notes trial "$TEACHER,notes=off" "$OUT/train.jsonl"
    imitate no-corrections trial "$TEACHER,corrections=off" "$OUT/train.jsonl"
    for kept in 0 0.5 1; do
        run tm tasks --suite train -n "$TRAIN" --toolbox "$SHOWN" --hops "$HOPS" \
            --drift "none@$kept,rename,stale" -o "$OUT/train-none-$kept.jsonl" --force
        imitate "none-$kept" trial "$TEACHER" "$OUT/train-none-$kept.jsonl"
    done
    for boxes in bank,cinema bank,cinema,flights,hotels,kitchen,library,parcels,weather; do
        run tm tasks --toolbox "$boxes" --suite train -n "$TRAIN" --hops "$HOPS" --drift "$DRIFT" \
            -o "$OUT/train-$boxes.jsonl" --force
        imitate "$boxes" trial "$TEACHER" "$OUT/train-$boxes.jsonl"
    done
    for arm in trials-0 trials-1 trials-2 no-notes no-corrections none-0 none-0.5 none-1 bank,cinema \
        bank,cinema,flights,hotels,kitchen,library,parcels,weather; do
        examine "$arm" "$OUT/$arm.$seed" trial
    done
fi

# 4. The tables: every arm on seen and on unseen tools, and what trial-rl gains over the others, by task.
run tm eval "$OUT"/seen-*.jsonl "$OUT"/unseen-*.jsonl -o "$OUT/table.jsonl" --force
for arm in direct-rl trial; do
    case " $ARMS " in *" $arm "*trial-rl* | *trial-rl*" $arm "*)
        run tm eval --compare --force-compare "$OUT/unseen-$arm.0.jsonl" "$OUT/unseen-trial-rl.0.jsonl" \
            -o "$OUT/trial-rl-over-$arm.jsonl" --force ;;
    esac
done
