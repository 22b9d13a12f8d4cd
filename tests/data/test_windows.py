"""Windows: each byte is predicted once, and a batch depends on seed and position alone."""

from __future__ import annotations

import numpy as np
import pytest

from farwide.data import Windows, validation_windows

DATA = np.random.default_rng(0).integers(0, 256, 10_007, dtype=np.uint8)


def test_an_epoch_predicts_every_byte_of_the_whole_windows_exactly_once():
    positions = np.arange(10_000, dtype=np.int64)
    data = (positions % 251).astype(np.uint8)
    windows = Windows(data, 13, seed=3)
    rows = windows.batch(0, windows.count)
    assert windows.count == 9_999 // 13
    # recover where each window starts from its order and check the partition of the targets
    order = windows._order
    targets = np.sort((order[:, None] * 13 + 1 + np.arange(13)).ravel())
    np.testing.assert_array_equal(targets, np.arange(1, windows.count * 13 + 1))
    for row, start in zip(rows, order * 13, strict=True):
        np.testing.assert_array_equal(row, data[start : start + 14])


def test_resuming_at_a_position_gives_the_same_batches():
    a, b = Windows(DATA, 16, seed=(1, 2, 3)), Windows(DATA, 16, seed=(1, 2, 3))
    straight = [a.batch(i * 4, 4) for i in range(20)]
    np.testing.assert_array_equal(np.concatenate(straight[11:]), b.batch(44, 36))


def test_seeds_differ():
    a, b = (Windows(DATA, 16, seed=seed).batch(0, 50) for seed in (0, 1))
    assert not np.array_equal(a, b)


def test_asking_for_more_than_there_is_is_an_error_and_never_a_repetition():
    windows = Windows(DATA, 16, seed=0)
    with pytest.raises(ValueError, match=f"the training data has {windows.count}"):
        windows.batch(windows.count - 1, 2)
    with pytest.raises(ValueError, match="larger corpus or a smaller budget"):
        windows.require(windows.count + 1)


@pytest.mark.parametrize("data", [DATA.astype(np.int32), DATA.reshape(-1, 1)])
def test_wrong_data_is_named(data):
    with pytest.raises(ValueError, match=r"accepted is uint8\[bytes\]"):
        Windows(data, 16, seed=0)


def test_validation_windows_are_spread_and_distinct():
    windows = validation_windows(DATA, 100, 10)
    assert windows.shape == (10, 101)
    np.testing.assert_array_equal(windows[0], DATA[:101])
    np.testing.assert_array_equal(windows[-1], DATA[9_900:10_001])
    assert len(validation_windows(DATA, 100, 10**6)) == 100
    with pytest.raises(ValueError, match="one window of 20000 needs 20001"):
        validation_windows(DATA, 20_000, 1)
