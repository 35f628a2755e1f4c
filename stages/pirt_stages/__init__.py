"""The programs: one folder per stage, each with a thin `cli.py` over recipes that read top to bottom."""
