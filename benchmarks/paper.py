"""What the paper reports: top-1 on CIFAR-10, frozen encoder, the 200-unit probe (1808.06670).

Table 1, and Table 5 for the coordinate and occlusion tasks; the same encoder as basic32x32, 1000
epochs. By the names the methods have here.
"""

REPRESENTATIONS = ("conv", "fc", "y")
CIFAR10: dict[str, dict[str, float]] = {
    "supervised": {"conv": 75.39},
    "dim-g": {"conv": 52.2, "fc": 52.84, "y": 43.17},
    "dim-l-jsd": {"conv": 73.25, "fc": 73.62, "y": 66.96},
    "dim-l-infonce": {"conv": 75.21, "fc": 75.57, "y": 69.13},
    "dim-l-tasks": {"conv": 77.27, "fc": 75.15, "y": 73.99},
}
