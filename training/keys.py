"""Which settings a run has a use for: what its encoder and its method take.

A setting that would change nothing is refused where a user writes it, because it was meant to.
"""

import inspect
from collections.abc import Iterable, Mapping

from models.encoders import ENCODERS
from models.encoders.scales import MultiScaleEncoder

ENCODER_KEYS = (
    *("summary_dim", "channels", "rkhs", "depth", "use_bn", "norm"),
    *("image_size", "timm_model"),
)
METHOD_KEYS: Mapping[str, tuple[str, ...]] = {
    "dim": (
        *("objective", "negatives", "alpha", "beta", "gamma", "prior", "prior_penalty"),
        *("local_critic", "local_units", "global_critic", "global_units"),
        *("coordinates", "relative_coordinates", "coordinate_units", "occlusion"),
        *("num_globals", "dv_ema"),
    ),
    "amdim": ("clip", "regulariser", "norm", "use_bn"),
}
MOVING_VIEWS = ("amdim", "flip_crop", "flip_crop_colour")  # two of an image differ in all places


def encoder_keys(encoder: str) -> list[str]:
    """The settings that become arguments of this encoder."""
    taken = inspect.signature(ENCODERS[encoder]).parameters
    return [key for key in ENCODER_KEYS if key in taken]


def check_used(keys: Iterable[str], method: str, encoder: str) -> None:
    """Raise ValueError for the first key that this method and encoder have no use for."""
    used = {*encoder_keys(encoder), *METHOD_KEYS[method]}
    known = {key for keys in (ENCODER_KEYS, *METHOD_KEYS.values()) for key in keys}
    for key in keys:
        if key in known - used:
            methods = [name for name, own in METHOD_KEYS.items() if key in own]
            whose = f"method {' or '.join(methods)}" if methods else "other encoders"
            raise ValueError(
                f"{key} is a setting of {whose}, and method {method} with encoder {encoder} has no"
                f" use for it; leave it out (in use: {', '.join(sorted(used))})"
            )


def check_two_views(encoder: str, views: str) -> None:
    """Raise ValueError for an encoder or views that a method of two views cannot learn from."""
    able = [name for name, each in ENCODERS.items() if issubclass(each, MultiScaleEncoder)]
    if encoder not in able:
        raise ValueError(
            f"method amdim wants maps of 5 x 5 and 7 x 7 places, which encoder {encoder} does not"
            f" give; choose one of {', '.join(able)}"
        )
    if views not in MOVING_VIEWS:
        raise ValueError(
            f"two views {views!r} of an image are too much alike to learn from; set views=amdim"
            f" (or one of {', '.join(MOVING_VIEWS[1:])})"
        )
