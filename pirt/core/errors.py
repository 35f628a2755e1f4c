"""Errors that the user can fix; the programs print their message and exit with 2."""


class PirtError(Exception):
    """Base of all errors that name the value, what was expected and the fix."""


class DataError(PirtError, ValueError):
    """An image, data set folder, archive or list is missing or malformed."""


class ManifestError(PirtError, ValueError):
    """A manifest is malformed or does not fit what it is used with."""


class StoreError(PirtError, ValueError):
    """A heatmap store or embeddings file is unfinished, damaged or made for something else."""


class ParamsError(PirtError, ValueError):
    """A parameter is unknown, of the wrong type, or does not fit the others."""


class CheckpointError(PirtError, ValueError):
    """A checkpoint cannot be read safely or belongs to another architecture."""


class DivergenceError(PirtError, ArithmeticError):
    """A loss is no longer a finite number."""


class ReportError(PirtError, ValueError):
    """A result is missing, malformed or cannot stand in one table or picture with the others."""
