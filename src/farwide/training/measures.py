"""What a log line holds beside losses, by name."""

from __future__ import annotations

from farwide.training.state import Totals
from farwide.training.trainer import Evaluation
from theory.scaling import gradient_noise_scale


def step_metrics(totals: Totals, steps: int, batch_size: int, pieces: int) -> dict[str, float]:
    """Metrics of the updates since the last line.

    train_accuracy; gradient_norm, the mean norm of the gradient before clipping; and where a batch
    was cut into at least two pieces (micro-batches, devices), the noise of the gradient, from means
    over the updates (McCandlish et al. 2018, appendix A.1):

        noise_trace            tr(Sigma) of the gradient of one example
        noise_squared_norm     |G|^2 of the true gradient
        noise_scale            their ratio, in examples; nan where the second is not positive

    Each piece must have the same number of examples; where their weights differ, which they may,
    the formula's batch sizes are those of the average piece. To average over many lines, average
    the first two, then divide.

    Args:
      totals: of a state, over `steps` updates.
      steps: how many.
      batch_size: examples of an update.
      pieces: that it was cut into.
    """
    sums = totals.sums
    metrics = {
        "train_accuracy": float(sums.correct / sums.weight),
        "gradient_norm": float(totals.gradient_norm) / steps,
    }
    if pieces > 1:
        noise = gradient_noise_scale(
            float(totals.small) / steps,
            float(totals.large) / steps,
            small_batch=batch_size // pieces,
            large_batch=batch_size,
        )
        metrics |= {
            "noise_trace": float(noise.trace),
            "noise_squared_norm": float(noise.squared_norm),
            "noise_scale": float(noise.scale),
        }
    return metrics


def evaluation_metrics(found: Evaluation, average: Evaluation | None) -> dict[str, float]:
    """accuracy of the parameters; ema_loss and ema_accuracy of their moving average."""
    metrics = {"accuracy": found.accuracy}
    if average is not None:
        metrics |= {"ema_loss": average.loss, "ema_accuracy": average.accuracy}
    return metrics
