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
TRAIN=${TRAIN:-200}             # tasks the teacher plays, with and without stale documents
EPOCHS=${EPOCHS:-1}             # passes of SFT over what the filter kept
RL_STEPS=${RL_STEPS:-4}         # GRPO updates, of four tasks each
RL_GROUP=${RL_GROUP:-4}         # episodes per task, judged against their mean
RL_RATE=${RL_RATE:-5e-5}        # low, for four steps are but a smoke run; to learn, 3e-4 and hours
TEST=${TEST:-24}                # tasks each policy is judged on, on seen and on unseen tools each
DRIFT=${DRIFT:-none,stale}      # how unfamiliar the tools are
HOPS=${HOPS:-1,2}               # calls a task takes: 1 to 4, longer ones are harder
SEEN=${SEEN:-flights,kitchen,library}   # toolboxes to train on, and
UNSEEN=${UNSEEN:-clinic,museum}         # never: few and short tasks, for a run of minutes
MAX_TOKENS=${MAX_TOKENS:-1024}  # tokens per episode, and
MAX_NEW=${MAX_NEW:-160}         # per turn: a policy that rambles is stopped here

# Show a command, then run it.
run() { printf '\n$ %s\n' "$*" >&2; "$@"; }

mkdir -p "$OUT"

# 1. Tasks on the seen toolboxes; half of them with documents of an older version of the tools.
run tm tasks --suite train -n "$TRAIN" --toolbox "$SEEN" --hops "$HOPS" --drift "$DRIFT" -o "$OUT/train.jsonl" --force

# 2. The teacher plays them: tries the tools, reads what they really answer, learns, executes.
run tm synth --tasks "$OUT/train.jsonl" --teacher scripted -o "$OUT/synth.jsonl" --resume

# 3. Only what is right and well formed is worth imitating.
run tm filter "$OUT/synth.jsonl" -o "$OUT/imitate.jsonl" --force

# 4. Imitate: the model learns the protocol. The record of the run goes beside the checkpoint.
run tm sft "$OUT/imitate.jsonl" --model "$MODEL" --epochs "$EPOCHS" -o "$OUT/ckpt-sft" --resume \
    > "$OUT/run-sft.jsonl"

# 5. Go on by trial and reward, over both phases jointly.
run tm rl --policy "$OUT/ckpt-sft" --tasks "$OUT/train.jsonl" --steps "$RL_STEPS" --prompts-per-step 4 \
    --group-size "$RL_GROUP" --learning-rate "$RL_RATE" --max-tokens "$MAX_TOKENS" --max-new-tokens "$MAX_NEW" \
    -o "$OUT/ckpt-rl" --resume > "$OUT/run-rl.jsonl"

# 6. Three policies play tasks nobody trained on: new ones on the seen toolboxes, and unseen toolboxes.
run tm tasks --suite seen -n "$TEST" --toolbox "$SEEN" --hops "$HOPS" --drift "$DRIFT" -o "$OUT/test-seen.jsonl" --force
run tm tasks --suite unseen -n "$TEST" --toolbox "$UNSEEN" --hops "$HOPS" --drift "$DRIFT" -o "$OUT/test-unseen.jsonl" --force
for policy in base sft rl; do
    case $policy in base) weights=$MODEL ;; *) weights=$OUT/ckpt-$policy ;; esac
    cat "$OUT/test-seen.jsonl" "$OUT/test-unseen.jsonl" |
        run tm rollout --policy "$weights" --tasks - --concurrency $((2 * TEST)) \
            --max-turns 8 --max-tokens "$MAX_TOKENS" --max-new-tokens "$MAX_NEW" -o "$OUT/$policy.jsonl" --resume
done

# 7. The table: base, sft and rl on seen and unseen tools, with intervals.
run tm eval "$OUT/base.jsonl" "$OUT/sft.jsonl" "$OUT/rl.jsonl" -o "$OUT/eval.jsonl" --force

# 8. The same as a page, with the curves of both trainings and every episode (needs tmcli[report]).
run tm eval "$OUT/base.jsonl" "$OUT/sft.jsonl" "$OUT/rl.jsonl" --run "$OUT/ckpt-sft" --run "$OUT/ckpt-rl" \
    --html "$OUT/report.html" --quiet --force > /dev/null

echo "# everything lies in $OUT: tasks, trajectories (tm show $OUT/rl.jsonl), checkpoints, eval.jsonl, report.html" >&2
