"""Why a benchmark cannot give a figure; each text is a sentence with the remedy."""


class BenchmarkError(Exception):
    """Nothing can be measured, or what was measured would be wrong."""
