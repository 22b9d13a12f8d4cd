"""One script an experiment: each docstring says its question, command, time and expected result."""
