"""How fast it is, and how well each method learns: programs that write a report each.

python -m benchmarks.serving     requests a second: ours, a naive FastAPI endpoint, litserve
python -m benchmarks.training    images a second: our loop, a DataLoader with torchvision transforms
python -m benchmarks.memory      bytes: what training plans for 200,000 images, and what it takes

`--quick` takes two minutes and prints; without it the report goes to benchmarks/results/. Ratios
are taken within one run, the contenders taking turns, and are medians of several rounds.

python -m benchmarks.methods     every method for the same time, beside supervised, random and PCA
python -m benchmarks.ablations   one choice varied: estimators, weights or prior
python -m benchmarks.drawing     the curve of a run as SVG
benchmarks.gpu                   what wants a GPU: the paper's Table 1, AMDIM's curve, a step's rate

These take hours, keep every result as JSON when it is measured, and go on where they stopped.
"""
