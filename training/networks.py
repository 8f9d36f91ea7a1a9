"""The networks as torch trains them: what the kernels in score/ compute, layer by layer."""

from __future__ import annotations

import torch
from torch import nn

from fraudstream.score.autoencoder_kernel import NARROW, WIDE
from fraudstream.score.lstm_kernel import AMOUNT_BINS, EMBEDDING, HEAD, HIDDEN
from fraudstream.score.parameters import Parameters
from fraudstream.score.steps import STEP_NUMBERS


class AutoencoderNetwork(nn.Module):
    """inputs - 24 - 4 - 24 - inputs, tanh between.

    Args:
        inputs: number of model inputs.
    """

    cap: torch.Tensor
    weight: torch.Tensor
    """How much each input's residual counts."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, WIDE), nn.Tanh(),
            nn.Linear(WIDE, NARROW), nn.Tanh(),
            nn.Linear(NARROW, WIDE), nn.Tanh(),
            nn.Linear(WIDE, inputs),
        )  # fmt: skip
        self.register_buffer("cap", torch.full((inputs,), torch.inf))
        self.register_buffer("weight", torch.ones(inputs))

    def forward(self, surprise: torch.Tensor) -> torch.Tensor:
        """Reconstruction of (rows, inputs) from their capped values."""
        reconstruction: torch.Tensor = self.layers(torch.minimum(surprise, self.cap))
        return reconstruction


class LstmNetwork(nn.Module):
    """One LSTM layer over the steps, and a head for the amount of the step that follows.

    Args:
        categories: size of the vocabulary, the unknown one not counted.
    """

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.categories = nn.Embedding(categories + 1, EMBEDDING)
        self.recurrent = nn.LSTM(STEP_NUMBERS + EMBEDDING, HIDDEN, batch_first=True)
        self.from_history = nn.Linear(HIDDEN, HEAD)
        self.from_circumstances = nn.Linear(STEP_NUMBERS - 1 + EMBEDDING, HEAD)
        self.amount = nn.Linear(HEAD, AMOUNT_BINS)

    def forward(self, numbers: torch.Tensor, category: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicts each step but the first from the steps before it and from its own category, hour and gap.

        Args:
            numbers: (rows, steps, STEP_NUMBERS).
            category: (rows, steps).

        Returns:
            (rows, steps - 1, HIDDEN) state before each step, (rows, steps - 1, AMOUNT_BINS) logits of its amount.
        """
        steps = torch.cat([numbers, self.categories(category)], 2)
        history, _ = self.recurrent(steps[:, :-1])
        circumstances = self.from_circumstances(steps[:, 1:, 1:])  # all but the amount, which is to be predicted
        logits: torch.Tensor = self.amount(torch.relu(self.from_history(history) + circumstances))
        return history, logits


def parameters_of(network: nn.Module) -> Parameters:
    """Parameters and buffers of a network as arrays of their own."""
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}


def fill(network: nn.Module, parameters: Parameters) -> None:
    """The reverse: a network with these parameters, not to be trained any further.

    Raises:
        RuntimeError: one is missing, unknown, or has another shape.
    """
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in parameters.items()})
    network.eval().requires_grad_(requires_grad=False)
