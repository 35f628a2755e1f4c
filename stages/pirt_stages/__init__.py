"""The programs: one folder a stage, each with a thin `cli.py` over recipes that read top to bottom."""
