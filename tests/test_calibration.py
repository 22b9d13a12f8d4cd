"""Class probabilities of Gaussian outputs, and their scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from farwide.calibration import log_probabilities, reliability, scores


def test_two_classes_have_a_closed_form():
    gap = np.array([-9.0, -3.0, -0.5, 0.0, 0.1, 2.0, 8.0])
    variance = np.full(7, 1.7)
    log_p = log_probabilities(np.stack([gap, np.zeros(7)], 1), variance)
    expected = ndtr(gap / np.sqrt(2 * variance))
    np.testing.assert_allclose(np.exp(log_p[:, 0]), expected, rtol=1e-3)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-12)


def test_against_sampling():
    rng = np.random.default_rng(0)
    mean, variance = rng.standard_normal((3, 5)), np.array([0.05, 1.0, 20.0])
    p = np.exp(log_probabilities(mean, variance))
    draws = mean[:, None] + np.sqrt(variance)[:, None, None] * rng.standard_normal((3, 200_000, 5))
    share = np.stack([np.bincount(row, minlength=5) for row in draws.argmax(-1)]) / 200_000
    np.testing.assert_allclose(p, share, atol=4 * np.sqrt(0.25 / 200_000))


def test_the_variance_sets_the_confidence():
    mean = np.array([[0.9, 0.1, -0.2]] * 3)
    p = np.exp(log_probabilities(mean, np.array([1e-8, 0.3, 1e8])))
    assert p[0, 0] > 1 - 1e-9
    np.testing.assert_allclose(p[2], 1 / 3, atol=1e-3)
    assert p[2, 0] < p[1, 0] < p[0, 0]
    assert np.isfinite(log_probabilities(mean, np.full(3, 1e-8))).all()


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"variance \(N,\)"):
        log_probabilities(np.zeros((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"variance must be positive, got 0\.0"):
        log_probabilities(np.zeros((2, 3)), np.array([1.0, 0.0]))


def test_scores_by_hand():
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.55, 0.45]])
    labels = np.array([0, 1, 1, 0])
    found = scores(np.log(p), labels)
    assert found.accuracy == 0.75
    assert found.accuracy_error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    assert found.nll == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.55]).mean())
    assert found.brier == pytest.approx(2 * np.mean([0.01, 0.36, 0.04, 0.2025]))
    # bins of 1/15: .9 -> 13, .6 -> 9 (wrong), .8 -> 12, .55 -> 8
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.2 + 0.45) / 4)


def test_labels_drawn_from_the_probabilities_are_calibrated():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(4), 40_000)
    labels = (rng.random((40_000, 1)) > p.cumsum(1)).sum(1)
    assert scores(np.log(p), labels).ece < 0.01
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    assert scores(np.log(sharp), labels).ece > 0.1
    points = reliability(np.log(p), labels)
    filled = points.count > 500
    np.testing.assert_allclose(points.accuracy[filled], points.confidence[filled], atol=0.05)
    assert points.count.sum() == 40_000
    assert np.isnan(points.accuracy[points.count == 0]).all()
