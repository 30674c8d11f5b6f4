#!/bin/sh
# One whole run: from tasks to a scored policy, on one machine without a GPU. `make demo` runs it.
#
# Every line of work is a `tm` command, shown before it runs. Run it again and it goes on where it
# stopped. To change something, change it here, or by name, into a folder of its own:
#
#   OUT=runs/mine TRAIN=400 RL_STEPS=20 sh examples/01-whole-run.sh
set -eu

OUT=${OUT:-runs/01-whole-run}   # where everything goes
MODEL=${MODEL:-smollm2}         # who learns: smollm2, tiny (a smoke run), a folder or a hub id
TRAIN=${TRAIN:-160}             # tasks the teacher plays, with and without stale documents
TEST=${TEST:-24}                # tasks each policy is judged on, on seen and on unseen tools each
EPOCHS=${EPOCHS:-2}             # passes of SFT over what the filter kept
RL_TASKS=${RL_TASKS:-32}        # tasks RL draws from
RL_STEPS=${RL_STEPS:-4}         # GRPO updates
RL_GROUP=${RL_GROUP:-8}         # episodes per task, judged against their mean
DRIFT=${DRIFT:-none,stale}      # how unfamiliar the tools are
MAX_TOKENS=${MAX_TOKENS:-1536}  # tokens per episode: a policy that rambles is stopped here

# Show a command, then run it.
run() { printf '\n$ %s\n' "$*" >&2; "$@"; }

# The same, unless its result is there: training leaves its folder only when it is done.
once() { result=$1; shift; if [ -e "$result" ]; then echo "# there already: $result" >&2; else run "$@"; fi; }

mkdir -p "$OUT"

# 1. Tasks on the seen toolboxes; half of them with documents of an older version of the tools.
once "$OUT/tasks.jsonl" tm tasks --suite train -n "$TRAIN" --drift "$DRIFT" -o "$OUT/tasks.jsonl"

# 2. The teacher plays them: tries the tools, reads what they really answer, learns, executes.
run tm synth --tasks "$OUT/tasks.jsonl" --teacher scripted -o "$OUT/synth.jsonl" --resume

# 3. Only what is right and well formed is worth imitating.
run tm filter "$OUT/synth.jsonl" -o "$OUT/sft.jsonl" --force

# 4. Imitate: the model learns the protocol.
#    Its `run` record (options, versions, losses) joins a log of training.
once "$OUT/sft" tm sft "$OUT/sft.jsonl" --model "$MODEL" --epochs "$EPOCHS" -o "$OUT/sft" >> "$OUT/runs.jsonl"

# 5. Go on by trial and reward, over both phases jointly.
once "$OUT/rl" tm rl --policy "$OUT/sft" --tasks train -n "$RL_TASKS" --drift "$DRIFT" \
    --steps "$RL_STEPS" --group-size "$RL_GROUP" --max-tokens "$MAX_TOKENS" -o "$OUT/rl" >> "$OUT/runs.jsonl"

# 6. Three policies play tasks nobody trained on: new ones on seen toolboxes, and unseen toolboxes.
for policy in base sft rl; do
    case $policy in base) weights=$MODEL ;; *) weights=$OUT/$policy ;; esac
    for suite in seen unseen; do
        run tm rollout --policy "$weights" --tasks "$suite" -n "$TEST" --drift "$DRIFT" \
            --max-tokens "$MAX_TOKENS" -o "$OUT/$policy-$suite.jsonl" --resume
    done
done

# 7. The table: base, sft, rl on seen and unseen tools, with intervals.
run tm eval "$OUT/base-seen.jsonl" "$OUT/base-unseen.jsonl" "$OUT/sft-seen.jsonl" "$OUT/sft-unseen.jsonl" \
    "$OUT/rl-seen.jsonl" "$OUT/rl-unseen.jsonl" -o "$OUT/eval.jsonl" --force

echo "# everything lies in $OUT: tasks, trajectories, checkpoints (sft, rl), eval.jsonl" >&2
