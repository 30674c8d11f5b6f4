"""Put at the end of a toolbox's source by `trials.py`, to look at it from inside the sandbox.

`builtins` by name, since a tool may well be called `list` or `type`.
"""

import builtins as _tm
from typing import Any as _TmAny


def _tm_world(*world: _TmAny) -> _TmAny:
    """What tells this world from others: a hash, or why there is none."""
    import hashlib
    import json

    try:
        text = json.dumps(world, allow_nan=False)
        problem = (
            None
            if json.loads(text) == _tm.list(world)
            else "does not survive JSON: a tuple, or a key that is no text"
        )
    except (_tm.TypeError, _tm.ValueError) as error:
        return {"digest": None, "problem": _tm.str(error)}
    return {"digest": hashlib.sha256(text.encode()).hexdigest(), "problem": problem}


def _tm_probe(*world: _TmAny, tool: _TmAny, arguments: _TmAny) -> _TmAny:
    """What a call brings: a reply, a sentence for the model, or a crash."""
    import json

    try:
        value = _tm.globals()[tool](*world, **arguments)
    except _tm.BaseException as error:  # noqa: BLE001  whatever the tool raises
        lines, trace = [], error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == _tm_probe.__code__.co_filename:
                lines.append(trace.tb_lineno)
            trace = trace.tb_next
        # KeyError and IndexError are LookupErrors that nobody meant to raise
        meant = _tm.type(error) is _tm.LookupError or _tm.isinstance(error, _tm.ValueError)
        return {
            "raised": _tm.type(error).__name__,
            "meant": meant,
            "text": _tm.str(error)[:300],
            "line": lines[-1],
        }
    try:
        text = json.dumps(value, allow_nan=False)
        problem = (
            None
            if json.loads(text) == value
            else "what does not survive JSON (a tuple, or a key that is no text)"
        )
    except (_tm.TypeError, _tm.ValueError, _tm.RecursionError) as error:
        return {"problem": f"what is not JSON: {error}"}
    return {"problem": problem, "object": _tm.isinstance(value, _tm.dict), "text": text[:2000]}
