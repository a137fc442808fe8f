"""Arguments that make every encoder small, for tests that walk the whole table."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "basic28x28": {"summary_dim": 8, "fc_dim": 16},
    "basic32x32": {"summary_dim": 8, "fc_dim": 16},
    "basic64x64": {"summary_dim": 8, "fc_dim": 16},
    "alex64x64": {"summary_dim": 8, "fc_dim": 16},
    "dense32": {"summary_dim": 8},
    "fold32x32": {"summary_dim": 8, "fc_dim": 16},
    "fold64x64": {"summary_dim": 8, "fc_dim": 16},
    "amdim32": {"channels": 4, "rkhs": 20, "depth": 2},
    "amdim64": {"channels": 2, "rkhs": 12, "depth": 1, "use_bn": True},
    "amdim128": {"channels": 2, "rkhs": 20, "depth": 1, "norm": "none"},
    "resnet18": {"summary_dim": 8},
    "resnet50": {"summary_dim": 8},
    "timm": {"summary_dim": 8, "timm_model": "test_resnet"},
}
