"""How fast it is, beside what people would otherwise use: programs that write a report each.

python -m benchmarks.serving    requests a second: ours, a naive FastAPI endpoint, litserve
python -m benchmarks.training   images a second: our loop, a DataLoader with torchvision transforms
python -m benchmarks.memory     bytes: what training plans for 200,000 images, and what it takes

`--quick` takes two minutes and prints; without it the report goes to benchmarks/results/. Ratios
are taken within one run, the contenders taking turns, and are medians of several rounds.
"""
