"""How you ask: one file a command, one `run`, one screen. `app.py` imports each when it is asked for."""
