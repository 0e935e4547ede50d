"""A recurrent network that tells the next token of a text from those before it."""

from __future__ import annotations

from torch import Tensor, nn

from optbench.models._checks import check_count
from optbench.models.gpt import check_tokens


class LSTM(nn.Module):
    """An embedding, layers of long short-term memory, a linear head.

    Args:
        n_outputs: size of the vocabulary.
        width: of embedding and memory.
        layers: of memory.

    Shape: whole numbers below n_outputs, (b, t) -> (b, t, n_outputs).

    Raises:
        UserError: a size that is no whole number of at least 1, or an input of another kind.

    Source: S. Hochreiter and J. Schmidhuber, Long short-term memory (1997); with forget gates, F. Gers et al. (2000).
    """

    def __init__(self, n_outputs: int = 27, width: int = 64, layers: int = 1) -> None:
        super().__init__()
        for name, value in {"n_outputs": n_outputs, "width": width, "layers": layers}.items():
            check_count(name, value)
        self.tokens = nn.Embedding(n_outputs, width)
        self.memory = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, n_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the token after each: (b, t) -> (b, t, n_outputs)."""
        check_tokens(tokens)
        found, _ = self.memory(self.tokens(tokens))
        logits: Tensor = self.head(found)
        return logits
