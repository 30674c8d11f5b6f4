"""A model as a judge: `judge.py` asks the questions of `questions.py` about the evidence of `transcript.py`,
and keeps what `verdict.py` reads. Nothing heavy is loaded here."""

from tmcli.filters.judge.questions import QUESTIONS, Question, chosen
from tmcli.filters.judge.verdict import judged_no, not_judged

__all__ = ["QUESTIONS", "Question", "chosen", "judged_no", "not_judged"]
