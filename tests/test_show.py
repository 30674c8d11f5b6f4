"""`tm show`: what a person sees."""

from conftest import Tm
from trajectories import call, fault, lines, task, trajectory, turn

EPISODE = """\
== {id}  scripted  (toolbox library, split seen, hops 2)
user: How many shelves has room 0?

1. trial
   try: a guess
   -> find_book(name="x")
   <- error {{"error": "no parameter name"}}

2. execution, invalid
   learned: It is called title.
   plan: look
      it up
   -> find_book(title="Emma", n=1)
   <- {{"id": 1}}
   -> a call that could not be read
   <- error {{"error": "write the call again"}}

3. execution
   answer: 0 shelves

right: 0 shelves (stop: answer); accepted: 0 shelves
reward 1.2 = outcome 1  answer 1  format 0.5  trial 1  repeat 0  recovery 1  length 0  forged 0  guess 0

"""


def test_a_whole_episode(tm: Tm) -> None:
    error = call(ok=False, reply='{"error": "no parameter name"}', name="x")
    said = "<experience>It is called title.</experience>\n<plan>look\nit up</plan>"
    one = trajectory(
        [
            turn("trial", error, content="<trial>a guess</trial>"),
            turn("execution", call(title="Emma", n=1), fault(), state="invalid", content=said),
            turn("execution", content="<answer>0 shelves</answer>"),
        ]
    )
    result = tm("show", input=lines(one).encode())
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == EPISODE.format(id=one.id)


def test_nothing_reaches_the_terminal_that_could_steer_it(tm: Tm) -> None:
    evil = "a\x1b]0;owned\x07b\x9b31mc\u202e\rd"
    turns = [
        turn("trial", call(evil, reply=evil, **{evil: evil}), content=evil),
        turn("execution", content=evil),
    ]
    nasty = trajectory(turns, task=task(answer=[evil]), prediction=evil, policy={"name": evil})
    out = tm("show", input=lines(nasty).encode()).stdout.decode()
    assert not set(out) & set("\x1b\x07\x9b\u202e\r")
    assert "\\x1b]0;owned" in out


def test_choosing(tm: Tm) -> None:
    some = [trajectory(task=task(i), sample=s) for i in range(2) for s in range(2)]
    text = lines(*some).encode()
    first = tm("show", input=text)
    assert first.stdout.count(b"==") == 1
    assert b"-n N shows more" in first.stderr
    assert tm("show", "-n", "9", input=text).stdout.count(b"==") == 4
    chosen = tm("show", "-n", "9", "--id", some[2].task["id"], input=text).stdout.decode()
    assert [line.split()[1] for line in chosen.splitlines() if line.startswith("==")] == [
        some[2].id,
        some[3].id,
    ]


def test_an_invalid_one_says_what_broke(tm: Tm) -> None:
    broken = trajectory(
        status="invalid", stop="infrastructure", failure="no reply from the server", prediction=None
    )
    out = tm("show", input=lines(broken).encode()).stdout.decode()
    assert "not judged: no answer (stop: infrastructure)" in out
    assert "invalid: no reply from the server" in out
    assert "reward" not in out


def test_nothing_to_show(tm: Tm) -> None:
    assert b"no trajectories" in tm("show", input=b"").stderr
    result = tm("show", "--id", "x", input=lines(trajectory()).encode())
    assert result.returncode == 2
    assert b"no trajectory is called 'x'" in result.stderr
