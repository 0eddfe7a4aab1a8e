"""Everything training changes: weights, their average, the optimiser's moments, the step and the loss so far."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.errors import CorruptDataError
from pipeline.models import Model
from pipeline.networks.averaging import decay_at
from pipeline.networks.compiling import compile_network
from pipeline.networks.layout import lay_out
from pipeline.training.config import OptimConfig


class TrainState:
    """The state of one training run on one device.

    Args:
        model: The model; its network is moved to the device and trained in place.
        optim: Optimiser settings.
        device: Where training runs.

    Raises:
        ConfigError: The network is to be compiled, and there is no compiler.
    """

    def __init__(self, model: Model, optim: OptimConfig, device: torch.device) -> None:
        self.model = model.to(device)
        self.optim = optim
        self.device = device
        self.step = 0
        self.gradients_checked = False
        """Whether a compiled network was held against the plain one."""
        self.network: nn.Module = lay_out(model.network, device)
        if optim.compiled:
            compile_network(self.network, device, trains=True)
        self.averages: dict[float, dict[str, Tensor]] = {
            length: {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            for length in optim.ema_lengths
        }
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=optim.learning_rate, betas=optim.betas, weight_decay=optim.weight_decay, fused=True
        )

    @property
    def ema(self) -> dict[str, Tensor]:
        """The average that samples are made with unless another is asked for, under the network's own names."""
        return self.averages[self.optim.ema_lengths[0]]

    @torch.no_grad()
    def update_ema(self) -> None:
        """Moves the averaged weights towards the current ones; called once after each step."""
        current = self.network.state_dict()
        for length, average in self.averages.items():
            averaged = [name for name, value in average.items() if value.is_floating_point()]
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                [average[n] for n in averaged], [current[n] for n in averaged], 1.0 - decay_at(length, self.step)
            )
            for name, value in average.items():
                if not value.is_floating_point():
                    value.copy_(current[name])

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state but for the averages as named tensors: network.* and optimizer.<parameter>.<moment>."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for moment, value in self.optimizer.state[parameter].items():
                found[f"optimizer.{name}.{moment}"] = value
        return found

    def load(self, tensors: Mapping[str, Tensor], averages: Mapping[float, Mapping[str, Tensor]], step: int, uri: str) -> None:
        """Continues from a saved state.

        Args:
            tensors: What `tensors` returned when the state was saved.
            averages: The averages at that time, by their length.
            step: Steps done when it was saved.
            uri: Where the tensors come from, for the error's text.

        Raises:
            CorruptDataError: A tensor is missing or has another shape than this model's.
        """
        _copy(self.network.state_dict(), {n.removeprefix("network."): t for n, t in tensors.items()}, "network", uri)
        for length, average in self.averages.items():
            _copy(average, averages.get(length, {}), f"ema {length:g}", uri)
        for name, parameter in self.network.named_parameters():
            moments = {
                key.rsplit(".", 1)[1]: value for key, value in tensors.items() if key.rpartition(".")[0] == f"optimizer.{name}"
            }
            # AdamW keeps its step counter in float32 on the parameter's device, the moments in the parameter's own layout.
            self.optimizer.state[parameter] = {
                key: value.to(self.device)
                if value.ndim == 0
                else torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)
                for key, value in moments.items()
            }
        self.step = step


@torch.no_grad()
def _copy(into: Mapping[str, Tensor], saved: Mapping[str, Tensor], what: str, uri: str) -> None:
    """Puts saved values in the place of those of the same name."""
    for name, value in into.items():
        if name not in saved:
            raise CorruptDataError(f"tensor {name} ({what}) is missing from the saved training state", uri)
        if saved[name].shape != value.shape:
            raise CorruptDataError(
                f"tensor {name} ({what}) has shape {tuple(saved[name].shape)}, expected {tuple(value.shape)}", uri
            )
    for name, value in into.items():
        value.copy_(saved[name])
