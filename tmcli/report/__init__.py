"""Numbers of many episodes: statistics, their summary, and the table a person reads."""
