"""The true schemas of a task's tools: what its environment takes, whatever drift made of the documents.

tools = true_tools(task)
"""

from __future__ import annotations

from tmcli.drift import true_tools

__all__ = ["true_tools"]
