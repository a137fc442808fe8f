"""What wants a GPU, and runs at a small size without: each program says what it was run on.

    python -m benchmarks.gpu.table1 --data cifar10 --root DIR
    python -m benchmarks.gpu.amdim_curve --data cifar10 --root DIR
    python -m benchmarks.gpu.step_rate --data cifar10 --root DIR

table1       the paper's cells of DIM(L), JSD and InfoNCE: 1000 epochs each, then its probe
amdim_curve  AMDIM's accuracy over the images it has seen
step_rate    images a second, the share of the matrix rate (MFU), the time two floors leave, and
             the ratio to a DataLoader with torchvision's transforms

Reports and results go to benchmarks/results/gpu/, or where --out says. All go on after an
interruption. At a small size on a CPU, for instance:

    python -m benchmarks.gpu.table1 --data FOLDER --probe-epochs 2 --out /tmp/t epochs=1
    python -m benchmarks.gpu.amdim_curve --data FOLDER --points 2 --out /tmp/a epochs=2
    python -m benchmarks.gpu.step_rate --batch-sizes 32 --seconds 2 --out /tmp/s

key=value words go over the recipe, as in training.
"""
