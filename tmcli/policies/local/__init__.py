"""A local transformers model that plays all running episodes at once.

    policy = Local.load("ckpt/sft", Sampling(temperature=1.0))
    conversation = policy.open(task, sample)     # as every policy

Token ids in, token ids out: a conversation holds the ids of its whole dialogue, and what was sampled is never
tokenised again. Between its turns it keeps its keys and values; only what it was told is read.

    policy.py     conversations, and who is waited for        (asyncio)
    engine.py     rows that come, run and go                  (one thread)
    attention.py  rows of many lengths side by side           slots.py  their keys and values
    twin.py       the model with faster layers, LoRA apart    choice.py the next token
    ending.py     turns that go on after their calls          workers.py threads of OpenMP
    plain.py      the same with `generate`, for models that the engine cannot run

Heavy: imported only when a local policy is asked for.
"""

from tmcli.policies.local.policy import Local, LocalConversation
from tmcli.policies.local.speed import Speed

__all__ = ["Local", "LocalConversation", "Speed"]
