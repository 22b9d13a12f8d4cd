"""A disk that fills up in the middle of a save."""

from __future__ import annotations

import logging
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from farwide.training import Checkpoints


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may mount no file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_save_that_fills_the_disk_keeps_the_older_checkpoint(
    small_disk, monkeypatch, caplog, capfd
):
    state = {"weights": np.random.default_rng(0).normal(size=100_000)}  # 800 kB
    filler = small_disk / "filler"
    with Checkpoints(small_disk / "run") as checkpoints:
        checkpoints.save(1, state, {"seconds": 1.0})
        filler.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 300_000))
        with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG):
            # there seemed to be room; another program took it
            patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
            caplog.clear()
            with pytest.raises(OSError, match=r"checkpoint .*/small/run/2: ") as caught:
                checkpoints.save(2, state, {"seconds": 2.0})
        assert len(str(caught.value).splitlines()) == 1
        assert "No space left" in str(caught.value)
        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert "Traceback" not in "".join(capfd.readouterr())
    filler.unlink()
    with Checkpoints(small_disk / "run") as checkpoints:
        assert checkpoints.newest() == 1
        restored = checkpoints.restore(state)
        assert restored is not None
        np.testing.assert_array_equal(restored.state["weights"], state["weights"])
        checkpoints.save(2, {"weights": state["weights"][:1000]}, {"seconds": 2.0})
        assert checkpoints.newest() == 2
