"""One HTML page that shows what a run learned: curves, pictures, figures and the verdict."""
