"""Networks whose weights are read from a file, built without the time that their random initialization takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class SkipInitialization(TorchFunctionMode):
    """A context in which the functions of `torch.nn.init` leave tensors as they are.

    Every tensor that they would fill has to be loaded afterwards. On the meta device, these functions would also import
    all of torch's compiler.

    >>> with SkipInitialization():
    ...     network = build_network(config)
    >>> network.load_state_dict(state)
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, unless it is one that initializes its tensor."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
